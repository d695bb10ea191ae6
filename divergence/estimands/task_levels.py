"""The level of each model on one task alone: the rows that a mean over tasks is made of.

    M_mt = sum_c q_c mean_i m_cit,      Var(M_mt) = sum_i (sum_c q_c (m_cit - M_mct) / I_c)^2 I / (I - 1)

A mean over tasks weighs them by their share of the log and says nothing of any one; where tasks have metrics of their own
it means nothing at all. These levels are the items' own: contexts of the regime weigh by the law, renormalised over those
in which the model tried the task, items are the clusters (one that was answered in several contexts is one), and the
interval is Student's on the link scale, no nearer to the end of the scale than half a failure of the items. A context that
replays a part of the bench has what the bench says of its other items added, as levels of arms have (`joint.replayed_part`);
nothing else is borrowed from other models, and nothing from other tasks. Identified by two items (or trials of a published
rate) of the task. Unit: probability, or the outcome's own. Source: Miller 2024 (arXiv 2411.00640) for items as clusters.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
import scipy.sparse as sp

from divergence.cells import Table
from divergence.cells.overlap import deployed_regimes, replays
from divergence.joint.laws import Law
from divergence.joint.posterior import Fit
from divergence.joint.predict import levels
from divergence.joint.replayed_part import carried_levels, carried_to_the_bench, replays_a_part
from divergence.numerics import column_squares, combinations, expit, on_scale
from divergence.random_streams import stream

EXPONENT_MAX = 700.0  # beyond, a draw is no number; two items leave tails that reach it
ROWS_MAX = 5_000  # models times tasks: beyond, a table of them is no answer


@dataclasses.dataclass(frozen=True)
class TaskLevel:
    """One model on one task in one regime."""

    model: str
    """Its name."""
    task: str
    """The task's name."""
    draws: np.ndarray | None
    """Levels, shape (S,), outcome scale; None where it has too few items."""
    items: int
    """Items behind it."""


def task_levels(fit: Fit, regime: str, law: Law | None = None) -> Iterator[TaskLevel]:
    """Every model on every task that it tried in the regime; nothing where the log has one task or too many to list, or
    where levels are declared to be about the observed items."""
    cells, counts = fit.cells, fit.cells.counts
    deployed, of_traffic = deployed_regimes(cells)[counts["regime"]], regime == "deployment"
    judged = (counts["n"] > 0) & (counts["task"] >= 0)
    asked = judged & (deployed == of_traffic)
    keys, _ = combinations(counts["model"][asked], counts["task"][asked])
    mu = None if cells.items == "observed" else levels(fit, regime, law)
    if mu is None or len(cells.levels["task"]) < 2 or not 0 < keys.shape[1] <= ROWS_MAX:
        return
    place = {name: k for k, name in enumerate(mu.contexts)}
    weight = mu.law[:, [place.get(name, -1) for name in cells.levels["context"]]]
    part_only = of_traffic & replays_a_part(cells)
    beside = judged & ~asked & (counts["item"] >= 0) & part_only.any()
    units = _units(counts.take(asked | beside), beside[asked | beside])
    alike = not of_traffic or replays(cells)
    found = {
        (model, int(task)): measured
        for (task,), rows in units.grouped("task")
        for model, measured in _measured(rows, weight, alike, part_only, fit.arms.link).items()
    }
    rng = stream(fit.seed, "task levels")
    for model, task in keys.T:
        (level, variance, items), draws = found[model, task], None
        if items > 1:
            draws = _draws(level, variance, items, fit.arms.link, len(fit.effects), rng)
        yield TaskLevel(cells.levels["model"][model], cells.levels["task"][task], draws, items)


def _units(counts: Table, bench: np.ndarray) -> Table:
    """One row an item of each model and context, whichever waves and scorers it has; rows of the `bench`, beside which
    traffic is asked for, are of one context, -1."""
    keys, unit = combinations(counts["task"], counts["model"], np.where(bench, -1, counts["context"]), counts["item"])
    sums = {name: np.bincount(unit, counts[name], keys.shape[1]) for name in ("n", "y", "yy")}
    return Table(dict(zip(("task", "model", "context", "item"), keys, strict=True)), sums)


def _measured(
    units: Table, law: np.ndarray, alike: bool, part_only: np.ndarray, link: str
) -> dict[int, tuple[float, float, int]]:
    """Of every model on one task its level, the variance of it over items, and how many these are, by its code.

    `law`: weights of contexts in each model, `alike`: items weigh alike. To contexts that tried a `part_only` what the bench
    says of its other items is added (`joint.replayed_part`).
    """
    (model, context), arm = combinations(units["model"], units["context"])
    asked = context >= 0
    codes, row = np.unique(model[asked], return_inverse=True)
    share = np.where(asked, law[model, context], 0.0)
    total = np.bincount(row, share[asked])[row]
    share[asked] = np.where(total > 0, share[asked] / np.where(total > 0, total, 1.0), 1 / np.bincount(row)[row])
    weight = np.where((units["item"] >= 0) & alike, 1.0, units["n"])
    lacks = asked & (share > 0) & part_only[model, context]
    parts = carried_to_the_bench(units, arm, weight / np.bincount(arm, weight)[arm], model, asked, lacks)
    rows, raw, weight, named = parts.counts, parts.raw, parts.weight, parts.counts["item"] >= 0
    own = rows["y"] / rows["n"]
    # Over the sum of the weights, which misses 1 by rounding: a model that never failed has a level of 1.
    mean = np.bincount(raw, weight * own) / np.bincount(raw, weight)
    level, carry = carried_levels(parts.carry, mean, link == "log")
    arms = sp.csr_array((np.ones(asked.sum()), (row, np.flatnonzero(asked))), shape=(len(codes), len(model)))
    moves = sp.csr_array(arms @ sp.diags_array(share) @ carry)
    item = np.unique(rows["item"][named], return_inverse=True)[1].ravel()
    shape = (int(item.max(initial=-1)) + 1, len(mean))
    influence = sp.csr_array(((weight * (own - mean[raw]))[named], (item, raw[named])), shape=shape) @ moves.T
    behind = sp.csr_array((np.ones(named.sum()), (item, raw[named])), shape=shape) @ (arms @ abs(parts.carry)).T
    spread = (rows["yy"] - 2 * mean[raw] * rows["y"] + rows["n"] * mean[raw] ** 2) * (weight / rows["n"]) ** 2
    trials = np.bincount(raw, np.where(named, 0.0, rows["n"]))[: len(model)]
    count = np.diff(sp.csc_array(behind).indptr) + [int(trials[asked][row == k].max()) for k in range(len(codes))]
    variance = column_squares(sp.csr_array(influence)) + moves.power(2) @ np.bincount(raw, np.where(named, 0.0, spread))
    variance *= count / np.maximum(count - 1, 1)
    level = arms @ (share * (level if link == "log" else on_scale(level)))
    level = level if link == "log" else on_scale(level)
    return {int(m): (float(level[k]), float(variance[k]), int(count[k])) for k, m in enumerate(codes)}


def _draws(level: float, variance: float, items: int, link: str, draws: int, rng: np.random.Generator) -> np.ndarray:
    noise = rng.standard_t(items - 1, draws)
    if link == "log":
        return level * np.exp(np.minimum(noise * np.sqrt(variance) / level, EXPONENT_MAX))
    ended = level in (0.0, 1.0)  # items that never differed hide half a failure
    inner = (items * level + 0.5) / (items + 1) if ended else level
    least = inner * (1 - inner) / items if ended else 0.0
    return expit(np.log(inner / (1 - inner)) + noise * np.sqrt(max(variance, least)) / (inner * (1 - inner)))
