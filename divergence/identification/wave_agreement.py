"""Did the instrument move between waves, or did single contexts?

A wave in which everything moves alike is a change of the test set or the grader. One in which some contexts move and the
others stay is a change of these contexts. Every arm (model, regime, context) that was measured in two waves is predicted in
the second from the first with the shift that the arms have in common, their weighted median on the link scale: an arm that
misses its prediction by `CLEAR` standard errors changed by itself. The instrument's shift is then that of the others, as
long as they are more than half; else no shift is common. Plain counts, no fit.
"""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np

from divergence.cells import Cells, Table
from divergence.identification.arm_counts import ArmCounts, arm_counts
from divergence.numerics import combinations, expit, logit

CLEAR = 4.0  # standard errors: of a thousand arms that moved with the others, .06 are called changed
WAVES_MAX = 12  # beyond, waves are compared with their neighbours only: the pairs of all would be many


@dataclasses.dataclass(frozen=True, eq=False)
class WaveAgreement:
    """Which arms moved by themselves between waves; arms in the order of `ArmCounts`."""

    changed: np.ndarray
    """Did the arm change by itself? Shape (A,)."""
    measured: np.ndarray
    """Was it measured in two waves? Shape (A,)."""
    change: np.ndarray
    """Its change beyond the common shift where that is largest, outcome scale, shape (A,); 0 where it was not looked at."""

    @property
    def common(self) -> bool:
        """Do more than half of the arms that tell move together?"""
        return bool(2 * (self.changed & self.measured).sum() < self.measured.sum()) or not self.changed.any()


def wave_agreement(cells: Cells) -> WaveAgreement:
    """How the arms of a log agree on what its waves did."""
    counts = cells.counts.take(cells.counts["n"] > 0)
    keys, arm = combinations(counts["model"], counts["regime"], counts["context"])
    waves, wave = np.unique(counts["wave"], return_inverse=True)
    arms = keys.shape[1]
    changed, change, measured = np.zeros(arms, bool), np.zeros(arms), np.zeros(arms, bool)
    if cells.kind == "positive" or len(waves) < 2:
        return WaveAgreement(changed, measured, change)
    rate, error = _rates(counts, arm, wave.ravel(), (arms, len(waves)))
    error = error * _session_widening(arm_counts(cells))
    measured = np.isfinite(rate).sum(1) > 1
    worst = np.zeros(arms)
    pairs = (
        itertools.combinations(range(len(waves)), 2) if len(waves) <= WAVES_MAX else itertools.pairwise(range(len(waves)))
    )
    for one, other in pairs:
        both = np.flatnonzero(np.isfinite(rate[:, one]) & np.isfinite(rate[:, other]))
        if len(both) < 2:  # one arm alone cannot differ from the others
            continue
        for before, after in ((one, other), (other, one)):
            miss, noise = _missed(rate[both], error[both], before, after)
            far = np.abs(miss) / noise
            better = far > worst[both]
            worst[both[better]], change[both[better]] = far[better], miss[better]
    return WaveAgreement(worst > CLEAR, measured, change)


def _rates(counts: Table, arm: np.ndarray, wave: np.ndarray, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Rate of each arm in each wave and its standard error, half a success and half a failure added; NaN where none."""
    place = np.ravel_multi_index((arm, wave), shape)
    cells = shape[0] * shape[1]
    n, y = np.bincount(place, counts["n"], cells), np.bincount(place, counts["y"], cells)
    named = counts["item"] >= 0
    pairs, _ = combinations(place[named], counts["task"][named], counts["item"][named])
    items = np.bincount(pairs[0], minlength=cells) if pairs.shape[1] else np.zeros(cells)
    units = items + np.bincount(place[~named], counts["n"][~named], cells)  # trials of one item add little
    known = n > 0
    rate = np.where(known, y / np.where(known, n, 1.0), np.nan)
    rate = (rate * units + 0.5) / (units + 1)
    error = np.sqrt(rate * (1 - rate) / np.maximum(units, 1))
    return rate.reshape(shape), error.reshape(shape)


def _session_widening(arms: ArmCounts) -> float:
    """By how much sessions widen errors: of the middle arm, since what an arm did between waves widens its own, too."""
    known = arms.blocks > 1
    return float(np.sqrt(np.median(arms.session_effect[known]))) if known.any() else 1.0


def _missed(rate: np.ndarray, error: np.ndarray, before: int, after: int) -> tuple[np.ndarray, np.ndarray]:
    """By how much each arm misses its prediction, and the standard error of that; each shape (arms,)."""
    start, end = logit(rate[:, before]), logit(rate[:, after])
    slope = [rate[:, w] * (1 - rate[:, w]) for w in (before, after)]
    shift = _median(end - start, 1 / ((error[:, before] / slope[0]) ** 2 + (error[:, after] / slope[1]) ** 2))
    predicted = expit(start + shift)
    carried = predicted * (1 - predicted) / slope[0] * error[:, before]
    return rate[:, after] - predicted, np.sqrt(error[:, after] ** 2 + carried**2)


def _median(values: np.ndarray, weight: np.ndarray) -> float:
    """The weighted median."""
    order = np.argsort(values)
    reached = np.cumsum(weight[order])
    return float(values[order][np.searchsorted(reached, reached[-1] / 2)])
