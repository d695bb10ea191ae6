"""Did the answers move, or the ability? Signal detection for tasks with two right answers.

Take the two right answers of a task as classes, A the first in alphabetical order. With hit rate h = P(answers A | A) and
false-alarm rate f = P(answers A | not A),

    competence d' = z(h) - z(f),      bias c = -(z(h) + z(f)) / 2      (z: normal quantile),

d' is how well the classes are told apart, c how unwilling the model is to say A, whatever is asked. A change of accuracy
with d' unchanged is a change of habit, not of ability. Where both contexts answered the same items, the flips say more:

    one way = share of the changed answers that changed in the commoner direction (1 = one way only, 1/2 = both alike).

A moved criterion sends answers one way only, lost ability sends them both ways. Where (almost) all went one way, a change of
d' is not identified: one curve through both points explains them, and d' of rates near 0 or 1 rests on the normal law.
Rates take half a trial more in every cell (log-linear rule, Hautus 1995), so that 0 and 1 have finite quantiles. Intervals:
Bayesian bootstrap over blocks; Beta for the shares of flips. Unit: standard deviations of the evidence (`ratio` in the
table). Source: Green and Swets 1966; Macmillan and Creelman 2005.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy.special import ndtri

from divergence.cells import Table
from divergence.joint.posterior import Fit
from divergence.random_streams import stream

EVIDENCE_MIN = 5  # trials of each class in each context
FLIPS_MIN = 20  # changed answers from which their direction is told
ONE_WAY = 0.95  # lower limit of the share that changed the same way, from which ability is not said to have moved


@dataclasses.dataclass(frozen=True)
class Moved:
    """What moved for one model, context and task, against the bench."""

    model: str
    """The model."""
    context: str
    """The deployment context."""
    task: str
    """The task."""
    first: str
    """The right answer that is class A."""
    bias: np.ndarray
    """Draws of the change of c; above 0 = class A is said less often."""
    competence: np.ndarray
    """Draws of the change of d'."""
    one_way: np.ndarray | None
    """Draws of the share of changed answers that changed in the commoner direction; None where too few items are shared."""
    flips: tuple[int, int]
    """Answers that changed to class A, and away from it."""

    @property
    def only_bias(self) -> bool:
        """Did (almost) all changed answers change the same way?"""
        return self.one_way is not None and float(np.quantile(self.one_way, 0.05)) >= ONE_WAY


def split(hit: np.ndarray, alarm: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Competence d' and bias c of a hit and a false-alarm rate; (.8, .2) gives 1.6832, 0."""
    hits, alarms = ndtri(hit), ndtri(alarm)
    return hits - alarms, -(hits + alarms) / 2


def answer_bias(fit: Fit) -> list[Moved]:
    """Every model, deployment context and task with two right answers, against the bench."""
    cells = fit.cells
    golds = cells.golds
    if not len(golds):
        return []
    rng = stream(fit.seed, "answers")
    weight = rng.standard_exponential((len(fit.effects), len(cells.levels["block"])))
    deployed = np.array([name == "deployment" for name in cells.levels["regime"]])[golds["regime"]]
    out = []
    for m in np.unique(golds["model"]):
        for t in np.unique(golds["task"]):
            mine = golds.take((golds["model"] == m) & (golds["task"] == t))
            live = deployed[(golds["model"] == m) & (golds["task"] == t)]
            classes = np.unique(mine["gold"])
            if len(classes) != 2:
                continue
            bench = _rates(mine.take(~live), classes, weight)
            for c in np.unique(mine["context"][live]):
                there = _rates(mine.take(live & (mine["context"] == c)), classes, weight)
                if bench is None or there is None:
                    continue
                (before, was), (after, now) = split(*bench), split(*there)
                names = (
                    cells.levels["model"][m],
                    cells.levels["context"][c],
                    cells.levels["task"][t] if t >= 0 else "",
                    cells.levels["gold"][classes[0]],
                )
                toward, away = _flips(mine.take(~live), mine.take(live & (mine["context"] == c)), classes)
                flips = round(toward), round(away)
                # Jeffreys' half a flip on either side: all of five the same way is no certainty.
                share = rng.beta(max(flips) + 0.5, min(flips) + 0.5, len(weight)) if sum(flips) >= FLIPS_MIN else None
                out.append(Moved(*names, now - was, after - before, share, flips))
    return out


def _flips(bench: Table, live: Table, classes: np.ndarray) -> tuple[float, float]:
    """Expected answers that changed to class A and away from it, over the items of both; items weigh the same."""
    known = []
    for rows in (bench, live):
        rows = rows.take(rows["item"] >= 0)
        says_first = np.where(rows["gold"] == classes[0], rows["y"], rows["n"] - rows["y"])
        items, code = np.unique(rows["item"], return_inverse=True)
        known.append((items, np.bincount(code, says_first) / np.bincount(code, rows["n"])) if len(items) else (items, items))
    _, a, b = np.intersect1d(known[0][0], known[1][0], return_indices=True)
    before, after = known[0][1][a], known[1][1][b]
    return float((after * (1 - before)).sum()), float((before * (1 - after)).sum())


def _rates(rows, classes: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Draws of hit and false-alarm rate: a wrong answer to the other class is an answer A."""
    rates = []
    for place, gold in enumerate(classes):
        mine = rows["gold"] == gold
        n, y = (np.bincount(rows["block"][mine], rows[k][mine], weight.shape[1]) for k in ("n", "y"))
        if n.sum() < EVIDENCE_MIN:
            return None
        right = (weight @ y + 0.5) / (weight @ n + 1.0)
        rates.append(right if place == 0 else 1 - right)
    return rates[0], rates[1]
