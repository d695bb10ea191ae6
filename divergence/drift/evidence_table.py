"""`evidence.parquet`: every statistic and both families after every chunk of this run."""

from __future__ import annotations

import numpy as np
import polars as pl

from divergence.drift.layout import FAMILIES
from divergence.drift.monitor import Monitor
from divergence.drift.verdict import readable

SCHEMA = pl.Schema(
    {
        "chunk": pl.Int64,
        "start": pl.Datetime("us", "UTC"),
        "end": pl.Datetime("us", "UTC"),
        "family": pl.String,
        "kind": pl.String,
        "a": pl.String,
        "b": pl.String,
        "detail": pl.String,
        "value": pl.Float64,
        "spreads": pl.Float64,
        "log_e": pl.Float64,
    }
)
"""One row a chunk and statistic (`value` in the unit that people read, `spreads` from the reference), and one a chunk and
family (`kind` = "family", `log_e` divided among the families, so that log(1/alpha) is the threshold)."""


def evidence_table(monitor: Monitor) -> pl.DataFrame:
    """The table of the chunks that this run has seen, as far as they are kept."""
    history, trail = monitor.history, monitor.trail
    count = min(len(trail), len(history.number))
    parts = []
    last = slice(len(history.number) - count, None)
    values = history.values[last].astype(float)
    spreads = monitor.reference.standard(values, history.middle[last]) if count else values
    with np.errstate(divide="ignore"):
        log_e = np.log(np.maximum(np.array(trail[len(trail) - count :]).reshape(count, len(monitor.statistics)), 1e-300))
    time = {"chunk": history.number[last], "start": history.start[last], "end": history.end[last]}
    for number, statistic in enumerate(monitor.statistics):
        if monitor.reference.followed[number]:
            words = {"family": statistic.family, "kind": statistic.kind, "a": statistic.a, "b": statistic.b}
            numbers = {"value": readable(statistic.kind, values[:, number]), "spreads": spreads[:, number]}
            numbers |= {"log_e": log_e[:, number]}
            parts.append(_rows(time, words | {"detail": statistic.detail}, numbers))
    for number, family in enumerate(FAMILIES):
        words = {"family": family, "kind": "family", "a": None, "b": None, "detail": None}
        empty = np.full(count, np.nan)
        parts.append(_rows(time, words, {"value": empty, "spreads": empty, "log_e": history.evidence[last, number]}))
    return pl.concat(parts).sort("chunk", maintain_order=True)


def _rows(time: dict[str, np.ndarray], words: dict[str, str | None], numbers: dict[str, np.ndarray]) -> pl.DataFrame:
    frame = pl.DataFrame(time | numbers).with_columns(*(pl.lit(text, pl.String).alias(name) for name, text in words.items()))
    instants = [pl.col(name).cast(pl.Datetime("us")).dt.replace_time_zone("UTC") for name in ("start", "end")]
    return (
        frame.with_columns(*instants, *(pl.col(name).fill_nan(None) for name in numbers)).select(SCHEMA.names()).cast(SCHEMA)
    )
