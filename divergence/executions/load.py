"""How loaded was the server when it began an execution? Joins telemetry to executions, and counts outcomes by load.

Where the log has a column `load` that is the load. Else a gauge of the telemetry is joined as of the start of each
execution: the window of its server that contains the instant gives the value,

    window_start <= time < window_start + window_s

by instance, where telemetry has several and the executions name theirs; by model, where each model has one instance; and
for all, where there is one instance. Else a `concurrency` that is a number stands for it. Unit: of the gauge.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from divergence.errors import NotIdentifiedError

if TYPE_CHECKING:
    from divergence.executions.executions import Executions

METRIC = "requests_running"
BINS = 8
"""Levels of load at most: each needs items that other levels have too, and more of them blur no curve that is smooth."""
KEYS = ("model", "context", "item", "level")


@dataclasses.dataclass(frozen=True)
class Loads:
    """Judged executions by load."""

    table: pl.DataFrame
    """Per (model, context, item, level): n executions, y sum of the outcome; level counts from 0, by rising load."""
    load: np.ndarray
    """Mean load of each level, in the unit of the gauge, shape (levels,)."""
    source: str
    """What the load is: `load`, the name of a gauge, or `concurrency`."""
    unplaced: int
    """Judged executions with an item for which no load is known."""


def loads(log: Executions, metric: str = METRIC) -> Loads:
    """The judged executions of a log by load. Raises NotIdentifiedError where no load of any of them is known."""
    present = log.scan().collect_schema().names()
    wanted = [name for name in ("model", "context", "item", "time", "instance", "load", "concurrency") if name in present]
    judged = pl.col("outcome").is_not_null()
    if "item" not in present:
        raise NotIdentifiedError("No row names its item: a curve over load compares items with themselves.")
    others = [name for name in log.factors if name not in ("concurrency", "context")]
    named = list(dict.fromkeys((*wanted, *others, "outcome")))
    rows = log.scan().filter(judged & pl.col("item").is_not_null()).select(named).collect(engine="streaming")
    load, source = _load(rows, log, metric)
    if source == "concurrency":  # the contexts are then those of the other factors: else each would have one load
        parts = [pl.format(f"{name}={{}}", pl.col(name).cast(pl.String).fill_null("not logged")) for name in others]
        rows = rows.with_columns(context=pl.concat_str(parts, separator="|") if parts else pl.lit("all"))
    placed = rows.with_columns(load=load).filter(pl.col("load").is_finite())
    if not placed.height:
        raise NotIdentifiedError(
            f"No judged execution with an item has a load: the log has no column load, and no window of {metric} in its "
            "telemetry contains one."
        )
    level, middle = levels(placed["load"].to_numpy())
    counted = placed.with_columns(level=pl.Series(level)).group_by(KEYS).agg(n=pl.len(), y=pl.col("outcome").sum())
    return Loads(counted.sort(KEYS), middle, source, rows.height - placed.height)


def offered(log: Executions) -> bool:
    """Does the log say anything of a load: telemetry, a column `load`, or a concurrency?"""
    return log.telemetry is not None or bool({"load", "concurrency"} & log.present)


def as_of(rows: pl.DataFrame, telemetry: pl.DataFrame, metric: str) -> pl.Series:
    """The value of a gauge at the server and the start of each row, null where no window contains it.

    `rows` have `time`, and `instance` and `model` where they are known. Raises NotIdentifiedError where several instances
    were watched and nothing tells which of them a row went to.
    """
    gauge = telemetry.filter(pl.col("metric") == metric)
    keys = _keys(rows, gauge)
    of_server = gauge.group_by(*keys, "window_start", "window_s").agg(pl.col("value").sum()).sort("window_start")
    asked = rows.with_row_index("__place").filter(pl.col("time").is_not_null()).sort("time")
    joined = asked.join_asof(
        of_server, left_on="time", right_on="window_start", by=keys or None, strategy="backward", check_sortedness=False
    )
    end = pl.col("window_start") + pl.duration(microseconds=(pl.col("window_s") * 1e6).cast(pl.Int64))
    inside = joined.select("__place", value=pl.when(pl.col("time") < end).then("value"))
    places = pl.DataFrame({"__place": pl.Series(range(rows.height), dtype=pl.UInt32)})
    return places.join(inside, on="__place", how="left", maintain_order="left")["value"]


def levels(load: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(level of each row, mean load of each level): a level a value where values are few, else equal shares of the rows."""
    values = np.unique(load)
    if len(values) <= BINS:
        return np.searchsorted(values, load), values
    edges = np.unique(np.quantile(load, np.arange(1, BINS) / BINS))
    _, level = np.unique(np.searchsorted(edges, load, side="right"), return_inverse=True)
    return level, np.bincount(level, load) / np.bincount(level)


def _load(rows: pl.DataFrame, log: Executions, metric: str) -> tuple[pl.Series, str]:
    if "load" in rows.columns and rows["load"].count():
        return rows["load"], "load"
    if log.telemetry is not None and "time" in rows.columns:
        telemetry = log.telemetry.collect(engine="streaming")
        if telemetry.filter(pl.col("metric") == metric).height:
            return as_of(rows, telemetry, metric), metric
    if "concurrency" in rows.columns:
        return rows["concurrency"].cast(pl.Float64, strict=False), "concurrency"
    return pl.Series("load", [None] * rows.height, dtype=pl.Float64), metric


def _keys(rows: pl.DataFrame, gauge: pl.DataFrame) -> list[str]:
    instances = gauge["instance"].drop_nulls().unique()
    if len(instances) <= 1:
        return []
    if "instance" in rows.columns and rows["instance"].is_in(instances.implode()).any():
        return ["instance"]
    of_model = gauge.drop_nulls("model").group_by("model").agg(pl.col("instance").n_unique())
    if of_model.height and (of_model["instance"] == 1).all() and gauge["model"].null_count() == 0:
        return ["model"]
    raise NotIdentifiedError(
        f"The telemetry is of {len(instances)} instances ({', '.join(sorted(instances)[:5])}), and no execution names the "
        "one that answered it: log a column instance."
    )
