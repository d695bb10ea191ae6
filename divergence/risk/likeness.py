"""How much more do contexts say of one another that share serving factors? Chosen by leaving each known context out.

For every deployed context c the items' posteriors are found without its cells, each of its cells is predicted by the mean
risk over the model's other contexts with weights exp(T * shared factors) (`like_contexts`), and T is the one of `STEPS`
whose predictions have the least log loss; 0, which is no weighting, unless that is worse by more than the standard error of
the difference over items. Unit: none.
"""

from __future__ import annotations

import numpy as np

from divergence.random_streams import stream
from divergence.risk.context_definitions import Served
from divergence.risk.item_factors import Factors, ItemCells, converged
from divergence.risk.like_contexts import shared_levels, weights
from divergence.risk.next_answer import next_failures

STEPS = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0)
ITEMS_MAX = 500  # items that are predicted with each context left out
EDGE = 1e-3


def choose_likeness(
    cells: ItemCells, items: int, arms: np.ndarray, factors: Factors, served: Served, labels: tuple[str, ...], seed: int = 0
) -> tuple[float, str]:
    """T and a sentence; `arms` are model, regime and label of each arm, `served` says how both regimes were served."""
    model, regime, label = arms
    deployed = [k for k, name in enumerate(labels) if ((label == k) & (regime == 1)).any() and _levels(served, name)]
    if len(deployed) < 4 or len(served.factors) < 2:
        return 0.0, ""
    if items > ITEMS_MAX:
        chosen = np.zeros(items, bool)
        chosen[stream(seed, "items of likeness").permutation(items)[:ITEMS_MAX]] = True
        cells, items = cells.of(chosen), ITEMS_MAX
    loss = np.zeros((len(STEPS), items))
    for k in deployed:
        there = (label == k) & (regime == 1)
        left = there[cells.arm]
        if not left.any() or left.all():
            continue
        rest = ItemCells(*(v[~left] for v in (cells.item, cells.arm, cells.n, cells.y, cells.middle)))
        sites = converged(rest, items, factors)
        at = sites.cells.item, sites.cells.arm
        known, p = np.zeros((items, len(model)), bool), np.zeros((items, len(model)))
        known[at] = True
        p[at] = 1 - next_failures(sites.cells.y, sites.cells.n, *sites.cavity(factors, *sites.posterior(factors)))[0]
        shared = shared_levels(_levels(served, labels[k]), served, labels)
        shared[k] = -1
        item, arm, success = cells.item[left], cells.arm[left], cells.y[left] / cells.n[left]
        usable = known[item] & (model == model[arm][:, None])
        for step, likeness in enumerate(STEPS):
            weight = usable * weights(shared, likeness)[label]
            total = weight.sum(1)
            q = np.clip((weight * p[item]).sum(1) / np.where(total > 0, total, 1.0), EDGE, 1 - EDGE)
            nats = -(success * np.log(q) + (1 - success) * np.log1p(-q)) * (total > 0)
            loss[step] += np.bincount(item, nats, items)
    total = loss.sum(1)
    best = int(total.argmin())
    difference = loss[0] - loss[best]
    error = np.sqrt(((difference - difference.mean()) ** 2).sum())
    if not best or difference.sum() <= error:
        return 0.0, "contexts that share serving factors are no better guides to a new one than the others"
    gain = difference.sum() / max(total[0], 1e-9)
    return STEPS[best], f"in a new context, contexts weigh by the serving factors that they share: log loss {gain:.0%} less"


def _levels(served: Served, label: str) -> tuple[str | None, ...]:
    """The levels of a context that had one combination; empty for others, which cannot be left out as one."""
    combinations = served.together.get(label, ())
    return combinations[0] if len(combinations) == 1 else ()
