"""The command `divergence`. Thin: it reads flags, calls the stages in order, and turns errors into sentences.

Exit codes: 0 done; 1 done, but a diagnostic failed; 2 input or usage error, or interrupted, nothing half-written;
3 no question, or not the one asked for, can be answered from this log.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import pathlib
import signal
import sys
from collections.abc import Callable, Iterator

import click

from divergence.errors import InputError, NotIdentifiedError

KEPT = (["probe"], ["score"])  # verbs that keep what was done when interrupted
LISTS = ("--evaluation", "--deployment")  # take several values after one flag, as a shell's glob gives them


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="eval-divergence", prog_name="divergence")
def cli() -> None:
    """How far does a benchmark score carry to deployment? Fits both worlds' logs jointly, with uncertainty."""


def common(command: Callable) -> Callable:
    """Flags of every verb."""
    for option in (
        click.option("--quiet", is_flag=True, help="No progress on stderr."),
        click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout."),
        click.option("--debug", is_flag=True, help="Show the traceback of an error."),
        click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of every draw."),
    ):
        command = option(command)
    return command


def reading(command: Callable) -> Callable:
    """Flags of the verbs that read a log; the command gets the `Executions` as `read()`."""
    @functools.wraps(command)
    def with_log(logs, config, evaluation, deployment, accept_rejected, **flags):
        columns = {name: flags.pop(name) for name in ("map", "set", "where")}

        def read(progress=None):
            from divergence.configuration import Configuration
            from divergence.executions import read as read_log

            if not (logs or evaluation or deployment):
                raise click.UsageError("name a log: a file, a glob, or a folder")
            paths = [*logs, *evaluation, *deployment]
            chosen = Configuration.load(config) if config else Configuration.beside(paths)
            return read_log(list(logs) or None, configuration=chosen.with_flags(**columns),
                            evaluation=list(evaluation) or None, deployment=list(deployment) or None,
                            accept_rejected=accept_rejected, progress=progress)
        return command(read=read, **flags)

    for option in (
        click.argument("logs", nargs=-1),
        click.option("--config", type=click.Path(), help="divergence.toml; by default the one beside the log."),
        click.option("--evaluation", multiple=True, help="Files whose rows are all evaluation."),
        click.option("--deployment", multiple=True, help="Files whose rows are all deployment."),
        click.option("--map", multiple=True, metavar="COLUMN=NAME", help="This column has that name in the file."),
        click.option("--set", multiple=True, metavar="COLUMN=VALUE", help="A column that the file lacks."),
        click.option("--where", multiple=True, metavar="COLUMN=LEVEL", help="Keep only these rows."),
        click.option("--accept-rejected", type=float, default=0.05, show_default=True, metavar="FRACTION",
                     help="Stop when more than this share of the rows breaks a rule."),
    ):
        with_log = option(with_log)
    return with_log


@contextlib.contextmanager
def steps(total: int, quiet: bool) -> Iterator[Callable[[str], None]]:
    """A progress bar on stderr that is told each step."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    with Progress(SpinnerColumn(), BarColumn(bar_width=20), TextColumn("{task.description}"), TimeElapsedColumn(),
                  console=Console(stderr=True), disable=quiet, transient=True) as bar:
        task = bar.add_task("starting", total=total)

        def tell(what: str, steps: int = 1) -> None:
            bar.update(task, description=what, advance=steps)
        yield tell


@cli.command()
@reading
@common
@click.option("-o", "--output", required=True, type=click.Path(path_type=pathlib.Path), help="Folder of the results.")
@click.option("--question", help="Stop with exit code 3 unless this question is answered.")
@click.option("--format", "formats", multiple=True, metavar="html|md|tex|json",
              help="Also write report.md, report.tex, report.json; several, or a list with commas. The page is always made.")
@click.option("--risk", is_flag=True, help="Also make the risk model of the log's requests, and show its calibration.")
def report(read, output, question, formats, risk, quiet, as_json, seed, **_) -> int:
    """Read, check, collapse, fit, estimate, draw: the main job."""
    from divergence.results import QUESTIONS, write_report

    _known_question(question, QUESTIONS)
    formats = _known_formats(formats)
    with steps(6, quiet) as tell:
        tell("reading the log")
        log = read(functools.partial(tell, steps=0))
        _answerable(log, question)
        posterior = _fitted(log, seed, tell)
        check = _risk(posterior, log, seed, output) if risk else None
        estimates = write_report(posterior, output, log=log, progress=tell, formats=formats, calibration=check)
    if question and not estimates.filter((estimates["question"] == question) & estimates["identified"]).height:
        raise NotIdentifiedError(f"{question} cannot be answered from this log (the other answers are in {output}): "
                                 f"{estimates.filter(estimates['question'] == question)['reason'][0]}")
    if as_json:
        click.echo(estimates.write_json())
    elif not quiet:
        click.echo(f"{output / 'report.html'}", err=True)
    return _gates(posterior)


@cli.command()
@reading
@common
@click.option("-o", "--output", required=True, type=click.Path(path_type=pathlib.Path), help="Folder of the model.")
def fit(read, output, quiet, as_json, seed, **_) -> int:
    """Fit the joint model only, and save it, with the risk of every request where the log has deployment rows."""
    with steps(5, quiet) as tell:
        tell("reading the log")
        log = read(functools.partial(tell, steps=0))
        posterior = _fitted(log, seed, tell)
        posterior.save(output)
        tell("checking the calibration of risks")
        risk = _risk(posterior, log, seed, output)["sentence"]
    if as_json:
        click.echo(json.dumps({"method": posterior.fits[0].method, "passed": posterior.passed, "output": str(output),
                               "risk": risk}))
    elif not quiet:
        click.echo(f"risk: {risk}", err=True)
    return _gates(posterior)


@cli.command()
@reading
@common
@click.option("--question", help="Stop with exit code 3 unless this question can be answered.")
def check(read, question, as_json, **_) -> int:
    """Validate a log, and say which questions it can answer, which not, and why."""
    from divergence.results import QUESTIONS

    _known_question(question, QUESTIONS)
    log = read()
    answers = log.answers()
    if as_json:
        click.echo(json.dumps({
            "rows": log.counts.rows, "rejected": sum(log.counts.rejected.values()),
            "answers": [{"question": a.question, "identified": a.identified, "reason": a.reason} for a in answers]}))
    else:
        click.echo(repr(log))
        _print_table(("question", "answer", "why"),
                     [(a.question, "yes" if a.identified else "no", a.reason or "") for a in answers])
    _answerable(log, question)
    return 0


@cli.command("import")
@common
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=pathlib.Path))
@click.option("-o", "--output", required=True, type=click.Path(path_type=pathlib.Path), help="Parquet file to write.")
@click.option("--format", "format_", help="Format of the log; detected when left out.")
@click.option("--set", "constants", multiple=True, metavar="COLUMN=VALUE", help="A column that the log lacks.")
@click.option("--primary", help="Metric that becomes the score; by default the log's first.")
def import_(paths, output, format_, constants, primary, as_json, quiet, **_) -> int:
    """Turn another tool's log into a canonical one, and list what could not be mapped."""
    from divergence.executions.importers import import_log, write

    imported = import_log(list(paths), format_, constants=_pairs(constants), primary=primary)
    written = write(imported, output)
    summary = {"format": imported.format, "rows": imported.executions.height, "rejected": imported.rejected.height,
               "unmapped": list(imported.unmapped), "missing": list(imported.missing)}
    if as_json:
        click.echo(json.dumps(summary))
    elif not quiet:
        click.echo(f"{summary['rows']} rows from {imported.format} in {', '.join(map(str, written))}; "
                   f"{summary['rejected']} rejected")
        click.echo(f"not mapped: {', '.join(imported.unmapped) or 'nothing'}")
        for note in imported.notes:
            click.echo(note, err=True)
        for row in imported.rejected.head(10).iter_rows(named=True):
            click.echo(f"rejected: {row['file']} row {row['row']}: {row['sentence']}", err=True)
    return 0


@cli.command()
@common
@click.argument("plan", type=click.Path(path_type=pathlib.Path))
@click.option("-o", "--output", type=click.Path(path_type=pathlib.Path), help="Folder of the rows.")
@click.option("--dry-run", is_flag=True, help="Say what would be asked, and what would be confounded; send nothing.")
def probe(plan, output, dry_run, quiet, as_json, seed, **_) -> int:
    """Run items in declared contexts against live endpoints, and write executions. Run again to resume."""
    from divergence.probe import outline, run

    if output is None and not dry_run:
        raise click.UsageError("name the folder of the rows with -o, or look at the plan with --dry-run")
    done = outline(plan) if dry_run else run(plan, output, quiet=quiet, seed=seed)
    if as_json or not quiet:
        click.echo(json.dumps(done.to_dict()) if as_json else done)
    return 0


@cli.command()
@common
@click.argument("model", type=click.Path())
@click.argument("logs", nargs=-1, required=True)
@click.option("-o", "--output", required=True, help="Folder or object-store address of the results.")
@click.option("--workers", type=click.IntRange(min=0), help="Processes; by default one a core, 0 = in this process.")
@click.option("--ray", metavar="ADDRESS", help="Score on this Ray cluster instead.")
@click.option("--config", type=click.Path(), help="divergence.toml; by default the one beside the log.")
@click.option("--map", multiple=True, metavar="COLUMN=NAME", help="This column has that name in the file.")
@click.option("--set", multiple=True, metavar="COLUMN=VALUE", help="A column that the file lacks.")
@click.option("--where", multiple=True, metavar="COLUMN=LEVEL", help="Keep only these rows.")
@click.option("--accept-rejected", type=float, default=0.05, show_default=True, metavar="FRACTION",
              help="A partition fails when more than this share of its rows breaks a rule.")
def score(model, logs, output, workers, ray, config, accept_rejected, quiet, as_json, **flags) -> int:
    """Calibrated risk for every logged request, one Parquet a partition. Run again to resume."""
    from divergence.cli_score import run
    from divergence.configuration import Configuration
    from divergence.executions.files import local_paths
    from divergence.risk.model import RiskModel

    chosen = Configuration.load(config) if config else Configuration.beside(local_paths(logs))
    columns = {name: flags[name] for name in ("map", "set", "where")}
    return run(model, logs, output, quiet=quiet, as_json=as_json, load=RiskModel.load, workers=workers, ray=ray,
               configuration=chosen.with_flags(**columns), accept_rejected=accept_rejected)


@cli.command()
@common
@click.argument("world")
@click.option("-o", "--output", required=True, type=click.Path(path_type=pathlib.Path), help="Parquet file to write.")
@click.option("--models", type=click.IntRange(1, 200), help="Number of models.")
@click.option("--contexts", type=click.IntRange(1, 200), help="Number of deployment contexts.")
@click.option("--items", type=click.IntRange(2, 1_000_000), help="Number of items.")
@click.option("--trials", type=click.IntRange(1, 1000), help="Replicates.")
def simulate(world, output, seed, as_json, quiet, models, contexts, items, trials, **_) -> int:
    """Draw a log from a world with known truth: Parquet, and truth.json beside it."""
    from divergence.simulate import KINDS, AgentWorld, write
    from divergence.simulate import world as make

    if world not in (*KINDS, AgentWorld.kind):
        raise InputError(f"the world {world!r} is not known; choose one of {', '.join((*KINDS, AgentWorld.kind))}")
    asked = {"n_models": models, "n_contexts": contexts, "n_items": items, "n_trials": trials}
    sizes = {k: v for k, v in asked.items() if v is not None}
    rows = write(AgentWorld(**sizes) if world == AgentWorld.kind else make(world, **sizes), seed, output)
    if as_json:
        click.echo(json.dumps({"rows": rows, "world": world, "seed": seed, "path": str(output)}))
    elif not quiet:
        click.echo(f"{rows} rows in {output}, truth in {output.parent / 'truth.json'}")
    return 0


def _fitted(log, seed: int, tell):
    from divergence.joint.outcomes import fit_outcomes

    return fit_outcomes(log, seed=seed, progress=tell)


def _risk(posterior, log, seed: int, folder: pathlib.Path) -> dict:
    """Save the risk model in the folder; what its calibration was measured to be, or why there is none."""
    from divergence.risk.construct import risk_model
    from divergence.risk.model import ARRAYS, WORDS

    for name in (ARRAYS, WORDS):  # of an earlier fit
        (folder / name).unlink(missing_ok=True)
    try:
        model = risk_model(posterior, log, seed=seed)
    except NotIdentifiedError as error:
        return {"sentence": f"no risk model: {error}"}
    model.save(folder)
    return model.check


def _known_question(question: str | None, known: tuple[str, ...]) -> None:
    if question is not None and question not in known:
        raise InputError(f"the question {question!r} is not known; choose one of {', '.join(known)}")


def _known_formats(given: tuple[str, ...]) -> tuple[str, ...]:
    from divergence.results import FORMATS

    names = tuple(dict.fromkeys(name.strip() for text in given for name in text.split(",")))
    for name in names:
        if name not in FORMATS:
            raise InputError(f"--format {name!r} is not known; choose from {', '.join(FORMATS)}")
    return names


def _answerable(log, question: str | None) -> None:
    answers = log.answers()
    if question:
        answers = tuple(a for a in answers if a.question == question)
    if not any(a.identified for a in answers):
        raise NotIdentifiedError(
            f"{question or 'no question'} can{'not' if question else ''} be answered from this log: "
            + "; ".join(dict.fromkeys(a.reason for a in answers)))


def _gates(posterior) -> int:
    failed = [d for d in posterior.diagnostics if not d.passed]
    for gate in failed:
        click.echo(f"FAILED {gate.name} = {gate.value:.3g} (limit {gate.threshold:g}): {gate.meaning}; "
                   "the results are written and marked", err=True)
    return 1 if failed else 0


def _pairs(texts: tuple[str, ...]) -> dict[str, str]:
    pairs = [text.partition("=") for text in texts]
    for (name, equals, value), text in zip(pairs, texts, strict=True):
        if not (name and equals and value):
            raise InputError(f"--set takes COLUMN=VALUE, seen {text!r}")
    return {name: value for name, _, value in pairs}


def _print_table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    from rich.console import Console
    from rich.table import Table

    shown = Table(*header)
    for row in rows:
        shown.add_row(*row)
    Console().print(shown)


def spread_lists(arguments: list[str]) -> list[str]:
    """`--evaluation a b` as `--evaluation a --evaluation b`: a shell expands a glob to several words."""
    out, flag = [], None
    for argument in arguments:
        if argument.startswith("-"):
            name = argument.split("=")[0]
            flag = name if name in LISTS else None
            if argument != flag:
                out.append(argument)
            continue
        out += [flag, argument] if flag else [argument]
    return out


def _interrupted(*_) -> None:
    """Ctrl-C: an exception raised in the middle of a compiled module's import would crash, so the process just ends."""
    from divergence.staging import abandon

    abandon()
    os.write(2, b"divergence: interrupted; nothing was written\n")
    os._exit(2)


def _unexpected(kind: type[BaseException], error: BaseException, _) -> None:
    """What no rule foresaw is one sentence too; `--debug` shows where it came from."""
    from divergence.staging import abandon

    abandon()
    words = " ".join(str(error).split())[:300]
    os.write(2, f"divergence: unexpected {kind.__name__}: {words}; run again with --debug and report it\n".encode())
    os._exit(2)


def main(arguments: list[str] | None = None) -> None:
    """Entry point: runs a verb and exits with its code."""
    given = spread_lists(list(sys.argv[1:] if arguments is None else arguments))
    if arguments is None and "--debug" not in given:
        sys.excepthook = _unexpected
    if arguments is None and given[:1] not in KEPT:  # the probe ends its servers and its journal by itself
        signal.signal(signal.SIGINT, _interrupted)
    try:
        sys.exit(cli.main(given, prog_name="divergence", standalone_mode=False) or 0)
    except NotIdentifiedError as error:
        code, sentence, cause = 3, str(error), error
    except InputError as error:
        code, sentence, cause = 2, str(error), error
    except click.ClickException as error:
        code, sentence, cause = 2, error.format_message(), error
    except (KeyboardInterrupt, click.Abort) as error:
        kept = "what was done is kept, run again to go on" if given[:1] in KEPT else "nothing was written"
        code, sentence, cause = 2, f"interrupted; {kept}", error
    if "--debug" in given:
        raise cause
    click.echo(f"divergence: {sentence}", err=True)
    sys.exit(code)


if __name__ == "__main__":
    main()
