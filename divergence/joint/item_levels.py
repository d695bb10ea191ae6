"""Arm levels from an item-response model: for arms that have hardly any item in common.

    y_ai ~ Binomial(n_ai, expit(mu_a - b_i)),  b_i ~ N(0, sigma_b)        one `mu` per arm and task
    level_a = sum_i law_i E[ expit(mu_a - b_i) | data ]                   over ALL items of its regime, tried in it or not

An arm is thus judged on the same items as its neighbours, whichever it was tried on. Where every arm tried every item
equally often the score equations make `level_a` the plain mean. Its covariance is a compromise, `w` of the first:
- what the items show: each item's influence, `law_i (p_ai - level_a) + (d level_a / d theta) J^-1 score_i`, squared and
  summed. It holds whatever the model leaves out (copies, items that move with the context), but takes many items;
- what the model says, by the delta method for new items of the normal law. It needs few items, and to be right.
`w = I / (I + MODEL_ITEMS)` for I items. Replicates that are copies count as one: trials are divided by the design effect
of what replicates of one item have in common beyond the model, found by turns with the fit that it thins. Some contexts copy
(greedy decoding) where others draw anew: each arm's correlation is its own as far as arms differ by more than chance.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
from scipy.special import chdtri

from divergence.cells import Table
from divergence.errors import InputError
from divergence.joint.item_response import ItemSums, sums_for
from divergence.joint.methods import NEWTON_STEP_MAX, Diagnostic
from divergence.numerics import combinations

MODEL_ITEMS = 40.0  # items that the model's own covariance is worth: few items lean on it, many on themselves
RIDGE = 0.01  # prior precision of each mu around the log's mean, so that an arm without failures has a finite place
SCALE_RIDGE = 1.0  # prior precision of log sigma around 0: one arm with one trial an item says nothing of sigma
ROUNDS_MAX = 50
CLOSE = 1e-9
NEAR = 0.01  # twice the gain that a step promises, from which on the slope is believed and not the quadrature's likelihood
STEP_MAX = 1.5  # of a Newton step, logit scale
SMALLEST = 1e-3  # share of it that is still tried
ITEM_ARMS_MAX = 512  # the covariance of the levels is a matrix, and a hundred of them a fit take minutes
ALIKE = 0.01  # change of the correlation of replicates that ends its search: it falls from 1 to where what it says is seen
CHANCE = 0.05  # of arms that seem to copy unlike each other where they copy alike
CELLS_MAX = 2_000_000  # items x arms of the dense kernel: about 1.5 GB of nodes


@dataclasses.dataclass(frozen=True)
class RawLevels:
    """Levels of raw arms and their covariance."""

    level: np.ndarray
    """Shape (R,)."""
    covariance: np.ndarray
    """For new items, shape (R, R)."""
    sigma: float
    """Standard deviation of item difficulties, logit scale."""
    copies: float
    """Correlation of replicates beyond the model, 0..1: 1 = copies."""
    answers: np.ndarray
    """Answers that an item of each raw arm has, copies counted once, shape (R,)."""
    step: float
    """Last step of the search for the parameters, logit scale: near 0, or it did not end."""

    @property
    def gate(self) -> Diagnostic:
        """Did the search end, or at its `ROUNDS_MAX`?"""
        passed = bool(self.step < NEWTON_STEP_MAX)
        meaning = "the search for levels and difficulties of items did not end: levels may be off"
        return Diagnostic("Newton step of item levels", self.step, NEWTON_STEP_MAX, passed, meaning)


def item_levels(
    counts: Table,
    raw: np.ndarray,
    weight: np.ndarray,
    regime: np.ndarray,
    movement: bool = True,
    replayed: bool = False,
) -> RawLevels:
    """Levels of the raw arms; `raw`, `weight` as in `clusters.item_influence`, `regime` (R,) of each raw arm.

    Without `movement` the model is taken at its word: items do not move beyond it, `w = 0`. Where the traffic has `replayed`
    the bench its levels are those on the bench's items, whichever of them it tried.
    """
    if (counts["item"] < 0).any():
        raise InputError(
            "the item-level method needs the item of every row; some rows of this log stand for many items or "
            "name none: use Importance(), which takes both"
        )
    if ((counts["y"] < 0) | (counts["y"] > counts["n"])).any() or not np.array_equal(counts["y"], np.round(counts["y"])):
        raise InputError("the item-level method counts successes; this outcome is not 0 or 1: use Importance()")
    if len(regime) > ITEM_ARMS_MAX:
        raise InputError(
            f"the item-level method takes at most {ITEM_ARMS_MAX} combinations of model, regime, context and wave, and "
            f"this log has {len(regime)}: use Importance(), which takes them, or keep fewer with --where"
        )
    (arm, arm_task), column = combinations(raw, counts["task"])
    (item_task, _), row = combinations(counts["task"], counts["item"])
    shape = (len(item_task), len(arm))
    if shape[0] * shape[1] > CELLS_MAX:
        raise InputError(
            f"the item-level method holds items x arms at once: {shape[0]} x {shape[1]} are more than "
            f"{CELLS_MAX}; use Importance()"
        )
    n, y = np.zeros(shape), np.zeros(shape)
    np.add.at(n, (row, column), counts["n"])
    np.add.at(y, (row, column), counts["y"])
    law = _law(weight, row, regime[raw], regime[arm], item_task[:, None] == arm_task, replayed)
    once = np.maximum(n, 1.0)  # as if replicates were copies
    sum_items, compiled = sums_for(n.size)
    with compiled:
        mu, log_sigma, sums, step = _solve(sum_items, n / once, y / once, law)
        thinned, copies = once, 1.0
        while (n > 1).any():
            last, (copies, of_arm) = copies, _copies(n, y, sums)
            thinned = 1 + np.maximum(n - 1, 0.0) * of_arm  # design effect of replicates
            mu, log_sigma, sums, step = _solve(sum_items, n / thinned, y / thinned, law, (mu, log_sigma))
            if last - copies < ALIKE:
                break
    level = (law * sums.probability).sum(0)
    precision = sums.information + _ridge(len(arm))
    centred = law * (sums.probability - level)
    influence = centred + sums.score @ np.linalg.solve(precision, sums.slope.T)
    seen = len(item_task) / max(len(item_task) - 1, 1) * influence.T @ influence
    delta = _normal_slope(mu, log_sigma)
    told = delta @ np.linalg.solve(precision, delta.T)
    trust = len(item_task) / (len(item_task) + MODEL_ITEMS) if movement else 0.0
    mix = np.zeros((raw.max() + 1, len(arm)))
    mix[arm, np.arange(len(arm))] = np.bincount(column, weight, len(arm))  # the task's share of the raw arm's level
    covariance = mix @ (trust * seen + (1 - trust) * told) @ mix.T
    level, answers = mix @ level, mix @ _each(n / thinned)
    return RawLevels(level, covariance, float(np.exp(log_sigma)), copies, answers, step)


def _each(answers: np.ndarray) -> np.ndarray:
    """Mean of the answers (I, A) over the items that have any, shape (A,)."""
    return answers.sum(0) / np.maximum((answers > 0).sum(0), 1)


def _law(
    weight: np.ndarray,
    row: np.ndarray,
    regime_of_row: np.ndarray,
    regime: np.ndarray,
    same: np.ndarray,
    replayed: bool = False,
) -> np.ndarray:
    """Weight of each item in each arm's level, shape (I, A), summing to one over the items of its task and regime; where the
    traffic has `replayed` the bench over those of the bench, in tasks that it has."""
    mass = np.stack([np.bincount(row, weight * (regime_of_row == r), same.shape[0]) for r in (0, 1)], 1)
    law = np.where(same, mass[:, regime.astype(int)], 0.0)
    if replayed:
        of_bench = np.where(same, mass[:, :1], 0.0)
        law = np.where(of_bench.any(0), of_bench, law)
    return law / law.sum(0)


def _ridge(arms: int) -> np.ndarray:
    return np.diag(np.r_[np.full(arms, RIDGE), SCALE_RIDGE])


def _solve(
    sum_items: Callable[..., ItemSums], n: np.ndarray, y: np.ndarray, law: np.ndarray, start: tuple | None = None
) -> tuple[np.ndarray, float, ItemSums, float]:
    """Penalised maximum of the likelihood by Newton steps: mu (A,), log sigma, the sums there, and the last step, 0 where
    none leads uphill."""
    arms = n.shape[1]
    share = np.clip(y.sum() / n.sum(), 0.01, 0.99)
    centre = np.r_[np.full(arms, np.log(share / (1 - share))), 0.0]
    theta = centre.copy() if start is None else np.r_[start]
    ridge, trust, last, step = _ridge(arms), 1e-3, -np.inf, np.inf
    sums = sum_items(theta[:-1], theta[-1], n, y, law)
    for _ in range(ROUNDS_MAX):
        values, vectors = np.linalg.eigh(sums.information + ridge)
        values = np.maximum(np.abs(values), trust)
        slope = sums.score.sum(0) - ridge @ (theta - centre)
        move = vectors @ ((vectors.T @ slope) / values)
        move *= min(1.0, STEP_MAX / max(np.abs(move).max(), 1e-300))  # where the curvature all but vanishes it has no end
        last = sums.log_likelihood - 0.5 * (theta - centre) @ ridge @ (theta - centre)
        size = 1.0
        while True:
            fresh = theta + size * move
            tried = sum_items(fresh[:-1], fresh[-1], n, y, law)
            value = tried.log_likelihood - 0.5 * (fresh - centre) @ ridge @ (fresh - centre)
            if value >= last - 1e-9 * abs(last) or slope @ move < NEAR or size < SMALLEST:
                break
            size /= 2
        if size < SMALLEST:  # no step is uphill: the slope is as near to nothing as the quadrature can tell
            step = 0.0
            break
        theta, sums, step = fresh, tried, float(np.abs(size * move).max())
        if step < CLOSE:
            break
    return theta[:-1], float(theta[-1]), sums, step


def _copies(n: np.ndarray, y: np.ndarray, sums: ItemSums) -> tuple[float, np.ndarray]:
    """How much less replicates of one item differ than the model says, 0 (as it says) to 1 (never): over all arms, and in
    each (A,), drawn to that by how much more arms differ than by chance (moments, as DerSimonian and Laird 1986)."""
    twice = n > 1
    inside = np.where(twice, y * (n - y) / np.maximum(n * (n - 1), 1), 0.0)
    told = np.where(twice, sums.noise, 0.0)
    each, total = told.sum(0), told.sum()
    common = 1 - inside.sum() / total
    of_arm, judged = np.full(n.shape[1], common), each > 0
    error = np.square(inside - (1 - common) * told).sum() / total  # how much one arm's errs, times what the model says in it
    if judged.sum() > 1 and error > 0:
        own, weight = 1 - inside.sum(0)[judged] / each[judged], each[judged] / error
        room = weight.sum() - np.square(weight).sum() / weight.sum()
        beyond = weight @ (own - common) ** 2 - chdtri(len(own) - 1, CHANCE)
        between = max(float(beyond) / room, 0.0)
        of_arm[judged] += between / (between + 1 / weight) * (own - common)
    return float(np.clip(common, 0.0, 1.0)), np.clip(of_arm, 0.0, 1.0)


def _normal_slope(mu: np.ndarray, log_sigma: float) -> np.ndarray:
    """Derivative of E expit(mu_a - sigma z) by (mu, log sigma), shape (A, A + 1)."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(41)
    lever = -np.exp(log_sigma) * nodes
    p = 1 / (1 + np.exp(-(mu[:, None] + lever)))
    slope = p * (1 - p) * weights / weights.sum()
    return np.concatenate([np.diag(slope.sum(1)), (slope @ lever)[:, None]], 1)
