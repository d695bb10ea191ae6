"""From an execution log to its sufficient statistics, in streaming passes.

A collapse is a commutative monoid: `merge(collapse(a), collapse(b)) == collapse(a + b)` exactly (sums of integers, or
float64 sums of the same values). Partitions, processes and machines follow from that.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from divergence.cells.cells import KEYS, MISSING, ROWS_OF, TABLES, Cells, DeclaredLaw, Table, thinned_by
from divergence.cells.episodes import episode_tables
from divergence.cells.measures import measure_histograms, measure_sums, measured
from divergence.cells.thinning import cluster_hash, keeps
from divergence.cells.trials import trial_sums
from divergence.executions import Executions, with_outcome


def collapse(log: Executions, *, outcome: str | None = None) -> Cells:
    """Sufficient statistics of one outcome of the log (None = its primary one).

    Streams: memory grows with the cells (arms times items), not with the rows. `measures` and `histograms` tell what the
    primary outcome took, whichever is chosen. Raises InputError where the log has no such outcome.
    """
    chosen = log if outcome is None else with_outcome(log, outcome)
    frame = _rows(chosen)
    tables = {"counts": _group(frame, "counts").collect(engine="streaming")}
    rows = {name: tables["counts"][column].sum() for name, column in ROWS_OF.items()}
    if rows["sessions"]:
        kept = frame.filter(pl.col("session").is_not_null() & (pl.col("n") > 0))
        tables["sessions"] = _thinned(kept, "sessions", rows, "session")
    if rows["answers"]:
        kept = frame.filter(pl.col("answer").is_not_null() & pl.col("item").is_not_null()).with_columns(n=pl.lit(1.0))
        tables["answers"] = _thinned(kept, "answers", rows, "session", "item")
    tables["designs"] = _designs(frame, log.factors)
    tables |= _taken(log) | episode_tables(log)
    return _coded(chosen, tables)


def _taken(log: Executions) -> dict[str, pl.DataFrame]:
    """The tables `measures` and `histograms`."""
    frame = measured(log)
    tables = {"measures": measure_sums(frame, log.kind != "positive"), "histograms": measure_histograms(frame)}
    return {name: table for name, table in tables.items() if table.height}


def _rows(log: Executions) -> pl.LazyFrame:
    """One row an execution with `n` trials, `y` their sum, `yy` the sum of their squares; all keys as text."""
    frame = log.scan()
    columns = frame.collect_schema().names()
    judged = pl.col("outcome").is_not_null()
    grouped = judged & pl.col("session").is_not_null()
    keys = [
        (pl.col(k).cast(pl.String) if k in columns else pl.lit(None, pl.String)).alias(k)
        for k in ("regime", "model", "context", "wave", "scorer", "task", "item", "session", "answer")
    ]
    chance = pl.col("probability").cast(pl.String) if "probability" in columns else pl.lit(None, pl.String)
    factors = [pl.col(f).cast(pl.String).fill_null("(not logged)").alias(f"factor:{f}") for f in log.factors]
    keys = [key.cast(pl.Categorical) for key in keys]  # four bytes a row where text takes sixteen and its own length
    frame = frame.select(
        *keys, *factors, *trial_sums(log), chance=chance, rows=pl.lit(1.0), unjudged=(~judged).cast(pl.Float64),
        grouped=grouped.cast(pl.Float64),
    )
    # A rate over many items is not an answer to its item: it stands for distinct items of its stratum.
    frame = frame.with_columns(item=pl.when(pl.col("n") > 1).then(None).otherwise(pl.col("item")))
    return frame.with_columns(answered=(pl.col("answer").is_not_null() & pl.col("item").is_not_null()).cast(pl.Float64))


def _group(frame: pl.LazyFrame, table: str) -> pl.LazyFrame:
    keys, sums = TABLES[table]
    return frame.group_by(keys).agg(pl.col(s).sum() for s in sums)


def _thinned(frame: pl.LazyFrame, table: str, rows: dict[str, float], *clusters: str) -> pl.DataFrame:
    """One of the tables that would grow with the rows, of the clusters that it keeps."""
    every = thinned_by(rows[table])
    kept = frame if every == 1 else frame.filter(keeps(cluster_hash(*clusters), every))
    return _group(kept, table).collect(engine="streaming")


def _designs(frame: pl.LazyFrame, factors: tuple[str, ...]) -> pl.DataFrame:
    counts = frame.group_by("regime", "context", *(f"factor:{f}" for f in factors)).agg(n=pl.len().cast(pl.Float64))
    wide = counts.collect(engine="streaming")
    parts = [
        wide.group_by("regime", "context", pl.col(f"factor:{f}").alias("level")).agg(pl.col("n").sum())
        .select("regime", "context", pl.lit(f).alias("factor"), "level", "n")
        for f in factors
    ]
    return pl.concat(parts) if parts else pl.DataFrame(
        schema={k: pl.String for k in TABLES["designs"][0]} | {"n": pl.Float64})


def _coded(log: Executions, frames: dict[str, pl.DataFrame]) -> Cells:
    levels = {
        key: tuple(sorted({v for f in frames.values() if key in f.columns
                           for v in f[key].unique().cast(pl.String) if v is not None}))
        for key in KEYS
    }
    tables = {name: _table(name, frames.get(name), levels) for name in TABLES}
    return Cells(log.outcome, "binary" if log.kind == "proportion" else log.kind, levels, **tables,
                 declared_law=_law(log), notes=tuple(log.notes))


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
    order = np.lexsort([codes[k] for k in reversed(keys)])
    return Table({k: codes[k][order] for k in keys}, {s: frame[s].to_numpy()[order].astype(float) for s in sums})


def _codes(column: pl.Series, levels: tuple[str, ...]) -> np.ndarray:
    """Index into the sorted level names of each value, -1 for null."""
    distinct = column.unique().drop_nulls()
    place = dict(zip(levels, range(len(levels)), strict=True))
    lookup = pl.DataFrame({"value": distinct, "code": [place[name] for name in distinct.cast(pl.String)]},
                          schema_overrides={"code": pl.Int64})
    coded = column.alias("value").to_frame().join(lookup, on="value", how="left", maintain_order="left")["code"]
    return coded.fill_null(MISSING).to_numpy().astype(np.int64)
