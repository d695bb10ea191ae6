"""All answers of a posterior, and the five results of the main job.

| file | what |
|---|---|
| `report.html` | one self-contained page |
| `estimates.parquet` | every answer, one row a number |
| `rejected.parquet` | rows of the log that broke a rule |
| `posterior/` | the fit, to be loaded again |
| `run.json` | seed, versions, configuration, hashes of the data, diagnostics |
| `report.md`, `report.tex`, `report.json` | the same words and tables for a text, a paper, a machine, if asked for |
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import pathlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import polars as pl

from divergence import estimands
from divergence.behaviour import behaviour
from divergence.calling import sentences
from divergence.cells.plain_means import plain_means
from divergence.configuration import Configuration
from divergence.errors import InputError, NotIdentifiedError
from divergence.estimate import INTERVAL, Estimate, table
from divergence.executions.model_names import may_be_one, suggestions
from divergence.executions.unchanged import check_log
from divergence.identification import needs
from divergence.identification.audit import audit
from divergence.identification.joining import joining, models_by_side
from divergence.identification.log_design import REGIMES
from divergence.numerics import one_blas_thread
from divergence.papers import methods, population
from divergence.plain_files import not_read
from divergence.preregistration import Lock, departures, record, registered
from divergence.run_record import run_record
from divergence.sealed import RISK_FILES, Saved
from divergence.since import changes, earlier
from divergence.staging import move_into, staging
from divergence.under_load import under_load

if TYPE_CHECKING:
    from divergence.executions import Executions
    from divergence.identification import Question
    from divergence.joint import Fit, Posterior
    from divergence.joint.checks import ModelCheck

FORMATS = ("html", "md", "tex", "json")
"""How a report can be written; the page (`html`) always is."""
FILES = ("report.html", "estimates.parquet", "rejected.parquet", "posterior", "run.json")
PLANNED_ARMS_MAX = 256  # arms from which on a plan takes longer than a page may: ask `divergence plan`
REJECTED = {"file": pl.String, "row": pl.Int64, "rule": pl.String, "sentence": pl.String, "value": pl.String}


@sentences
def answer_all(
    posterior: Posterior, outcome: str | None = None, configuration: Configuration | None = None
) -> dict[str, Estimate]:
    """The answer to every question about one outcome, refusals included.

    `posterior`: what `fit` returns. `outcome`: None = the primary one. What was declared in the `configuration` (acceptance,
    prices, stability, other laws) reaches the questions that need it; without one they take their defaults. Returns one
    `Estimate` by the name of its question. Raises InputError for an outcome that was not fitted.

    >>> import divergence as dv
    >>> from divergence.simulate import simulate, world
    >>> log = dv.read(simulate(world("baseline", n_models=3, n_contexts=3, n_items=40), 0)[0])
    >>> posterior = dv.fit(dv.collapse(log), seed=0)
    >>> dv.answer_all(posterior)["gap"].identified
    True
    """
    declared = configuration or Configuration()
    primary = posterior[outcome] is posterior.fits[0]
    return {
        question.name: getattr(estimands, question.name)(
            posterior, outcome=outcome, **_declared(question, declared, primary)
        )
        for question in estimands.QUESTIONS
    }


OF_THE_OUTCOME = {"stability", "requirements", "incumbent"}
"""Declarations in the unit of the primary outcome: they hold for no other."""


def _declared(question: Question, configuration: Configuration, primary: bool) -> dict:
    """What a question is given of the configuration, as keyword arguments."""
    given = {}
    for kind in question.declared:
        if primary or kind not in OF_THE_OUTCOME:
            given |= DECLARED[kind](configuration)
    return given


def _prices(declared: Configuration) -> dict:
    return {"prices": declared.prices.per_million_tokens, "currency": declared.prices.currency} if declared.prices else {}


def _dated(declared: Configuration) -> dict:
    """The prices and when they held."""
    return _prices(declared) | ({"date": declared.prices.date} if declared.prices else {})


def _cost(declared: Configuration) -> dict:
    """Prices, and the budget of one success in US dollars where the log's unit is that."""
    prices, bounds = declared.prices, declared.acceptance
    dollars = prices is None or prices.currency.upper() == "USD"
    return _dated(declared) | {"budget": bounds.cost_per_success_max_usd if bounds and dollars else None}


def _laws(declared: Configuration) -> dict:
    """What-if laws as plain values."""
    return {
        "what_if": {
            name: law.name if law.name != "declared" else (law.factor, tuple(law.shares.items()))
            for name, law in declared.what_if.items()
        }
    }


def _requirements(declared: Configuration) -> dict:
    """The acceptance region, what-if laws and prices as plain values."""
    bounds = declared.acceptance
    return {
        "acceptance": {k: v for k, v in dataclasses.asdict(bounds).items() if v is not None} if bounds else None,
        **_laws(declared),
        **_prices(declared),
    }


DECLARED: dict[str, Callable[[Configuration], dict]] = {
    "cost": _cost,
    "dated": _dated,
    "stability": lambda declared: {"eps": declared.stability_eps, "quality_required": declared.quality_required},
    "requirements": _requirements,
    "laws": _laws,
    "incumbent": lambda declared: {"incumbent": declared.incumbent or None},
}
"""Kind of declaration (`Question.declared`) -> its keyword arguments."""


@one_blas_thread()
@sentences
def write_report(
    posterior: Posterior,
    folder: str | pathlib.Path,
    *,
    log: Executions | None = None,
    title: str | None = None,
    interval: float = INTERVAL,
    progress: Callable[[str], None] | None = None,
    formats: tuple[str, ...] = ("html",),
    risk: tuple[Saved | None, Mapping] | None = None,
    since: str | pathlib.Path | None = None,
) -> pl.DataFrame:
    """Write the five results of the main job into a folder and return the results table.

    `posterior`: what `fit` returns. `folder`: where `report.html`, `estimates.parquet`, `rejected.parquet`, `posterior/`
    and `run.json` go. `title`: the page's. `interval`: probability of the intervals, 0..1. `progress` is told each step.
    `formats`: what else than the page is written, any of `md`, `tex`, `json` (`report.md` and so on). With the `log` the
    page also shows rejected rows, files and refusals by design; with `risk`, what `risk_model` made (or None) and its check
    or why there is none, also how reliable the risks of single requests are, and the model is saved beside it. `since`:
    folder of an earlier report, which may be `folder` itself; the page then tells what changed.
    Everything is made beside the folder and takes its place in one step: a failure, an interrupt or a kill leaves what was
    there. Returns one row a number, as `table` does. Raises InputError when the folder cannot be written, and where one of
    these files is the log.

    >>> import divergence as dv
    >>> from divergence.simulate import simulate, world
    >>> log = dv.read(simulate(world("baseline", n_models=3, n_contexts=3, n_items=40), 0)[0])
    >>> posterior = dv.fit(dv.collapse(log), seed=0)
    >>> dv.write_report(posterior, "out", log=log).height > 100
    True
    """
    folder = pathlib.Path(folder)
    tell = progress or (lambda _: None)
    from divergence.joint.checks import model_checks

    read = [] if log is None else [source.path for source in log.sources]
    for name in (*FILES, *(f"report.{kind}" for kind in formats)):
        not_read(folder / name, read)
    before = None if since is None else earlier(since)
    tell("checking the model")
    checked = {fit.cells.outcome: model_checks(posterior, outcome=fit.cells.outcome) for fit in posterior.fits}
    tell("answering questions")
    declared = log.configuration if log is not None else None
    answers = {fit.cells.outcome: answer_all(posterior, fit.cells.outcome, declared) for fit in posterior.fits}
    if log is not None:
        tell("measuring movement")
        answers[posterior.fits[0].cells.outcome] |= behaviour(log) | under_load(log)
    estimates = table([e for of_outcome in answers.values() for e in of_outcome.values()], interval)
    with staging(folder) as fresh:
        estimates.write_parquet(fresh / "estimates.parquet")
        rejected = log.rejected if log is not None else pl.DataFrame(schema=REJECTED)
        rejected.write_parquet(fresh / "rejected.parquet")
        posterior.save(fresh / "posterior")
        run = run_record(posterior, log, checked) | {"interval": interval}
        lock = registered(posterior)
        if lock is not None:
            run["preregistered"] = _held(lock, posterior, log, interval, answers)
        (fresh / "run.json").write_text(json.dumps(run, indent=1, default=str))
        tell("drawing the page")
        from divergence.report import write_formats, write_page

        content = dataclasses.replace(
            page_content(posterior, answers, log, title, run),
            calibration=None if risk is None else risk[1],
            reviews=_reviews(checked),
            measure_next=_measure_next(posterior, declared),
            changes=None if before is None else changes(before, estimates, run),
        )
        write_page(content, fresh / "report.html")
        write_formats(content, fresh, estimates, run, formats, methods(run), population(run))
        if risk is not None and risk[0] is not None:
            risk[0].save(fresh)
        check_log(log)
        stale = [f"report.{other}" for other in FORMATS if other not in ("html", *formats)]  # they would contradict this
        move_into(fresh, folder, gone=(*stale, *(RISK_FILES if risk is not None else ())))
    return estimates


def _measure_next(posterior: Posterior, declared: Configuration | None) -> str:
    """What to measure next in two sentences; '' where the log plans neither a decision nor a gap."""
    from divergence.planning.measure import plan
    from divergence.planning.words import advice

    given = _requirements(declared or Configuration())
    given = {name: given[name] for name in ("acceptance", "prices", "currency") if given.get(name)}
    if len(posterior.fits[0].arms) > PLANNED_ARMS_MAX:
        return ""
    for goal in ("decision", "gap"):
        with contextlib.suppress(NotIdentifiedError, InputError):
            return advice(plan(posterior, goal=goal, declared=given))
    return ""


def _held(lock: Lock, posterior: Posterior, log: Executions | None, interval: float, answers: Mapping) -> dict:
    """How the run kept to its registration."""
    declared = log.configuration if log is not None else Configuration()
    primary = answers[posterior.fits[0].cells.outcome]
    told = departures(lock, declared, posterior.provenance["seed"], interval)
    return record(lock, told, {name: estimate.identified for name, estimate in primary.items()})


def _reviews(checked: Mapping[str, tuple[ModelCheck, ...]]) -> tuple:
    """The checks as the page takes them; the first outcome is the one that the decision is about."""
    from divergence.report import Review

    return tuple(
        Review(c.kind, c.rows, c.numbers, c.reason, outcome if place else "")
        for place, (outcome, checks) in enumerate(checked.items())
        for c in checks
    )


def page_content(
    posterior: Posterior, answers: Mapping[str, Mapping[str, Estimate]], log: Executions | None, title: str | None, run: dict
):
    """The page's content from the fit, the answers and the log."""
    from divergence.report import Check, PageContent

    primary = posterior.fits[0]
    checks = tuple(
        Check(
            d.name if len(posterior.fits) == 1 else f"{d.name} ({f.cells.outcome})",
            d.value,
            f"at {'most' if d.name not in LOWER_LIMITS else 'least'} {d.threshold:g}",
            d.passed,
            d.meaning,
        )
        for f in posterior.fits
        for d in f.diagnostics
    )
    name = title or (pathlib.Path(log.sources[0].file).parent.name if log is not None and log.sources else "divergence")
    return PageContent(
        title=name or "divergence",
        estimates=answers[primary.cells.outcome],
        summary=_summary(posterior, log),
        rejected=log.rejected if log is not None else pl.DataFrame(schema=REJECTED),
        checks=checks,
        refusals=tuple((a.question, a.reason) for a in log.answers() if not a.identified) if log is not None else (),
        skipped=log.skipped if log is not None else (),
        unused_columns=log.unused if log is not None else (),
        notes=tuple(
            dict.fromkeys(
                [
                    *primary.cells.notes,
                    *(n for f in posterior.fits for n in f.arms.notes),
                    *([log.kind_reason] if log is not None else []),
                    *_price_note(log),
                ]
            )
        ),
        provenance=_shown(run),
        acceptance=_requirements(log.configuration)["acceptance"] or {} if log is not None else {},
        cautions=_cautions(primary),
        no_order={r: why for r in REGIMES if (why := needs.why_no_order(primary.log_design, r))},
        counted={regime: plain_means(primary.cells, regime) for regime in REGIMES},
        other_outcomes={k: v for k, v in answers.items() if k != primary.cells.outcome},
    )


def _price_note(log: Executions | None) -> list[str]:
    prices = log.configuration.prices if log is not None else None
    if prices is None:
        return []
    of = f"of {prices.date}" if prices.date else "without a date"
    return [f"Where the log does not meter cost it is tokens at declared prices {of}, in {prices.currency}."]


def _cautions(fit: Fit) -> tuple[str, ...]:
    """What the audit of the log finds that the first screen must carry, and combinations that stand apart."""
    from divergence.joint.standing_apart import apart_names

    told = [str(finding) for finding in audit(fit.log_design) if finding.level == "caution"]
    apart = apart_names(fit.cells, fit.design)
    if apart:
        told.append(
            f"{' and '.join(apart)} {'stand' if apart[1:] else 'stands'} apart from what all others say: look at "
            "what is served there. What is lost or won there is no effect of a serving factor on all models."
        )
    return tuple(told)


LOWER_LIMITS = ("effective draws", "E-BFMI")  # diagnostics that pass when they are large


def _shown(run: dict) -> dict:
    """The part of the run record that the page's footer shows."""
    provenance = run["provenance"]
    shown: dict = {"seed": provenance["seed"], "method": run["fits"][0]["method"], "versions": provenance["versions"]}
    if "preregistered" in run:
        lock = run["preregistered"]
        kept = "; ".join(lock["departures"]) or "no departure"
        shown["registered"] = f"{lock['created']}, SHA-256 {lock['sha256']}: {kept}"
    for source in run.get("data", [])[:20]:
        shown[f"SHA-256 of {pathlib.Path(source['file']).name}"] = source["sha256"] or "not a file"
    return shown


NO_PLACE = "the others are missing, or have no place on a log scale"  # said of rows without a positive outcome


def _summary(posterior: Posterior, log: Executions | None):
    from divergence.report import LogSummary

    fit = posterior.fits[0]
    cells, counts = fit.cells, fit.cells.counts
    frame = pl.DataFrame(
        {
            "regime": [cells.levels["regime"][k] for k in counts["regime"]],
            "context": [cells.levels["context"][k] for k in counts["context"]],
            "rows": counts["rows"],
            "judged": counts["rows"] - counts["unjudged"],
        }
    )
    judged = frame.group_by("regime", "context", maintain_order=True).sum().cast({"rows": pl.Int64, "judged": pl.Int64})
    sizes = fit.counts
    return LogSummary(
        rows={r: int(n) for r, n in frame.group_by("regime").agg(pl.col("rows").sum()).sort("regime").iter_rows()},
        models=len(cells.levels["model"]),
        contexts=sizes["n_contexts"],
        items=sizes["n_items"],
        sessions=sizes["n_sessions"] or None,
        waves=len(cells.levels["wave"]) or None,
        judged=judged if counts["unjudged"].sum() else None,
        unjudged=NO_PLACE if cells.kind == "positive" else LogSummary.unjudged,
        files=tuple(pathlib.Path(s.file).name for s in log.sources) if log is not None else (),
        joining=_joining(fit),
    )


def _joining(fit: Fit) -> tuple[str, ...]:
    """What joins bench and deployment, and names of one side that may be one model with a name of the other."""
    bench, live = models_by_side(fit.cells)
    apart = [group for group in may_be_one(bench | live) if not {*group} <= bench and not {*group} <= live]
    return (*joining(fit.cells), *(sentence for group in apart for sentence in suggestions(group)))
