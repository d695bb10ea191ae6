"""What `divergence score` shows: a progress bar with rows a second and the time left, then a summary with calibration."""

from __future__ import annotations

import json
import sys
import time

import click

from divergence.cli.progress import ProgressLines
from divergence.errors import InputError, printed, shortened
from divergence.orders import AS_COUNTED
from divergence.scoring.filesystems import shown
from divergence.scoring.score import Progress, Scored, score_log

OTHER = {"answer": "second answer"}  # what of a column is missing, where it is not the column


class Bar(Progress):
    """A progress bar on stderr."""

    def __init__(self, quiet: bool) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
        from rich.progress import Progress as Columns

        self.quiet, self.rows, self.finished, self.count = quiet, 0, 0, 0
        shown = (
            BarColumn(bar_width=20),
            TextColumn("{task.description}", markup=False),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
        )
        self.bar = Columns(*shown, console=Console(stderr=True), disable=quiet or not sys.stderr.isatty(), transient=True)
        self.begin = time.monotonic()
        self.lines = None if quiet or sys.stderr.isatty() else ProgressLines()

    def start(self, count: int, size: int) -> None:
        """The bar is as long as the log has bytes."""
        self.count, self.begin = count, time.monotonic()
        self.task = self.bar.add_task("starting", total=size)
        self.bar.start()

    def tell(self, rows: int, size: int) -> None:
        """Advance."""
        self.rows += rows
        what = f"{self.finished}/{self.count} partitions, {self.rows:,} rows, {self.rate:,.0f} rows/s"
        self.bar.update(self.task, advance=size, description=what)
        if self.lines is not None:
            self.lines(what, 0)

    def done(self, outcome) -> None:
        """A failure is said at once."""
        self.finished += 1
        if outcome.record is None and not outcome.no_log and not self.quiet:
            failure = _failure(shown(outcome.job.partition.address), outcome.reason)
            self.bar.console.print(failure, markup=False, highlight=False, soft_wrap=True)

    @property
    def rate(self) -> float:
        """Rows a second so far."""
        return self.rows / max(time.monotonic() - self.begin, 1e-3)


def run(model: str, logs: tuple[str, ...], output: str, *, quiet: bool, as_json: bool, **options) -> int:
    """Score, show, and say with the exit code whether every partition was scored and the model still holds."""
    bar = Bar(quiet)
    try:
        scored = score_log(model, list(logs), output, progress=bar, **options)
    finally:
        bar.bar.stop()
    made = scored.manifest
    done = len(made["partitions"]) - len(scored.failed)
    if as_json:
        click.echo(
            json.dumps(
                {
                    "rows": made["rows"],
                    "partitions": len(made["partitions"]),
                    "failed": len(scored.failed),
                    "calibration": made["calibration"],
                    "stale": made.get("stale"),
                    "scored": made["scored"],
                    "failures": scored.failed,
                }
            )
        )
    elif not quiet:
        click.echo("\n".join(summary(scored, output, bar.rate)))
    for failure in scored.failed if quiet else ():  # the bar has said it already
        click.echo(_failure(failure["partition"], failure["reason"]), err=True)
    if not done:
        raise InputError(f"none of {len(scored.failed)} partitions could be scored; the first: {scored.failed[0]['reason']}")
    return 1 if scored.failed or made.get("stale", {}).get("stale") else 0


def _failure(partition: str, reason: str) -> str:
    """One line, whatever a file is called and holds."""
    return shortened(printed(f"FAILED {partition}: {reason}"))


def summary(scored: Scored, output: str, rate: float) -> list[str]:
    """The lines that a person reads."""
    made = scored.manifest
    done = len(made["partitions"]) - len(scored.failed)
    lines = [
        f"{made['scored']:,} requests scored in {done} of {len(made['partitions'])} partitions ({rate:,.0f} rows/s), "
        f"results in {shown(str(output))}"
    ]
    if made["evaluation"]:
        lines.append(f"{made['evaluation']:,} evaluation rows are no requests and were not scored")
    lines += [f"set aside by {rule}: {number:,} rows" for rule, number in made["rejected"].items()]
    absent = sorted({name for p in made["partitions"] for name in p.get("absent", ())})
    if absent:
        lines.append(f"some partitions lack {', '.join(absent)}, which the model uses: what these tell is not known there")
    lacking: dict[str, int] = {}
    for partition in made["partitions"]:
        for name, rows in partition.get("lacking", {}).items():
            lacking[name] = lacking.get(name, 0) + rows
    lines += [
        f"{rows:,} requests of items that the model did not know have no {OTHER.get(name, name)} to go by: what that "
        "tells is not known there"
        for name, rows in lacking.items()
        if name not in absent
    ]
    lines += [f"not read: {skip['file']} ({skip['reason']})" for skip in made["skipped"]]
    if made["left_over"]:
        lines.append(f"results that belong to nothing scored now: {', '.join(made['left_over'])}")
    if made["outdated"]:
        lines.append(f"earlier results of partitions that failed now, put aside: {', '.join(made['outdated'])}")
    if made["model"]["check"]:
        lines.append(f"when the model was made: {made['model']['check']}")
    lines += calibration_lines(made["calibration"]) + sharpness_lines(made.get("sharpness"), made.get("repeated"))
    lines += [made["audit"]["sentence"]] if made.get("audit") else []
    return lines + ([made["stale"]["reason"]] if "stale" in made else [])


def calibration_lines(found: dict | None) -> list[str]:
    """What happened against what was predicted."""
    if found is None:
        return ["calibration: no request of this log is judged, so nothing can be said about it"]
    worst = found["worst_context"]
    lines = [
        f"calibration on {found['judged']:,.0f} judged requests: predicted to fail {found['risk']:.1%}, "
        f"failed {found['failed']:.1%}, Brier score {found['brier']:.4f} (rows that the model was made from flatter it)",
        f"calibration error {found['ece']:.4f}: {nulls(found)}",
    ]
    return [
        *lines,
        f"{AS_COUNTED} the worst context is {worst['context']}: predicted {worst['risk']:.1%}, "
        f"failed {worst['failed']:.1%} of {worst['judged']:,.0f}",
    ]


def sharpness_lines(found: dict | None, repeated: str | None = None) -> list[str]:
    """How well requests were told apart, beside the most specific rate that the model's log had; items seen and not.

    `repeated` is the manifest's sentence where the plain rate of seen items holds the very answers that it is asked about.
    """
    words = {"seen": "items that the model knew", "unseen": "items that it did not know"}
    lines = []
    for kind, of in words.items():
        if not found or kind not in found or found[kind]["auc"]["score"][0] is None:
            continue
        mine = found[kind]
        brier, auc, caught = (mine[name] for name in ("brier", "auc", "capture_0.05"))
        if kind == "seen" and repeated:
            lines.append(f"{of}: Brier score {brier['score'][0]:.4f}, AUC {auc['score'][0]:.3f}; {repeated}")
            continue
        value, low, high = brier["difference"]
        limits = "" if low is None else f", difference {value:+.4f}, 90 % {low:+.4f} to {high:+.4f}"
        lines.append(
            f"{of}: Brier score {brier['score'][0]:.4f} (plain rate {brier['plain'][0]:.4f}{limits}), AUC "
            f"{auc['score'][0]:.3f} ({auc['plain'][0]:.3f}), {caught['score'][0]:.1%} ({caught['plain'][0]:.1%}) of "
            "failures among the riskiest 5 %"
        )
    return lines


def nulls(found: dict) -> str:
    """A calibration error beside both of its nulls."""
    words = (
        f"{'within' if found['inside_null'] else 'ABOVE'} the {found['ece_null_95']:.4f} that 95 % of perfect scores "
        "have at most at this number of rows"
    )
    if "ece_posterior_95" not in found:
        return words
    inside = "within" if found["inside_posterior"] else "ABOVE"
    return (
        f"{words}; {inside} the {found['ece_posterior_95']:.4f} that 95 % of scores have at most that are as unsure of "
        "their risks as this one says"
    )
