"""Does the number of trials of an item go with its outcomes?

Repeated trials are replicates where their number was settled before. A run that is tried again until it passes ends with a
success, and one that is repeated where its answers disagree is repeated on the hard items: a mean over items, a power and an
agreement of runs are then about the rule that stopped, too. Seen from counts: within one arm, items with more trials have
another share of successes, or two of their runs agree more or less often, beyond `CLEAR` standard errors of a correlation.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from divergence.cells import Cells
from divergence.cells.cells import MISSING
from divergence.cells.overlap import deployed_regimes
from divergence.numerics import combinations

CLEAR = 4.0  # standard errors: of a thousand arms whose trials go with nothing, .06 are named
ITEMS_MIN = 20  # items of an arm below which a correlation says little
FEW_MIN = 5  # items that were tried more often, and less often, than the others: fewer are strays


@dataclasses.dataclass(frozen=True)
class DrivenTrials:
    """One arm whose numbers of trials go with its outcomes."""

    model: int
    """Code of the model."""
    deployed: bool
    """Is the regime deployment?"""
    context: int
    """Code of the context."""
    agreement: bool
    """Does it go with how often two runs agree (else with the share of successes)?"""
    least: tuple[int, float]
    """Fewest trials of an item, and that share of the items that have so many."""
    most: tuple[int, float]
    """The same of the most frequent larger number of trials."""

    @property
    def told(self) -> str:
        """`those that were tried 1 time succeed in 100%, those tried 2 times in 50%`."""
        (few, often), (more, other) = self.least, self.most
        times = f"{few} {'time' if few == 1 else 'times'}"
        if self.agreement:
            return (
                f"two runs of those that were tried {times} agree in {often:.0%}, of those tried {more} times in {other:.0%}"
            )
        return f"those that were tried {times} succeed in {often:.0%}, those tried {more} times in {other:.0%}"


def driven_trials(cells: Cells) -> tuple[DrivenTrials, ...]:
    """The arms of a log whose numbers of trials go with their outcomes, the clearest first."""
    counts = cells.counts.take((cells.counts["n"] > 0) & (cells.counts["item"] != MISSING))
    if not len(counts) or cells.kind == "positive":
        return ()
    keys, unit = combinations(*(counts[k] for k in ("model", "regime", "context", "task", "item")))
    judged, row = combinations(unit, counts["scorer"])
    n, y = (np.bincount(row, counts[name], judged.shape[1]) for name in ("n", "y"))
    order = np.lexsort((n, judged[0]))  # several judgements of one answer are no trials of it: those of its busiest scorer
    last = order[np.append(np.diff(judged[0][order]) > 0, True)]
    n, y = n[last], y[last]
    arms, arm = combinations(*keys[:3])
    deployed, found = deployed_regimes(cells), []
    by_arm = np.split(np.argsort(arm, kind="stable"), np.cumsum(np.bincount(arm))[:-1])
    for (model, regime, context), mine in zip(arms.T, by_arm, strict=True):
        trials, solved = n[mine], y[mine]
        if len(trials) < ITEMS_MIN or np.ptp(trials) == 0:
            continue
        several = trials > 1
        pairs = trials[several] * (trials[several] - 1) / 2
        agree = 1 - solved[several] * (trials - solved)[several] / np.maximum(pairs, 1)  # of two runs of one item
        for which, (number, share) in enumerate(((trials, solved / trials), (trials[several], agree))):
            far = _far(number, share)
            if far > CLEAR:
                least = number.min()
                values, times = np.unique(number[number > least], return_counts=True)
                ends = [(int(t), float(share[number == t].mean())) for t in (least, values[times.argmax()])]
                place = int(model), bool(deployed[regime]), int(context)
                found.append((far, DrivenTrials(*place, bool(which), ends[0], ends[1])))
                break
    return tuple(each for _, each in sorted(found, key=lambda pair: -pair[0]))


def _far(trials: np.ndarray, rate: np.ndarray) -> float:
    """How many standard errors the correlation of trials and successes is from none."""
    rare = 0 if len(trials) < ITEMS_MIN else len(trials) - np.unique(trials, return_counts=True)[1].max()
    if rare < FEW_MIN or np.ptp(rate) == 0:
        return 0.0
    size = float(np.corrcoef(trials, rate)[0, 1])
    return abs(size) * np.sqrt((len(trials) - 2) / max(1 - size**2, 1e-12))
