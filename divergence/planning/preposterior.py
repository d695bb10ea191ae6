"""How narrow would intervals be, and how much would a choice still lose, after measuring this? Before anything is measured.

    y = H theta + e,    e ~ N(0, V),    theta ~ N(m, C) with m and C those of the posterior's draws
    C' = C - C H' (H C H' + V)^-1 H C                                  (what is left, whatever comes)
    V_ab = between_ab / max(n_a, n_b),    V_aa = (between_aa + replicate_a / T_a + session_a) / n_a

for n_a new items of T_a trials each at place a; all places ask the same new items from the first on, so that they share
their luck. T more trials of a place's own I items measure its level on these items, V = replicate / (I T); where replicates
are copies that level is known already, and nothing is bought. The width of a number q = B theta + rest is then

    width' = width sqrt((B C' B' + rest) / (B C B' + rest)),

and the expected regret of a choice is taken over draws of theta and e jointly: who chooses by the new means `m + K (y - H
m)` loses `max theta - theta[chosen]` (Gaussian approximation on draws: Jalal and Alarid-Escudero 2018). The noise of
measurement is that of `variance_parts`; its own error makes the limits of a predicted width.

Identification: that of the goal; levels are taken as normal on the outcome scale. Unit: that of the goal.
"""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
from scipy.special import ndtr

from divergence.estimate import INTERVAL
from divergence.numerics import NORMAL_95, nearest_psd
from divergence.planning.goals import Goal
from divergence.planning.knowledge import Knowledge
from divergence.random_streams import stream

OUTER, INNER = 48, 400  # draws of what may come, and of what is then left, for numbers that are no line in the levels
# Sd of the log of a realised width that no formula here gives: quantiles of 2,000 draws twice (.025 each) and standard
# deviations that the new rows move. Measured in simulated worlds (benchmarks/plan.md).
WIDTH_LOG_SD = 0.08


@dataclasses.dataclass(frozen=True, eq=False)
class Design:
    """What is bought at each of K places."""

    items: np.ndarray
    """New items, shape (K,)."""
    trials: np.ndarray
    """Trials of each of them, shape (K,)."""
    again: np.ndarray
    """Further trials of all of the place's own items, shape (K,)."""

    @classmethod
    def nothing(cls, places: int) -> Design:
        """No purchase."""
        return cls(np.zeros(places), np.ones(places), np.zeros(places))

    def requests(self, known: Knowledge) -> np.ndarray:
        """Requests by place, shape (K,)."""
        return self.items * self.trials + self.again * known.items

    def cost(self, known: Knowledge, unit: str) -> float:
        """What it costs, in `unit`; NaN where a cost is not known."""
        number = self.requests(known)
        return float((number[number > 0] * known.cost[unit][number > 0]).sum())

    def more(self, place: np.ndarray | int, items: float = 0.0, trials: float = 0.0, again: float = 0.0) -> Design:
        """The same with more at one place (or several)."""
        out = Design(self.items.copy(), self.trials.copy(), self.again.copy())
        out.items[place] += items
        out.trials[place] += trials
        out.again[place] += again
        return out


@dataclasses.dataclass(frozen=True, eq=False)
class Preposterior:
    """Values designs for one goal."""

    known: Knowledge
    """What is known now."""
    goal: Goal
    """What is to be known better."""
    seed: int = 0
    """Of the noise that regret is averaged over."""

    @functools.cached_property
    def covariance(self) -> np.ndarray:
        """C, shape (D, D)."""
        return np.atleast_2d(np.cov(self.known.draws, rowvar=False))

    @functools.cached_property
    def _carried(self) -> np.ndarray:
        """B C, shape (R, D)."""
        return self.goal.weights @ self.covariance

    @functools.cached_property
    def variance(self) -> np.ndarray:
        """B C B' of each number now, shape (R,)."""
        return np.einsum("rd,rd->r", self._carried, self.goal.weights)

    def noise(self, design: Design) -> tuple[np.ndarray, np.ndarray]:
        """Columns of theta that are measured, and the covariance of their errors."""
        known, fresh = self.known, np.flatnonzero(design.items > 0)
        n = design.items[fresh]
        new = known.between[np.ix_(fresh, fresh)] / np.maximum(n[:, None], n)
        own = (known.replicate[fresh] / design.trials[fresh] + known.session[fresh]) / n
        new[np.diag_indices(len(fresh))] += own
        once_more = np.flatnonzero((design.again > 0) & (known.again >= 0))
        old = known.replicate[once_more] / np.maximum(known.items[once_more] * design.again[once_more], 1e-12)
        measured = np.concatenate([fresh, known.again[once_more]])
        whole = np.zeros((len(measured), len(measured)))
        whole[: len(fresh), : len(fresh)] = new
        whole[range(len(fresh), len(measured)), range(len(fresh), len(measured))] = old
        return measured, whole

    def left(self, design: Design) -> np.ndarray:
        """B C' B' of each number after the design, shape (R,)."""
        measured, noise = self.noise(design)
        if not len(measured):
            return self.variance
        total = self.covariance[np.ix_(measured, measured)] + noise
        side = self._carried[:, measured]
        ridge = 1e-12 * np.trace(total) / len(total)
        gained = np.einsum("rk,kr->r", side, np.linalg.solve(total + ridge * np.eye(len(total)), side.T))
        return np.clip(self.variance - gained, 0.0, self.variance)

    def objective(self, left: np.ndarray) -> float:
        """What a design is chosen by: the mean width, or what a choice among these leads would lose if it stayed."""
        goal, variance = self.goal, left + self.goal.rest
        if goal.kind == "width":
            now = np.maximum(self.variance + goal.rest, 1e-300)
            return float((goal.width * np.sqrt(variance / now)).mean())
        sd = np.sqrt(np.maximum(variance, 1e-300))
        z = np.abs(goal.lead) / sd
        if goal.kind == "order":
            return float(ndtr(-z).mean())
        return float((sd * (np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi) - z * ndtr(-z))).sum())

    def width(self, design: Design) -> float:
        """Mean width of the goal's 90 % intervals after the design; of a decision, of the lead over the runner-up."""
        if self.goal.function is not None:
            return self._function_width(design)
        now = np.maximum(self.variance + self.goal.rest, 1e-300)
        after = self.goal.width * np.sqrt((self.left(design) + self.goal.rest) / now)
        return float(after[0] if self.goal.kind == "decision" else after.mean())

    def width_limits(self, design: Design) -> tuple[float, float]:
        """Limits that hold the width of a later fit in 90 % of cases: noise of the noise, of quantiles, of the refit."""
        measured, _ = self.noise(design)
        used = measured[measured < len(self.known.places)]
        arms = self.known.arm[used]
        errors = self.known.parts.error[arms[arms >= 0]]
        of_noise = 0.5 * float(np.sqrt(np.mean(errors**2))) if len(errors) else 0.0
        reach = NORMAL_95 * np.hypot(of_noise, WIDTH_LOG_SD)
        middle = self.width(design)
        return middle * float(np.exp(-reach)), middle * float(np.exp(reach))

    def regret(self, design: Design) -> float | None:
        """Expected loss of the choice after the design; of `order` the chance to tell a pair wrongly; None for widths.

        Never more than now: who may ignore what came loses nothing by it, and an average over draws that says so is chance.
        """
        return None if self.goal.kind == "width" else min(self._lost(design), self._lost_now)

    @functools.cached_property
    def _lost_now(self) -> float:
        return self._lost(Design.nothing(len(self.known.places)))

    def _lost(self, design: Design) -> float:
        theta = self.known.draws
        if self.goal.kind == "decision":
            level = self._expected(design, self.goal.candidates)
            rows = np.arange(len(theta))
            true = theta[:, self.goal.candidates]
            return float((true.max(1) - true[rows, level.argmax(1)]).mean())
        lead = theta @ self.goal.weights.T
        told = self._expected_numbers(design)
        half = lead.shape[1] // 2
        wrong = np.sign(lead[:, :half] * lead[:, half:]) != np.sign(told[:, :half] * told[:, half:])
        return float(wrong.mean())

    def expected_best(self, design: Design) -> float:
        """Expected level of the chosen combination after the design, by which a new competitor is valued."""
        level = self._expected(design, self.goal.candidates)
        true = self.known.draws[:, self.goal.candidates]
        return float(true[np.arange(len(true)), level.argmax(1)].mean())

    def _gain(self, design: Design) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
        """Measured columns, K' (measured, D), and what came minus what was expected, (S, measured)."""
        measured, noise = self.noise(design)
        if not len(measured):
            return None
        total = self.covariance[np.ix_(measured, measured)] + noise
        total[np.diag_indices(len(total))] += 1e-12 * np.trace(total) / len(total)
        kept = np.linalg.solve(total, self.covariance[measured])
        root = np.linalg.cholesky(nearest_psd(noise, 1e-12) + 1e-15 * np.eye(len(noise)))
        theta = self.known.draws
        unit = stream(self.seed, "noise of measurements").standard_normal((theta.shape[1], len(theta))).T[:, measured]
        came = theta[:, measured] - theta[:, measured].mean(0) + unit @ root.T
        return measured, kept, came

    def _expected(self, design: Design, places: np.ndarray) -> np.ndarray:
        """Posterior means of places' levels, in the draws of what may come, (S, places)."""
        mean, found = self.known.draws.mean(0)[places], self._gain(design)
        if found is None:
            return np.repeat(mean[None], len(self.known.draws), 0)
        return mean + found[2] @ found[1][:, places]

    def _expected_numbers(self, design: Design) -> np.ndarray:
        """The same of the goal's numbers, (S, R)."""
        found = self._gain(design)
        if found is None:
            return np.repeat(self.goal.lead[None], len(self.known.draws), 0)
        return self.goal.lead + found[2] @ (found[1] @ self.goal.weights.T)

    def _function_width(self, design: Design) -> float:
        """Mean width of numbers that are no line: over draws of what may come, from levels drawn together towards it."""
        function, places = self.goal.function, len(self.known.places)
        assert function is not None
        found = self._gain(design)
        if found is None:
            return float(self.goal.width.mean())
        measured, kept, came = found
        now = self.covariance[:places, :places]
        left = now - self.covariance[:places, measured] @ kept[:, :places]
        ridge = 1e-10 * np.trace(now) / places
        shrink = _root(left, ridge) @ np.linalg.inv(_root(now, ridge))
        mean = self.known.draws[:, :places].mean(0)
        each = (self.known.draws[:INNER, :places] - mean) @ shrink.T
        tail = (1 - INTERVAL) / 2
        widths, base = [], []
        for row in came[-OUTER:]:
            values = function(mean + row @ kept[:, :places] + each)
            low, high = np.quantile(values, [tail, 1 - tail], axis=0)
            widths.append((high - low).mean())
        values = function(self.known.draws[:INNER, :places])
        low, high = np.quantile(values, [tail, 1 - tail], axis=0)
        base.append((high - low).mean())
        return float(np.mean(widths) / max(np.mean(base), 1e-300) * self.goal.width.mean())


def _root(matrix: np.ndarray, ridge: float) -> np.ndarray:
    values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
    return (vectors * np.sqrt(np.maximum(values, 0.0) + ridge)) @ vectors.T
