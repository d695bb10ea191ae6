"""How far did the mean of paired differences move, whatever the scores are? One interval for flips, replicates and clusters.

A unit is an item, or a cluster of items, with the value u (its mean difference; for a cluster of unequal size linearised,
so that the mean of u is the mean over items). What the interval needs of the units are three sums:

    total = sum u,    absolute = sum |u|,    square = sum u^2

`moved = absolute^2 / square` is the effective number of units that moved, and `step = square / absolute` how far one moves.
With right and wrong answers and one run a side, `moved` is the number of flips and `step` is 1.

| where | interval |
|---|---|
| whole flips of items, or at most half of the units moved | Tango's score interval of `moved` flips, times `step` |
| more | mean +- t s / sqrt(units), Student's t on the effective number of units less one |

Where smaller moves were counted, the interval reaches at least -log(alpha) * design / items to each side: no whole flip
among n items does not exclude 3 in n.

The quantile of the score interval carries sqrt(1 + 1 / n), without which 30 items cover 93.0 % at the worst point of
the grid instead of 93.5 %. Measured coverage: `benchmarks/compare.md`.

Identification: two units or more, drawn at random from the source that the answer is about. Unit: that of the score.
Sources: Tango 1998 (`tango`); Kish 1965 for the effective number; Hanley and Lippman-Hand, JAMA 249 (1983) 1743 for the
rule of three; Carter, Schnepel and Steigerwald, Review of Economics and Statistics 99 (2017) 698 for effective clusters.
"""

from __future__ import annotations

import dataclasses
import math
import statistics

import numpy as np

from divergence.comparison import tango

MOVED_SHARE_MAX = 0.5  # above it counting moves no longer limits the interval, their spread does: Student's t
UNSEEN_ICC = 0.3  # correlation within a cluster that is assumed for moves too rare to show one: of questions on one passage


@dataclasses.dataclass(frozen=True, eq=False)
class Moves:
    """The sums of K groups of units; every field has shape (K,)."""

    items: np.ndarray
    """Items of the group."""
    units: np.ndarray
    """Units: items, or clusters of them."""
    effective: np.ndarray
    """Effective number of units: (sum of sizes)^2 / sum of squared sizes; `units` where all have one size."""
    total: np.ndarray
    """Sum of the units' values, in the unit of the score."""
    absolute: np.ndarray
    """Sum of their absolute values, in the unit of the score."""
    square: np.ndarray
    """Sum of their squares, in the unit of the score squared."""
    scale: float | None = 1.0
    """Largest difference that one item can show, in the unit of the score; None = no bound is known."""

    @property
    def estimate(self) -> np.ndarray:
        """Mean difference over items, AFTER - BEFORE, in the unit of the score."""
        return self.total / self.units

    @property
    def variance(self) -> np.ndarray:
        """Variance of the mean difference, in the unit of the score squared."""
        spread = np.maximum(self.square - self.total**2 / self.units, 0)
        return spread / (self.units * np.maximum(self.units - 1, 1e-12))

    @property
    def design(self) -> np.ndarray:
        """Items that one independent move stands for, at the correlation assumed for moves that were not seen; 1 = none."""
        return 1 + (np.maximum(self.items / self.effective, 1) - 1) * UNSEEN_ICC

    @property
    def moved(self) -> np.ndarray:
        """Effective number of units that moved."""
        return np.divide(self.absolute**2, self.square, out=np.zeros_like(self.square), where=self.square > 0)

    @property
    def step(self) -> np.ndarray:
        """How far a unit that moves moves, in the unit of the score; where none did, as far as it could."""
        unseen = np.broadcast_to(np.asarray((self.scale or 0.0) * self.design * self.units / self.items), self.square.shape)
        return np.divide(self.square, self.absolute, out=unseen.copy(), where=self.absolute > 0)

    def times(self, factors: np.ndarray) -> Moves:
        """As many times the units, with everything else as it is; for factors (K, P) every field has that shape."""
        grown = {f.name: getattr(self, f.name)[:, None] * factors for f in dataclasses.fields(self) if f.name != "scale"}
        return Moves(**grown, scale=self.scale)


def moves(
    differences: np.ndarray,
    group: np.ndarray | None = None,
    cluster: np.ndarray | None = None,
    scale: float | None = 1.0,
) -> Moves:
    """The sums of paired differences (n,), by whole numbers `group` (n,), with whole numbers `cluster` (n,) as units."""
    group = np.zeros(len(differences), np.int64) if group is None else group
    size = int(group.max()) + 1
    items = np.bincount(group, minlength=size).astype(float)
    if cluster is None:
        values, owner, effective = differences, group, items
    else:
        _, first, unit = np.unique(group * (int(cluster.max()) + 1) + cluster, return_index=True, return_inverse=True)
        owner, members = group[first], np.bincount(unit).astype(float)
        units = np.bincount(owner, minlength=size).astype(float)
        mean = np.bincount(group, differences, minlength=size) / items
        values = (np.bincount(unit, differences) - members * mean[owner]) * (units / items)[owner] + mean[owner]
        effective = items**2 / np.bincount(owner, members**2, minlength=size)
    return Moves(
        items=items,
        units=np.bincount(owner, minlength=size).astype(float),
        effective=effective,
        total=np.bincount(owner, values, minlength=size),
        absolute=np.bincount(owner, np.abs(values), minlength=size),
        square=np.bincount(owner, values**2, minlength=size),
        scale=scale,
    )


def limits(seen: Moves, confidence: float, widening: np.ndarray | float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper limit of every group, shape (K,); `widening` multiplies the quantile (repeated looks)."""
    alpha = 1 - confidence
    z = statistics.NormalDist().inv_cdf(1 - alpha / 2)
    counted = _counted(seen)
    down, up = _flips(seen)
    low, high = tango.limits(down, up, seen.units, z * _small_sample(seen) * widening)
    low, high = low * seen.step, high * seen.step
    if not counted.all():
        half = student(1 - alpha / 2, seen.effective - 1) * widening * np.sqrt(seen.variance)
        low = np.where(counted, low, seen.estimate - half)
        high = np.where(counted, high, seen.estimate + half)
    floor = -math.log(alpha) * np.asarray(widening) ** 2 * _unseen(seen)
    low, high = np.minimum(low, seen.estimate - floor), np.maximum(high, seen.estimate + floor)
    bound = math.inf if seen.scale is None else seen.scale
    return np.maximum(low, -bound), np.minimum(high, bound)


def p_value(seen: Moves, difference: float) -> np.ndarray:
    """Two-sided p-value of one difference for every group, shape (K,): the level whose interval ends there."""
    with np.errstate(divide="ignore", invalid="ignore"):
        scaled = np.clip(np.where(seen.step > 0, difference / seen.step, 0), -1, 1)
        score = np.abs(tango.statistic(*_flips(seen), seen.units, scaled)) / _small_sample(seen)
        p = np.array([2 * statistics.NormalDist().cdf(-min(float(s), 1e3)) for s in np.nan_to_num(score, posinf=1e3)])
        counted = _counted(seen)
        if not counted.all():
            ratio = np.abs(seen.estimate - difference) / np.sqrt(seen.variance)
            p = np.where(counted, p, 2 * _student_tail(np.nan_to_num(ratio, posinf=1e3), seen.effective - 1))
        floor = np.exp(-np.abs(seen.estimate - difference) / np.maximum(_unseen(seen), 1e-300))
    return np.minimum(np.maximum(p, floor), 1.0)


def student(probability: float, freedom: np.ndarray) -> np.ndarray:
    """Quantile of Student's t."""
    from scipy.special import stdtrit  # a sixth of a second, which right-or-wrong answers do without

    return stdtrit(np.maximum(freedom, 0.5), probability)


def _student_tail(ratio: np.ndarray, freedom: np.ndarray) -> np.ndarray:
    from scipy.special import stdtr

    return stdtr(np.maximum(freedom, 0.5), -ratio)


def _whole(seen: Moves) -> np.ndarray:
    """Are the units items whose moves are all whole flips? Then their number says everything."""
    return (seen.units == seen.items) & (seen.step >= (seen.scale or np.inf) * (1 - 1e-9))


def _counted(seen: Moves) -> np.ndarray:
    return _whole(seen) | (seen.moved <= MOVED_SHARE_MAX * seen.units)


def _flips(seen: Moves) -> tuple[np.ndarray, np.ndarray]:
    """The moved units as (fractional) counts of flips down and up."""
    net = np.divide(seen.total, seen.step, out=np.zeros_like(seen.total), where=seen.step > 0)
    return np.maximum(seen.moved - net, 0) / 2, np.maximum(seen.moved + net, 0) / 2


def _unseen(seen: Moves) -> np.ndarray:
    """How far one whole flip that was not seen would move the mean; 0 where whole flips were counted or most units moved."""
    return np.where(_whole(seen) | ~_counted(seen), 0.0, (seen.scale or 0.0) * seen.design / seen.items)


def _small_sample(seen: Moves) -> np.ndarray:
    return np.sqrt(1 + 1 / seen.effective)
