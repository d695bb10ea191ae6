"""How narrow would intervals be, and how much would a choice still lose, after measuring this? Before anything is measured.

The fit knows arms by their means over items, so a purchase changes the covariance of these means. With n_a items at place a,
n_ab of them at b as well, and m_a new ones there (the same first ones everywhere),

    V_ab = between_ab n_ab / (n_a n_b),    V_aa = (between_aa + session_a) / n_a + replicate_a sum_i 1 / T_ai / n_a^2
    n_a -> n_a + m_a,    n_ab -> n_ab + min(m_a, m_b)

so that new items at one place alone narrow its level and *widen* its contrast with a place that it was paired with. A number
q = w theta with weights on logged places has the variance w V w' in the log alone; the posterior's is v, and what else the
fit knows of it is 1 / v - 1 / w V w' (nothing, where that is negative: then the posterior's excess stays in proportion):

    v' = 1 / (1 / w V' w' + 1 / v - 1 / w V w'),    width' = width sqrt(v' / v)

Numbers with weight on places without rows (empty cells, new contexts), and regressions on levels (`goals`), are conditioned
on in full: `C' = C - C H' (H C H' + V)^-1 H C` with C the covariance of the draws, plus what levels do not explain.
Expected regret is taken over the draws: the means that a choice will be made by are `m + sqrt(1 - v' / v)(theta - m)`
(Jalal and Alarid-Escudero 2018), and what is lost is `E max theta - E max` of these.

Identification: that of the goal; levels are taken as normal on the outcome scale. Unit: that of the goal.
"""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
import scipy.sparse as sp
from scipy.special import ndtr

from divergence.numerics import NORMAL_95
from divergence.planning.goals import Goal
from divergence.planning.knowledge import Knowledge
from divergence.random_streams import stream

# Sd of the log of a realised width that no formula here gives: quantiles of 2,000 draws twice (.025 each) and standard
# deviations that the new rows move. Measured in simulated worlds (benchmarks/plan.md).
WIDTH_LOG_SD = 0.08


@dataclasses.dataclass(frozen=True, eq=False)
class Purchase:
    """What is bought at each of K places."""

    items: np.ndarray
    """New items, shape (K,)."""
    trials: np.ndarray
    """Trials of each of them, shape (K,)."""
    again: np.ndarray
    """Further trials of all of the place's own items, shape (K,)."""

    @classmethod
    def nothing(cls, places: int) -> Purchase:
        """No purchase."""
        return cls(np.zeros(places), np.ones(places), np.zeros(places))

    def requests(self, known: Knowledge) -> np.ndarray:
        """Requests by place, shape (K,)."""
        return self.items * self.trials + self.again * known.items

    def cost(self, known: Knowledge, unit: str) -> float:
        """What it costs, in `unit`; NaN where a cost is not known."""
        number = self.requests(known)
        some = number > 0
        return float((number[some] * known.cost[unit][some]).sum())

    def more(self, place: np.ndarray | int, items: float = 0.0, trials: float = 0.0, again: float = 0.0) -> Purchase:
        """The same with more at one place (or several)."""
        out = Purchase(self.items.copy(), self.trials.copy(), self.again.copy())
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

    def noise(self, design: Purchase) -> tuple[np.ndarray, np.ndarray]:
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

    @functools.cached_property
    def _logged(self) -> np.ndarray:
        """Indices of the logged places, shape (A,)."""
        return np.flatnonzero(self.known.logged)

    @functools.cached_property
    def _among_logged(self) -> tuple[np.ndarray, np.ndarray]:
        """Shared items, and covariances over items, of the logged places, (A, A) each."""
        known, here = self.known, self._logged
        arm = known.arm[here]
        return known.parts.together[np.ix_(arm, arm)], known.between[np.ix_(here, here)]

    @functools.cached_property
    def _weights(self) -> np.ndarray:
        """Weights of the numbers on the logged places, (R, A)."""
        return self.goal.weights[:, self._logged]

    @functools.cached_property
    def _few(self) -> sp.csr_array:
        """The same without zeros: most numbers are differences of two levels."""
        return sp.csr_array(self._weights)

    @functools.cached_property
    def _by_place(self) -> tuple[np.ndarray, ...]:
        """Of the logged places: items and trials of an item now, variance over items, of a trial, of sessions, (A,) each."""
        known, here = self.known, self._logged
        now = np.maximum(known.items[here], 1.0), np.maximum(known.parts.trials[known.arm[here]], 1.0)
        return *now, known.between[here, here], known.replicate[here], known.session[here]

    def of_means(self, design: Purchase) -> np.ndarray:
        """V': covariance of the logged places' means over items after the design, shape (A, A)."""
        here = self._logged
        old, trials, alone, replicate, session = self._by_place
        more = design.items[here]
        n = old + more
        together, between = self._among_logged
        total = np.minimum(more[:, None], more)
        total += together
        total *= between
        total /= n[:, None] * n
        answers = replicate * (old / (trials + design.again[here]) + more / design.trials[here]) / n**2
        total.flat[:: len(here) + 1] = alone / n + answers + session / n
        return total

    @functools.cached_property
    def _direct(self) -> np.ndarray:
        """Which numbers rest on logged places alone, shape (R,)."""
        other = np.ones(self.goal.weights.shape[1], bool)
        other[self._logged] = False
        return (np.abs(self.goal.weights[:, other]).sum(1) < 1e-12) & self.goal.exact

    @functools.cached_property
    def _seen(self) -> np.ndarray:
        """w V w' now, shape (R,)."""
        w = self.goal.weights[:, self._logged]
        return np.einsum("ra,ab,rb->r", w, self.of_means(Purchase.nothing(len(self.known.places))), w)

    def left(self, design: Purchase) -> np.ndarray:
        """Variance of each number after the design, what levels do not explain aside, shape (R,)."""
        if not self._direct.all():
            whole = self._conditioned(design)
            return np.where(self._direct, self._of_numbers(design), whole) if self._direct.any() else whole
        return self._of_numbers(design)

    @functools.cached_property
    def _of_log(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of each number now: v, w V w', and what else the fit knows of it, (R,) each."""
        now, seen = np.maximum(self.variance, 1e-300), np.maximum(self._seen, 1e-300)
        return now, seen, 1 / now - 1 / seen

    def _of_numbers(self, design: Purchase) -> np.ndarray:
        """v' of numbers that rest on logged places."""
        now, seen, beside = self._of_log
        after = np.maximum(np.einsum("ra,ra->r", self._few @ self.of_means(design), self._weights), 1e-300)
        return np.where(beside > 0, 1 / (1 / after + np.maximum(beside, 0.0)), now * after / seen)

    def _conditioned(self, design: Purchase) -> np.ndarray:
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

    def width(self, design: Purchase) -> float:
        """Mean width of the goal's 90 % intervals after the design; of a decision, of the lead over the runner-up."""
        now = np.maximum(self.variance + self.goal.rest, 1e-300)
        after = self.goal.width * np.sqrt((self.left(design) + self.goal.rest) / now)
        return float(after[0] if self.goal.kind == "decision" else after.mean())

    def width_limits(self, design: Purchase) -> tuple[float, float]:
        """Limits that hold the width of a later fit in 90 % of cases: noise of the noise, of quantiles, of the refit."""
        measured, _ = self.noise(design)
        used = measured[measured < len(self.known.places)]
        arms = self.known.arm[used]
        errors = self.known.parts.error[arms[arms >= 0]]
        of_noise = 0.5 * float(np.sqrt(np.mean(errors**2))) if len(errors) else 0.0
        reach = NORMAL_95 * np.hypot(of_noise, WIDTH_LOG_SD)
        middle = self.width(design)
        return middle * float(np.exp(-reach)), middle * float(np.exp(reach))

    def regret(self, design: Purchase) -> float | None:
        """Expected loss of the choice after the design; of `order` the chance to tell a pair wrongly; None for widths.

        Never more than now: who may ignore what came loses nothing by it, and an average over draws that says so is chance.
        """
        return None if self.goal.kind == "width" else min(self._lost(design), self._lost_now)

    @functools.cached_property
    def _lost_now(self) -> float:
        return self._lost(Purchase.nothing(len(self.known.places)))

    @functools.cached_property
    def _lead(self) -> np.ndarray:
        """Draws of the numbers, (D, R)."""
        return self.known.draws @ self.goal.weights.T

    @functools.cached_property
    def _lost_by_draws(self) -> float:
        """What the best one of now loses, as expected now, without a choice after the design."""
        return np.maximum(-self._lead, 0.0).max(1).mean()

    def _lost(self, design: Purchase) -> float:
        lead = self._lead
        gained = np.clip(1 - self.left(design) / np.maximum(self.variance, 1e-300), 0.0, 1.0)
        apart = lead - self.goal.lead
        if self.goal.kind == "decision":  # leads of the best one: it loses what another one leads by
            told = self.goal.lead + np.sqrt(gained) * apart
            return float(self._lost_by_draws - np.maximum(-told, 0.0).max(1).mean())
        noise = stream(self.seed, "noise of measurements").standard_normal(lead.shape)
        told = self.goal.lead + gained * apart + np.sqrt(gained * (1 - gained) * self.variance) * noise
        half = lead.shape[1] // 2
        wrong = np.sign(lead[:, :half] * lead[:, half:]) != np.sign(told[:, :half] * told[:, half:])
        return float(wrong.mean())
