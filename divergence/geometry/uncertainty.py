"""How far off is a statistic of these sessions? Delete-one-block jackknife, turned into draws.

With blocks of m_j of n rows, h_j = n / m_j, and T_(j) the statistic without block j (Busing, Meijer and van der Leeden
1999):

    corrected  T_J = G T - sum_j (1 - m_j / n) T_(j)
    covariance     = 1/G sum_j (t_j - T_J)(t_j - T_J)' / (h_j - 1),   t_j = h_j T - (h_j - 1) T_(j)

Two independent samples: corrections add, covariances add. Draws are multivariate Student t with (blocks - 1) degrees of
freedom of the smaller sample, in +/- pairs, so that mean and median of the draws are the estimate itself. They are a
sampling distribution, not a posterior; the `method` of each Estimate says so.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from divergence.geometry.moments import Moments
from divergence.geometry.sums import Sums

DRAWS = 4000  # the limits of a 90 % interval to 3 % of a standard error
METHOD = "delete-one-block jackknife over sessions, Student t draws"


@dataclasses.dataclass(frozen=True)
class Jackknife:
    """A vector of R statistics with its first-order bias removed, and its covariance."""

    value: np.ndarray
    """The statistics of all rows, (R,)."""
    corrected: np.ndarray
    """The same without the jackknife's estimate of bias, (R,)."""
    covariance: np.ndarray
    """(R, R)."""
    blocks: int
    """Blocks of the smaller sample."""

    def draws(self, corrected: np.ndarray | bool, seed: int = 0, count: int = DRAWS) -> np.ndarray:
        """(count, R) draws around the corrected values where `corrected`, else around the plain ones."""
        centre = np.where(corrected, self.corrected, self.value)
        values, vectors = np.linalg.eigh(np.nan_to_num(self.covariance))
        root = vectors * np.sqrt(np.maximum(values, 0))
        generator = np.random.default_rng(seed)
        normal = generator.standard_normal((count // 2, len(centre))) @ root.T
        freedom = self.blocks - 1
        spread = normal / np.sqrt(generator.chisquare(freedom, (count // 2, 1)) / freedom)
        return np.concatenate([centre + spread, centre - spread])


def from_parts(value: np.ndarray, without: np.ndarray, sizes: np.ndarray) -> Jackknife:
    """The jackknife of statistics `value` (R,), `without` each block (G, R), blocks of `sizes` rows (G,)."""
    groups, share = len(sizes), sizes[:, None] / sizes.sum()
    h = 1 / share
    corrected = groups * value - ((1 - share) * without).sum(0)
    off = h * value - (h - 1) * without - corrected
    covariance = (off / (h - 1)).T @ off / groups
    return Jackknife(value, corrected, covariance, groups)


def jackknife(state: Moments, statistic: Callable[[Sums], np.ndarray]) -> Jackknife:
    """Jackknife of a statistic of pooled sums."""
    pooled = state.sums.pooled()
    blocks = [state.sums[j] for j in range(len(state.keys))]
    without = np.array([statistic(pooled - block) for block in blocks])
    return from_parts(statistic(pooled), without, state.sums.n)


@dataclasses.dataclass(frozen=True)
class TwoSample:
    """A statistic of two samples: what is made of each side once (its eigenvectors, say), and what of both."""

    first: Callable[[Sums], object]
    """Made of the sums of the first sample."""
    second: Callable[[Sums], object]
    """Made of the sums of the second sample."""
    both: Callable[[Any, Any], np.ndarray]
    """The R statistics of both."""

    def __call__(self, first: Sums, second: Sums) -> np.ndarray:
        return self.both(self.first(first), self.second(second))


def jackknife_of_two(first: Moments, second: Moments, statistic: TwoSample) -> Jackknife:
    """Jackknife of a statistic of two independent samples."""
    one, two = statistic.first(first.sums.pooled()), statistic.second(second.sums.pooled())
    left = jackknife(first, lambda sums: statistic.both(statistic.first(sums), two))
    right = jackknife(second, lambda sums: statistic.both(one, statistic.second(sums)))
    return Jackknife(
        left.value,
        left.corrected + right.corrected - left.value,
        left.covariance + right.covariance,
        min(left.blocks, right.blocks),
    )


def too_few_sessions(*states: Moments) -> str | None:
    """Why these states give no interval, or None."""
    fewest = min(len(state.keys) for state in states)
    if fewest >= 2:
        return None
    return "one session: an interval needs at least 2 independent sessions (or cluster=None, if rows are independent)"


def split_half(state: Moments, statistic: TwoSample, splits: int = 20) -> np.ndarray:
    """What a two-sample statistic shows where nothing differs: its mean over random halves of one sample's blocks.

    The halves have half the rows, so the floor is on the safe (high) side. NaN below 4 blocks. Fixed seed.
    """
    blocks = len(state.keys)
    pooled, generator = state.sums.pooled(), np.random.default_rng(0)
    if blocks < 4:
        return np.full_like(statistic(pooled, pooled), np.nan)
    values = []
    for _ in range(splits):
        half = state.sums[generator.permutation(blocks)[: blocks // 2]].pooled()
        values.append(statistic(half, pooled - half))
    return np.mean(values, axis=0)
