"""What executions took (time, money, tokens, tries) by random group of clusters: sums, and histograms for quantiles.

For a measure x of a row with outcome y in 0..1: n = rows that have it, sum x, sum x^2, and sum (1 - y) x over judged
rows, which is what failures took. A measure that is missing, not finite or negative does not count as one; 0 counts.
The measure `score` is the primary outcome itself: n = judged trials, y = their sum, lost = failures.
The measure `failed_error` counts, with n, rows that have an `error_type` and a score of 0: errors taken for failures.
Units: those of the columns. Blocks: `blocks`; bins: `histograms`.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from divergence.cells.grouped import grouped, row_frames
from divergence.cells.histograms import bin_expression
from divergence.cells.trials import trial_sums
from divergence.executions import Executions
from divergence.executions.executions import Tallied
from divergence.executions.names import GROUP, TIMES
from divergence.executions.random_groups import block

MEASURES = (
    "latency_s",
    "ttft_s",
    "tpot_s",
    "queue_s",
    "cost_usd",
    "input_tokens",
    "output_tokens",
    "cached_tokens",
    "reasoning_tokens",
    "retries",
    "tool_calls",
    "attempts",
    "calls",
    "turn",
)
QUANTILES = ("latency_s", "ttft_s", "tpot_s", "queue_s", "cost_usd", "output_tokens")
"""Measures that are asked for quantiles."""
PRIMARY = "score"
"""The measure that is the primary outcome."""
ERRED = "failed_error"
"""The measure of rows whose score is 0 and that say that something failed."""


def measured(log: Executions) -> list[pl.LazyFrame]:
    """One row an execution: model, regime, context, task, block, the outcome's sums, and each measure that the log has;
    one frame, or one a file where a cluster sums them.

    Where rows are tallied and no measure is logged, one row a group and block, its sums multiplied by its rows.
    """
    names = [m for m in MEASURES if m in log.present]
    erred = "error_type" in log.present and log.kind != "positive"
    if log.tally is not None and not names and not erred:
        return [_in_blocks(log, log.tally)]
    values = [
        pl.when(((pl.col(m) >= 0) | (m == "cost_usd")) & pl.col(m).cast(pl.Float64).is_finite())
        .then(pl.col(m).cast(pl.Float64))
        .alias(m)
        for m in names
    ]
    if erred:
        values.append(pl.when(pl.col("error_type").is_not_null() & (pl.col("outcome") == 0)).then(1.0).alias(ERRED))
    keys = [pl.col(key).cast(pl.Categorical) for key in ("model", "regime", "context", "task")]
    score = pl.col("outcome").cast(pl.Float64)

    def shaped(frame: pl.LazyFrame) -> pl.LazyFrame:
        group = block(frame.collect_schema().names()).alias("block")
        return frame.select(*keys, group, *values, *trial_sums(log), score=score)

    return row_frames(log, shaped)


def _in_blocks(log: Executions, tally: Tallied) -> pl.LazyFrame:
    group, number = tally.blocks.nonzero()
    rows = pl.DataFrame({GROUP: group, "block": number.astype(np.int16), TIMES: tally.blocks[group, number]})
    groups = tally.frame.unique(GROUP)
    score = pl.col("outcome").cast(pl.Float64)
    sums = [(sum_ * pl.col(TIMES)).alias(name) for name, sum_ in zip(("n", "y", "yy"), trial_sums(log), strict=True)]
    keys = ("model", "regime", "context", "task")
    return rows.join(groups.drop(TIMES), on=GROUP).lazy().select(*keys, "block", *sums, score=score)


def measure_sums(
    frames: list[pl.LazyFrame], scored: bool, ray: str | None = None, *, whole: bool = False, brief: bool = False
) -> pl.DataFrame:
    """The table `measures` of what `measured` gives; `scored`: does the outcome lie between 0 and 1?

    `whole`: the score's sums are whole numbers, which any order adds up alike. `brief`: leaves out (NaN) losses, and
    squares but of costs (which may cancel) and scores: no audit asks for them, and they are two thirds of the work.
    """
    columns = frames[0].collect_schema().names()
    names = [m for m in (*MEASURES, ERRED) if m in columns]
    keys = ("model", "regime", "context", "task", "block")
    counts, exact = {}, {}
    for m in names:
        x = pl.col(m)
        counts[f"n {m}"] = x.count().cast(pl.Float64)
        exact[f"y {m}"] = x
        if not brief or m == "cost_usd":
            exact[f"yy {m}"] = x * x
        if scored and not brief:
            exact[f"lost {m}"] = (1 - pl.col("score")) * x
    of_score = {"n score": pl.col("n"), "y score": pl.col("y"), "yy score": pl.col("yy")}
    of_score |= {"lost score": pl.col("n") - pl.col("y")} if scored else {}
    if whole:
        counts |= {name: value.sum() for name, value in of_score.items()}
    else:
        exact |= of_score
    wide = grouped(frames, keys, counts, exact, ray)
    absent = [f"{s} {m}" for m in (*names, PRIMARY) for s in ("yy", "lost") if f"{s} {m}" not in wide.columns]
    wide = wide.with_columns(pl.lit(float("nan")).alias(name) for name in absent)
    long = [
        wide.select(
            *keys, pl.lit(m).alias("measure"), *(pl.col(f"{s} {m}").alias(s) for s in ("n", "y", "yy", "lost"))
        ).filter(pl.col("n") > 0)
        for m in (*names, PRIMARY)
    ]
    return pl.concat(long)


def measure_histograms(frames: list[pl.LazyFrame], ray: str | None = None) -> pl.DataFrame:
    """The table `histograms` of what `measured` gives."""
    keys = ("model", "regime", "context", "block")
    columns = frames[0].collect_schema().names()
    counted = []
    for m in QUANTILES:
        if m in columns:
            taken = [  # a refund has no place on a scale of logarithms
                frame.filter(pl.col(m) >= 0).with_columns(bin=bin_expression(pl.col(m))) for frame in frames
            ]
            table = grouped(taken, (*keys, "bin"), {"n": pl.len().cast(pl.Float64)}, {}, ray)
            counted.append(table.select(*keys, pl.lit(m).alias("measure"), "bin", "n"))
    return pl.concat(counted) if counted else pl.DataFrame()
