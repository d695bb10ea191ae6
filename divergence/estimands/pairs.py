"""Which pairs of models are listed one by one, and what is said of all of them where they are too many for that.

A log of M models has M (M - 1) / 2 pairs. Up to `LISTED_MAX` models each pair is a row. Of more models the rows are the
pairs of the best on the bench, where orders are open. What concerns all pairs is a sum over them that needs no list (of
signs from ranks, of variances from two sums), or the mean over a random `SAMPLED` of them, whose error is below .4 points.
Source: Knight 1966 (Kendall's tau by merging).
"""

from __future__ import annotations

import dataclasses

import numpy as np

from divergence.numerics import rankdata
from divergence.random_streams import stream

LISTED_MAX = 64  # models whose pairs are listed: 2,016 rows; of 1,555 models it would be 1,208,235
SAMPLED = 50_000
BLOCK = 2_000  # pairs whose draws are held at once


@dataclasses.dataclass(frozen=True)
class Pairs:
    """The listed pairs, in the order of the models."""

    first: np.ndarray
    """Indices of the first models, shape (pairs,)."""
    second: np.ndarray
    """Of the second ones."""
    total: int
    """Pairs of all models."""

    @property
    def note(self) -> str:
        """Which ones are listed, as a subordinate clause; '' where all are."""
        if self.total == len(self.first):
            return ""
        return f" (listed: {len(self.first):,} of {self.total:,} pairs, of {LISTED_MAX} models by their mean on the bench)"


def listed(bench: np.ndarray, smaller: bool = False) -> Pairs:
    """The pairs that are listed of models with these bench levels (S, models); `smaller`: is a smaller level better?"""
    models = bench.shape[1]
    mean = bench.mean(0) * (1 if smaller else -1)
    kept = np.arange(models) if models <= LISTED_MAX else np.sort(np.argsort(mean, kind="stable")[:LISTED_MAX])
    i, j = np.triu_indices(len(kept), 1)
    return Pairs(kept[i], kept[j], models * (models - 1) // 2)


def sampled(models: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices of `SAMPLED` random pairs of different models."""
    rng = stream(seed, "pairs of models")
    first = rng.integers(0, models, SAMPLED)
    return first, (first + rng.integers(1, models, SAMPLED)) % models


def signs_agree(bench: np.ndarray, deployed: np.ndarray) -> np.ndarray:
    """Sum over pairs of `sign(B_m - B_n) sign(D_m - D_n)` in every draw, shape (S,), of levels (S, models).

    Of many models by sorting: with places r of the deployed levels, in the order of the bench, pairs in order minus pairs
    out of it are counted by halves (merge sort): M log M, not M squared, but draw by draw.
    """
    out = np.zeros(len(bench))
    if bench.shape[1] <= LISTED_MAX:
        for m in range(bench.shape[1] - 1):
            out += (np.sign(bench[:, [m]] - bench[:, m + 1 :]) * np.sign(deployed[:, [m]] - deployed[:, m + 1 :])).sum(1)
        return out
    for s, (b, d) in enumerate(zip(bench, deployed, strict=True)):
        out[s] = _concordance(b, d)
    return out


def _concordance(bench: np.ndarray, deployed: np.ndarray) -> float:
    order = np.lexsort([deployed, bench])
    b, d = bench[order], rankdata(deployed[order], method="dense").astype(np.int64)
    total = len(b) * (len(b) - 1) // 2
    ties_b, ties_d = _ties(np.cumsum(np.r_[0, np.diff(b) != 0])), _ties(d)
    both = _ties(np.cumsum(np.r_[0, (np.diff(b) != 0) | (np.diff(d) != 0)]))
    swaps = _inversions(d)  # pairs tied on the bench are in order here, and no inversion
    return float(total - ties_b - ties_d + both - 2 * swaps)


def _ties(code: np.ndarray) -> int:
    count = np.bincount(code)
    return int((count * (count - 1) // 2).sum())


def _inversions(values: np.ndarray) -> int:
    """Pairs in which the later value is the smaller one, by merging sorted stretches of growing length."""
    size = 1 << max(len(values) - 1, 1).bit_length()
    top = int(values.max()) + 1
    padded = np.r_[values, np.full(size - len(values), top)].astype(np.int64)
    count, width = 0, 1
    while width < size:
        rows = padded.reshape(-1, 2 * width)
        key = rows + np.arange(len(rows))[:, None] * (top + 1)
        left, right = key[:, :width].ravel(), key[:, width:].ravel()
        # of each right value: left values of its own stretch that are larger
        below = np.searchsorted(left, right, side="right") - np.repeat(np.arange(len(rows)) * width, width)
        count += int((width - below).sum())
        padded, width = np.sort(rows, axis=1).ravel(), 2 * width
    return count
