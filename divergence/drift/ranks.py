"""Ranks within a chunk, and the normal scores made of them.

A structural statistic must not see a margin that moves, so it is a function of ranks inside the chunk. Tied values share
the middle of their ranks (counts, zero inflation); a missing value has no rank. Unit: normal scores (standard normal
quantiles of the mid-rank shares).
"""

from __future__ import annotations

import functools

import numpy as np
from scipy.special import ndtri


@functools.lru_cache(maxsize=64)
def _scores(rows: int) -> np.ndarray:
    """Normal score of every half rank of `rows` values, shape (2 rows - 1,): place 2r for the mid-rank r (from 0)."""
    return ndtri((np.arange(2 * rows - 1) / 2 + 0.5) / rows)


def mid_ranks(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Twice the mid-rank (from 0) of each value in its column, and the sorted columns; shape (rows, columns), no NaN.

    mid_ranks([[3.], [1.], [3.]])[0] = [[3], [0], [3]].
    """
    rows = len(values)
    order = np.argsort(values, axis=0)
    ordered = np.take_along_axis(values, order, axis=0)
    place = np.arange(rows)[:, None]
    tied = ordered[1:] == ordered[:-1]
    if tied.any():
        new = np.ones(values.shape, bool)
        new[1:] = ~tied
        first = np.maximum.accumulate(np.where(new, place, 0), axis=0)
        ends = np.ones(values.shape, bool)
        ends[:-1] = ~tied
        last = np.minimum.accumulate(np.where(ends, place, rows)[::-1], axis=0)[::-1]
        doubled = first + last
    else:
        doubled = np.broadcast_to(2 * place, values.shape)
    ranks = np.empty(values.shape, np.int64)
    np.put_along_axis(ranks, order, doubled, axis=0)
    return ranks, ordered


def normal_scores(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
    """Normal scores (0 where missing), upper shares of ranks (NaN where missing) and each column's sorted known values."""
    missing = np.isnan(values)
    if not missing.any():
        ranks, ordered = mid_ranks(values)
        rows = len(values)
        return _scores(rows)[ranks], (ranks / 2 + 0.5) / rows, list(ordered.T)
    scores, shares, known = np.zeros(values.shape), np.full(values.shape, np.nan), []
    for column in range(values.shape[1]):
        there = ~missing[:, column]
        ranks, ordered = mid_ranks(values[there, column][:, None])
        known.append(ordered[:, 0])
        if there.any():
            scores[there, column] = _scores(int(there.sum()))[ranks[:, 0]]
            shares[there, column] = (ranks[:, 0] / 2 + 0.5) / there.sum()
    return scores, shares, known
