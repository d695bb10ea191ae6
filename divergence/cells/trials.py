"""Trials behind a row: how many an execution stands for, their sum, and the sum of their squares."""

from __future__ import annotations

import polars as pl

from divergence.executions import Executions


def trial_sums(log: Executions) -> list[pl.Expr]:
    """Columns `n` (0 where the row is not judged), `y` and `yy` of the log's outcome, float64."""
    value = pl.col("outcome").cast(pl.Float64)
    judged = value.is_not_null()
    trials = pl.col("score_n").fill_null(1) if log.outcome == "score" else pl.lit(1)
    trials = pl.when(judged).then(trials).otherwise(0).cast(pl.Float64)
    total = pl.when(judged).then(value).otherwise(0.0) * trials
    counted = trials > 1
    if log.kind == "binary" or log.kind == "proportion":  # published rates are rounded: counts are whole
        total = pl.when(counted).then(total.round()).otherwise(total)
    squares = pl.when(counted).then(total).otherwise(total * pl.when(judged).then(value).otherwise(0.0))
    return [trials.alias("n"), total.alias("y"), squares.alias("yy")]
