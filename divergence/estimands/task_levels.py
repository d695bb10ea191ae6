"""The level of each model on one task alone: the rows that a mean over tasks is made of.

    M_mt = sum_c q_c mean_i m_cit,      Var(M_mt) = sum_i (sum_c q_c (m_cit - M_mct) / I_c)^2 I / (I - 1)

A mean over tasks weighs them by their share of the log and says nothing of any one; where tasks have metrics of their own
it means nothing at all. These levels are the items' own, nothing is borrowed from other models or tasks: contexts of the
regime weigh by the law, renormalised over those in which the model tried the task, items are the clusters (an item that was
answered in several contexts is one; of a context that replays a part of the bench they are the bench's), and the interval
is Student's on the link scale, no nearer to the end of the scale than half a failure of the items. Identified by two items
(or trials of a published rate) of the task. Unit: probability, or the outcome's own. Source: Miller 2024 (arXiv 2411.00640)
for items as clusters.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np

from divergence.cells import Table
from divergence.cells.overlap import REPLAYED_MIN, deployed_regimes, replayed_shares, replays
from divergence.joint.laws import Law
from divergence.joint.posterior import Fit
from divergence.joint.predict import levels
from divergence.joint.replayed_part import LEAST
from divergence.numerics import combinations, expit
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
    cells = fit.cells
    deployed = deployed_regimes(cells)[cells.counts["regime"]] == (regime == "deployment")
    counts = cells.counts.take((cells.counts["n"] > 0) & deployed & (cells.counts["task"] >= 0))
    keys, where = combinations(counts["model"], counts["task"])
    mu = None if cells.items == "observed" else levels(fit, regime, law)
    if mu is None or len(cells.levels["task"]) < 2 or not 0 < keys.shape[1] <= ROWS_MAX:
        return
    place = {name: k for k, name in enumerate(mu.contexts)}
    column = np.array([place.get(name, -1) for name in cells.levels["context"]])
    rng = stream(fit.seed, "task levels")
    alike = regime == "evaluation" or replays(cells)
    lacks = replayed_shares(cells) < (REPLAYED_MIN if fit.arms.link == "logit" else 0.0)
    order = np.argsort(where, kind="stable")
    for pair, rows in enumerate(np.split(order, np.cumsum(np.bincount(where))[:-1])):
        model, task = keys[:, pair]
        mine = counts.take(rows)
        weight = mu.law[model, column[mine["context"]]]
        beside = None
        if regime == "deployment" and lacks[model].any():
            whole = cells.counts.of_model(model)
            on_bench = ~deployed_regimes(cells)[whole["regime"]] & (whole["task"] == task)
            beside = whole.take(on_bench & (whole["n"] > 0) & (whole["item"] >= 0))
        level, variance, items = _level(mine, weight, alike, beside, lacks[model])
        draws = None
        if items > 1:
            draws = _draws(level, variance, items, fit.arms.link, len(fit.effects), rng)
        yield TaskLevel(cells.levels["model"][model], cells.levels["task"][task], draws, items)


def _level(
    counts: Table, law: np.ndarray, alike: bool, bench: Table | None = None, lacks: np.ndarray | None = None
) -> tuple[float, float, int]:
    """Level, its variance over items, and how many; `law`: weight of each row's context, `alike`: items weigh alike. To
    contexts that `lacks` items of the bench, by code, what the `bench` says of them is added (see `joint.replayed_part`)."""
    named = counts["item"] >= 0
    contexts, context = np.unique(counts["context"], return_inverse=True)
    context = context.ravel()
    share = np.zeros(len(contexts))
    share[context] = law
    share = share / share.sum() if share.sum() else np.full(len(contexts), 1 / len(contexts))
    keys, unit = combinations(context[named], counts["item"][named])
    n, y = (np.bincount(unit, counts[name][named], keys.shape[1]) for name in ("n", "y"))
    mass = np.ones(len(n)) if alike else n
    pooled, pooled_y, pooled_yy = (np.bincount(context[~named], counts[k][~named], len(contexts)) for k in ("n", "y", "yy"))
    whole = np.bincount(keys[0], mass, len(contexts)) + pooled
    mean = (np.bincount(keys[0], mass * y / n, len(contexts)) + pooled_y) / whole
    influence = share[keys[0]] * mass * (y / n - mean[keys[0]]) / whole[keys[0]]
    units = keys[1]
    if bench is not None and lacks is not None and len(bench):
        names, place = np.unique(bench["item"], return_inverse=True)
        good = np.bincount(place, bench["y"]) / np.bincount(place, bench["n"])
        for k in np.flatnonzero(lacks[contexts] & (share > 0)):
            mine = (keys[0] == k) & np.isin(keys[1], names)
            if mine.sum() < LEAST:
                continue
            at = np.searchsorted(names, keys[1][mine])
            part = np.bincount(at, mass[mine], len(names)) / mass[mine].sum()
            mean[k] = np.clip(mean[k] + good.mean() - part @ good, 0.0, 1.0)
            said = share[k] * ((good - good.mean()) / len(names) - part * (good - part @ good))
            influence, units = np.concatenate([influence, said]), np.concatenate([units, names])
    _, item = np.unique(units, return_inverse=True)
    of_item = np.bincount(item.ravel(), influence)
    spread = pooled_yy - 2 * mean * pooled_y + pooled * mean**2
    count = len(of_item) + int(pooled.max(initial=0.0))
    variance = np.square(of_item).sum() + (np.square(share / whole) * spread).sum()
    return float(share @ mean), float(variance * count / max(count - 1, 1)), count


def _draws(level: float, variance: float, items: int, link: str, draws: int, rng: np.random.Generator) -> np.ndarray:
    noise = rng.standard_t(items - 1, draws)
    if link == "log":
        return level * np.exp(np.minimum(noise * np.sqrt(variance) / level, EXPONENT_MAX))
    ended = level in (0.0, 1.0)  # items that never differed hide half a failure
    inner = (items * level + 0.5) / (items + 1) if ended else level
    least = inner * (1 - inner) / items if ended else 0.0
    return expit(np.log(inner / (1 - inner)) + noise * np.sqrt(max(variance, least)) / (inner * (1 - inner)))
