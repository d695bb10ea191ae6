"""Telemetry scraped in windows, as signals: one column a metric.

Counters become rates per second between neighbouring windows of one instance; where a counter falls it was reset, and the
rate of that window is unknown. The set of histogram buckets (`le` labels) of each metric is kept as the column `buckets`, so
that other buckets are seen as another instrument and not as drift. Names are taken whole: a metric by reason is not added
to the metric that it sums to.
"""

from __future__ import annotations

import hashlib

import polars as pl

COUNTERS = ("_total", "_sum", "_count", "_bucket")
"""Endings of metrics that only grow."""
_BUCKET = "_bucket"


def windows(table: pl.DataFrame, by: tuple[str, ...] = ()) -> tuple[pl.DataFrame, list[str]]:
    """One row a window (and group `by`), the mean over instances of each metric; and what a reader should know."""
    rated, notes = _rates(table)
    buckets = _buckets(table)
    table = rated.filter(~pl.col("metric").str.contains(_BUCKET, literal=True))
    wide = (
        table.with_columns(time=pl.col("window_start").dt.truncate("1s"))
        .pivot("metric", index=["time", *by], values="value", aggregate_function="mean", sort_columns=True)
        .sort("time", *by)
    )
    if buckets is not None:
        wide = wide.join(buckets, on="time", how="left", maintain_order="left")
    return wide, notes


def _rates(table: pl.DataFrame) -> tuple[pl.DataFrame, list[str]]:
    counter = pl.any_horizontal(pl.col("metric").str.split("{").list.first().str.ends_with(end) for end in COUNTERS)
    table = table.with_columns(counter.alias("__counter")).sort("window_start", maintain_order=True)
    keys = ["instance", "model", "metric"]
    step = pl.col("value").diff().over(keys)
    seconds = pl.col("window_start").diff().dt.total_microseconds().over(keys) / 1e6
    falling = table.filter("__counter").select((step < 0).fill_null(False).mean().over("metric").alias("share"), "metric")
    already = falling.filter(pl.col("share") > 0.05)["metric"].unique().to_list()  # falls too often: it is a rate already
    reset = pl.col("__counter") & (step < 0) & ~pl.col("metric").is_in(already)
    resets = int(table.select(reset.fill_null(False).sum()).item())
    rate = pl.when(step >= 0).then(step / seconds)
    grows = pl.col("__counter") & ~pl.col("metric").is_in(already)
    out = table.with_columns(pl.when(grows).then(rate).otherwise(pl.col("value")).alias("value"))
    return out.drop("__counter"), [f"{resets} counters were reset (the process began again): no drift"] * (resets > 0)


def _buckets(table: pl.DataFrame) -> pl.DataFrame | None:
    """A short name of the set of histogram buckets in each window; None without histograms."""
    scraped = table.filter(pl.col("metric").str.contains(_BUCKET, literal=True))
    if not len(scraped):
        return None
    return (
        scraped.with_columns(time=pl.col("window_start").dt.truncate("1s"))
        .group_by("time")
        .agg(pl.col("metric").unique().sort().str.join(","))
        .select("time", pl.col("metric").map_elements(_short, return_dtype=pl.String).alias("buckets"))
    )


def _short(names: str) -> str:
    return hashlib.sha256(names.encode()).hexdigest()[:8]


def joined_telemetry(frame: pl.DataFrame, table: pl.DataFrame) -> tuple[pl.DataFrame, list[str]]:
    """Each execution with the last window before it: of its own instance where a column of the log names instances."""
    instances = [name for name in table["instance"].drop_nulls().unique().sort().to_list()]
    column, names = _instance_column(frame, instances)
    by = ["instance"] if column else []
    both = "model" in frame.columns and table["model"].drop_nulls().n_unique() > 1
    wide, notes = windows(
        table.with_columns(pl.col("instance").replace(names)) if column else table, (*by, *(["model"] * both))
    )
    metrics = [name for name in wide.columns if name not in ("time", "instance", "model") and name not in frame.columns]
    empty = [name for name in metrics if wide[name].null_count() == len(wide)]
    keys = [*([column] if column else []), *(["model"] * both)]
    right = wide.rename({"instance": column} if column else {}).select(
        "time", *keys, *(m for m in metrics if m not in empty)
    )
    frame = frame.sort("time", maintain_order=True)
    frame = frame.join_asof(
        right.sort("time"), on="time", by=keys or None, strategy="backward", tolerance="1h", check_sortedness=False
    )
    how = f"of its {column}" if column else "of all instances together"
    return frame, [*notes, f"each execution carries the last telemetry window before it, {how}"]


def _instance_column(frame: pl.DataFrame, instances: list[str]) -> tuple[str | None, dict[str, str]]:
    """The text column whose levels are instances (`a`, or `a` for the instance `stream/a`), and instance -> level."""
    for name in frame.columns:
        if frame[name].dtype == pl.String and frame[name].n_unique() <= len(instances) + 1:
            levels = frame[name].drop_nulls().unique().to_list()
            named = {i: level for i in instances for level in levels if i == level or i.rpartition("/")[2] == level}
            if levels and set(named.values()) == set(levels):
                return name, named
    return None, {}
