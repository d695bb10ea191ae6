"""From an execution log to its sufficient statistics: of its distinct rows where it is tallied, else in streaming passes.

A collapse is a commutative monoid: files, threads and machines give the same bytes in any order, because counts are whole
numbers and floats are added exactly (`exact_sums`).
"""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
import polars as pl

from divergence.calling import sentences
from divergence.cells.cells import KEYS, MISSING, ROWS_OF, TABLES, Cells, DeclaredLaw, Table, thinned_by
from divergence.cells.episodes import episode_tables
from divergence.cells.grouped import grouped, row_frames
from divergence.cells.measures import measure_histograms, measure_sums, measured
from divergence.cells.merge import recoded
from divergence.cells.mixed import mixed_factors, mixed_of, mixed_sums
from divergence.cells.trials import trial_sums
from divergence.executions import Executions, with_outcome
from divergence.executions.names import TIMES
from divergence.executions.random_groups import is_kept
from divergence.executions.unchanged import one_pass
from divergence.numerics import together


@sentences
@one_pass
def collapse(log: Executions, *, outcome: str | None = None) -> Cells:
    """Sufficient statistics of one outcome of a log: what a fit takes.

    `log`: what `read` returns. `outcome`: a column or metric of it; None = its primary one. Returns `Cells`: sums by model,
    regime, context, item and session, in the outcome's own unit. Streams: memory grows with the cells (arms times items),
    not with the rows. `measures` and `histograms` tell what the primary outcome took, whichever is chosen. Raises
    InputError where the log has no such outcome.

    >>> import divergence as dv
    >>> from divergence.simulate import simulate, world
    >>> log = dv.read(simulate(world("baseline"), 0)[0])
    >>> dv.collapse(log).counts["rows"].sum() == log.counts.valid
    np.True_
    """
    chosen = log if outcome is None else with_outcome(log, outcome)
    tables = _by_outcome(chosen)
    tables["designs"] = _designs(chosen)
    tables |= mixed_sums(chosen, mixed_factors(tables["designs"]))
    tables |= _taken(log) | episode_tables(log)
    return _coded(chosen, tables)


@one_pass
def collapse_design(log: Executions) -> Cells:
    """The cells of the log's outcome without what no audit asks for: answers and histograms are empty.

    They are most of the work of a collapse, and `check` has to be quick on a large log. Sessions are there: rows of one
    session are no replicates of each other, and an audit that does not see them promises what a fit refuses.
    """
    tables = {
        "counts": _group(log, _distinct(log), "counts"),
        "designs": _designs(log),
        "measures": measure_sums(measured(log), log.kind != "positive", log.ray, whole=_counted(log), brief=True),
    }
    tables |= mixed_sums(log, mixed_factors(tables["designs"]))
    rows = float(tables["counts"][ROWS_OF["sessions"]].sum())
    kept = _in_sessions(log, rows) if rows else []
    if rows:
        tables["sessions"] = _group(log, kept, "sessions")
    return _coded(log, tables | _graded(log, kept) | episode_tables(log))


@one_pass
def design_beside(log: Executions, cells: Cells, outcome: str) -> Cells:
    """`collapse_design` of another outcome, for a log whose own is there: what no outcome changes is taken from it. Sums are
    plain ones: nothing is written of them, and no answer hangs on their last digit."""
    chosen = with_outcome(log, outcome)
    tables = {"counts": _group(chosen, _distinct(chosen), "counts", exact=False)}
    rows = float(tables["counts"][ROWS_OF["sessions"]].sum())
    if rows:
        tables["sessions"] = _group(chosen, _in_sessions(chosen, rows), "sessions", exact=False)
    return _beside(cells, _coded(chosen, tables | mixed_sums(chosen, mixed_of(cells))))


@one_pass
def collapse_beside(log: Executions, cells: Cells, outcome: str) -> Cells:
    """`collapse(log, outcome=outcome)` for a log whose cells of the primary outcome are there: what no outcome changes is
    taken from them."""
    chosen = with_outcome(log, outcome)
    return _beside(cells, _coded(chosen, _by_outcome(chosen) | mixed_sums(chosen, mixed_of(cells))))


def _beside(cells: Cells, own: Cells) -> Cells:
    """`own` with the tables of `cells` that no outcome changes."""
    shared = [name for name in TABLES if name not in BY_OUTCOME]
    names = {key for table in shared for key in TABLES[table][0]}
    levels = {key: tuple(sorted({*own.levels[key], *(cells.levels[key] if key in names else ())})) for key in KEYS}
    tables = {name: recoded(cells if name in shared else own, name, levels) for name in TABLES}
    return dataclasses.replace(own, levels=levels, **tables)


OBSERVED = (
    "Levels and what is made of them are about the items of this log themselves (benchmark accuracy), not about new items "
    'of the same source: items = "observed" is declared. Flips, powers, costs and effects of factors stay about new items.'
)
FRACTIONS = ("n", "y", "yy")
"""Sums that may be of floats: trials are fractions where rates repeat each other."""
BY_OUTCOME = ("counts", "sessions", "answers", "grades", "session_grades", "mixed")
"""Tables that the outcome changes."""


def _by_outcome(chosen: Executions) -> dict[str, pl.DataFrame]:
    frames = _distinct(chosen)
    tables = {"counts": _group(chosen, frames, "counts")}
    rows = {name: float(tables["counts"][column].sum()) for name, column in ROWS_OF.items()}
    kept = _in_sessions(chosen, rows["sessions"]) if rows["sessions"] else []
    if kept:
        tables["sessions"] = _group(chosen, kept, "sessions")
    if rows["answers"]:
        some = [
            frame.filter(pl.col("answer").is_not_null() & pl.col("item").is_not_null()).with_columns(n=pl.lit(1.0))
            for frame in _kept_rows(chosen, thinned_by(rows["answers"]), ("session", "item"))
        ]
        tables["answers"] = _group(chosen, some, "answers")
    return tables | _graded(chosen, kept)


def _graded(log: Executions, in_sessions: list[pl.LazyFrame]) -> dict[str, pl.DataFrame]:
    """The tables by grade of an ordinal outcome, where sessions are logged of these rows too."""
    if log.kind != "ordinal":
        return {}
    judged = [frame.filter(pl.col("n") > 0) for frame in _distinct(log)]
    found = {"grades": _group(log, judged, "grades")}
    return found | ({"session_grades": _group(log, in_sessions, "session_grades")} if in_sessions else {})


def _in_sessions(chosen: Executions, rows: float) -> list[pl.LazyFrame]:
    """The judged rows of sessions, of all of them or of those that are kept of so many rows."""
    kept = _counted_along(chosen, thinned_by(rows)) or _kept_rows(chosen, thinned_by(rows), ("session",))
    return [frame.filter(pl.col("session").is_not_null() & (pl.col("n") > 0)) for frame in kept]


def _taken(log: Executions) -> dict[str, pl.DataFrame]:
    """The tables `measures` and `histograms`."""
    frames = measured(log)
    tables = {
        "measures": measure_sums(frames, log.kind != "positive", log.ray, whole=_counted(log)),
        "histograms": measure_histograms(frames, log.ray),
    }
    return {name: table for name, table in tables.items() if table.height}


def _distinct(log: Executions) -> list[pl.LazyFrame]:
    return row_frames(log, functools.partial(_rows, log), distinct=True)


def _counted_along(log: Executions, every: int) -> list[pl.LazyFrame]:
    """The rows of one in `every` sessions that were held while the log was counted; nothing where they were not. Rates over
    many items are compared with each other by columns that were not counted."""
    held = None if log.tally is None or "score_n" in log.present else log.tally.sessions(every)
    return [] if held is None else [_rows(log, held)]


def _kept_rows(log: Executions, every: int, clusters: tuple[str, ...]) -> list[pl.LazyFrame]:
    """The rows, all of them or those of one in `every` clusters; a cluster is the first of these columns that is given."""
    if every == 1:
        return row_frames(log, functools.partial(_rows, log))
    if log.sample is None:
        return [_rows(log, log.scan().filter(is_kept(map(pl.col, clusters), every)))]
    if log.ray is None or log.by_file is None or "score_n" in log.present:
        return [_rows(log, log.sample(clusters, every))]
    return [_rows(log, frame) for frame in log.by_file(clusters, every)]


def _times(columns: list[str]) -> pl.Expr:
    """How many executions a row of the frame stands for."""
    return pl.col(TIMES).cast(pl.Float64) if TIMES in columns else pl.lit(1.0)


def _repeats(given: dict[str, pl.Expr], columns: list[str], n: pl.Expr) -> pl.Expr:
    """How many rates of one stratum a rate is one of: runs over the same items know no more items than one of them.

    A rate over `score_n` items repeats another where both name the same item (stratum), or number their runs, and agree in
    all other keys: together they count as their mean over these items. Rates that name neither are of items of their own.
    Exact where a stratum lies whole in one partition.
    """
    numbered = pl.col("trial").is_not_null() if "trial" in columns else pl.lit(False)
    same = (n > 1) & (given["item"].is_not_null() | numbered)
    keys = [given[k] for k in ("regime", "model", "context", "wave", "scorer", "task", "item")]
    return pl.when(same).then(pl.when(same).then(_times(columns)).otherwise(0.0).sum().over(keys)).otherwise(1.0)


def _rows(log: Executions, frame: pl.LazyFrame) -> pl.LazyFrame:
    """One row an execution with `n` trials, `y` their sum, `yy` the sum of their squares; all keys as labels.

    A combination of labels that stands for many executions has the sums of them all.
    """
    columns = frame.collect_schema().names()
    judged = pl.col("outcome").is_not_null()
    given = {
        k: pl.col(k).cast(pl.String) if k in columns else pl.lit(None, pl.String)
        for k in ("regime", "model", "context", "wave", "scorer", "task", "item", "session", "answer")
    }
    n, total, squares = trial_sums(log)
    if "score_n" in log.present:
        n, total, squares = (each / _repeats(given, columns, n) for each in (n, total, squares))
    # A rate over many items is not an answer to its item: it stands for distinct items of its stratum.
    given["item"] = pl.when(n <= 1).then(given["item"])
    chance = pl.col("probability").cast(pl.String) if "probability" in columns else pl.lit(None, pl.String)
    factors = [pl.col(f).cast(pl.String).fill_null("(not logged)").alias(f"factor:{f}") for f in log.factors]
    sums = {
        "n": n,
        "y": total,
        "yy": squares,
        "rows": pl.lit(1.0),
        "unjudged": ~judged,
        "grouped": judged & given["session"].is_not_null(),
        "answered": given["answer"].is_not_null() & given["item"].is_not_null(),
    }
    if log.kind == "ordinal":
        names = log.configuration.grades
        place = (pl.col("outcome") * (len(names) - 1)).round().cast(pl.Int64)
        given["grade"] = place.replace_strict(dict(enumerate(names)), return_dtype=pl.String)
    times = _times(columns)
    return frame.select(
        # Four bytes a row where text takes sixteen and its own length.
        *(key.cast(pl.Categorical).alias(name) for name, key in given.items()),
        *factors,
        chance=chance,
        **{name: each.cast(pl.Float64) * times for name, each in sums.items()},
    )


def _group(log: Executions, frames: list[pl.LazyFrame], table: str, exact: bool = True) -> pl.DataFrame:
    keys, sums = TABLES[table]
    fractions = () if _counted(log) or not exact else FRACTIONS
    whole = {name: pl.col(name).sum() for name in sums if name not in fractions}
    parts = {name: pl.col(name) for name in sums if name in fractions}
    return grouped(frames, keys, whole, parts, log.ray)


def _counted(log: Executions) -> bool:
    """Are sums of the outcome whole numbers?"""
    return log.kind == "binary" and "score_n" not in log.present


def _designs(log: Executions) -> pl.DataFrame:
    columns = ["regime", "context", *(f"factor:{f}" for f in log.factors)]
    wide = grouped(_distinct(log), columns, {"n": pl.col("rows").sum()}, {}, log.ray)
    parts = [
        wide.group_by("regime", "context", pl.col(f"factor:{f}").alias("level"))
        .agg(pl.col("n").sum())
        .select("regime", "context", pl.lit(f).alias("factor"), "level", "n")
        for f in log.factors
    ]
    return (
        pl.concat(parts) if parts else pl.DataFrame(schema={k: pl.String for k in TABLES["designs"][0]} | {"n": pl.Float64})
    )


def _coded(log: Executions, frames: dict[str, pl.DataFrame]) -> Cells:
    levels = {
        key: tuple(
            sorted(
                {v for f in frames.values() if key in f.columns for v in f[key].unique().cast(pl.String) if v is not None}
            )
        )
        for key in KEYS
    }
    tables = {name: _table(name, frames.get(name), levels) for name in TABLES}
    return Cells(
        log.outcome,
        "binary" if log.kind == "proportion" else log.kind,
        levels,
        **tables,
        grade_names=log.configuration.grades if log.kind == "ordinal" else (),
        declared_law=_law(log),
        items=log.configuration.items,
        better=log.better,
        zero_cost=log.configuration.zero_cost,
        cautions=log.cautions,
        notes=(*log.notes, *([OBSERVED] if log.configuration.items == "observed" else [])),
    )


def _law(log: Executions) -> DeclaredLaw | str:
    law = log.configuration.deployment_law
    return law.name if law.name != "declared" else (law.factor, tuple(sorted(law.shares.items())))


def _table(name: str, frame: pl.DataFrame | None, levels: dict[str, tuple[str, ...]]) -> Table:
    keys, sums = TABLES[name]
    if frame is None:
        return Table({k: np.zeros(0, np.int64) for k in keys}, {s: np.zeros(0) for s in sums})
    codes = {}
    for key in keys:
        column = frame[key] if key in frame.columns else pl.Series(key, [None] * frame.height, pl.String)
        codes[key] = _codes(column, levels[key])
    order = np.argsort(together(*(codes[k] for k in keys)), kind="stable")
    return Table({k: codes[k][order] for k in keys}, {s: frame[s].to_numpy()[order].astype(float) for s in sums})


def _codes(column: pl.Series, levels: tuple[str, ...]) -> np.ndarray:
    """Index into the sorted level names of each value, -1 for null."""
    coded = column.cast(pl.String).cast(pl.Enum(levels)).to_physical()
    return coded.cast(pl.Int64).fill_null(MISSING).to_numpy()
