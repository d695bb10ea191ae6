"""Histograms with logarithmic bins: mergeable, exact counts, quantiles of any law with a stated error.

A bin is the exponent and the first four bits of the fraction of the number itself: every octave [2^k, 2^(k+1)) is cut
into 16 steps of equal width (the layout of HdrHistogram), 0 has a bin of its own, bin 0 starts at 1. The edges are exact
in binary, so the same value falls into the same bin on every machine.

Quantile of a histogram: the mass of a bin is spread evenly over its width, and the inverse of that distribution
function is taken. Its error against the quantile of the values themselves is below one bin's width, which is at most
1/16 of the value (`RELATIVE_ERROR`). Latencies are mixtures (queues, caches, retries), which is why no law is fitted.
Unit: that of the measure. Source of the sampling error: the block bootstrap of `blocks`.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import polars as pl

from divergence.cells.cells import Cells
from divergence.cells.random_blocks import BLOCKS, block_numbers, metered, rows_of

STEPS = 16  # bins an octave: finer ones move a p95 by less than its sampling error at 1e5 rows, and cost memory
RELATIVE_ERROR = 1 / STEPS
SHIFT = 52 - 4  # bits of the fraction of a float64 that a bin does not look at
ONE = 1023 << 4  # the first 16 bits of 1.0, sign included
ZERO = -ONE
"""The bin of 0."""


def bin_numbers(values: np.ndarray) -> np.ndarray:
    """The bin of each value, which must be finite and not negative."""
    return ((np.asarray(values, np.float64) + 0.0).view(np.int64) >> SHIFT) - ONE


def bin_expression(value: pl.Expr) -> pl.Expr:
    """The same for a column of float64."""
    return (value + 0.0).reinterpret(dtype=pl.Int64) // (1 << SHIFT) - ONE


def edges(bins: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper limit of bins by number, in the unit of the measure; both 0 for the bin of 0."""
    bins = np.asarray(bins, np.int64)
    lower, upper = (((bins + ONE + step) << SHIFT).view(np.float64) for step in (0, 1))
    return lower, np.where(bins == ZERO, 0.0, upper)


def histogram(cells: Cells, measure: str, regime: str) -> tuple[np.ndarray, np.ndarray]:
    """Bin numbers in ascending order, shape (bins,), and counts by block, shape (blocks, models, contexts, bins).

    Models and contexts are in the order of `cells.levels`. No bins where the log does not have the measure.
    """
    table = rows_of(cells, cells.histograms, measure, regime)
    if measure == "cost_usd":
        table = metered(cells, table)
    shape = (BLOCKS, len(cells.levels["model"]), len(cells.levels["context"]))
    number = np.array([int(name) for name in cells.levels["bin"]], np.int64)[table["bin"]]
    bins, place = np.unique(number, return_inverse=True)
    shape = (*shape, len(bins))
    where = np.ravel_multi_index((block_numbers(cells)[table["block"]], table["model"], table["context"], place), shape)
    return bins, np.bincount(where, table["n"], int(np.prod(shape))).reshape(shape)


def quantile(bins: np.ndarray, counts: np.ndarray, share: float) -> np.ndarray:
    """The `share` quantile of each histogram; `counts` of shape (..., bins) in ascending order of bins, weights allowed.

    NaN where a histogram is empty.

    >>> bins = bin_numbers(np.array([1.0, 2.0]))
    >>> float(quantile(bins, np.array([3.0, 1.0]), 0.5).round(4))
    1.0417
    """
    return quantiles(bins, counts, (share,))[0]


def quantiles(bins: np.ndarray, counts: np.ndarray, shares: Collection[float]) -> list[np.ndarray]:
    """The same for several shares of the same histograms."""
    counts = np.asarray(counts, float)
    for share in shares:
        if not 0 <= share <= 1:
            raise ValueError(f"a quantile's share lies between 0 and 1, not {share}")
    if not counts.shape[-1]:
        return [np.full(counts.shape[:-1], np.nan) for _ in shares]
    total = counts.cumsum(-1)
    return [_reached(bins, counts, total, share) for share in shares]


def _reached(bins: np.ndarray, counts: np.ndarray, total: np.ndarray, share: float) -> np.ndarray:
    """Where the sums `total` of counts reach that share, (...)."""
    goal = share * total[..., -1:]
    # The first bin that reaches the goal and holds something: a goal of 0 is the lower edge of the first filled bin.
    reached = (total >= goal) & (counts > 0)
    place = reached.argmax(-1)[..., None]
    inside = np.take_along_axis(counts, place, -1)[..., 0]
    before = np.take_along_axis(total, place, -1)[..., 0] - inside
    lower, upper = edges(np.asarray(bins)[place[..., 0]])
    with np.errstate(invalid="ignore", divide="ignore"):
        part = np.clip((goal[..., 0] - before) / inside, 0.0, 1.0)
    return np.where(total[..., -1] > 0, lower + part * (upper - lower), np.nan)
