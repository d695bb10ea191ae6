"""How often do all runs of one item agree? (total agreement rate)

    TAR@N = share of the items whose N runs are all alike,     for the most runs that items of the combination have

| `statistic` | alike in | rows |
|---|---|---|
| `agreement` | their score | per model, context, regime; `level` = N |
| `agreement_answers` | their answer (TARa; TARr where `answer` is the raw response or its hash) | the same |

Items with fewer than N runs are left out, as agreement falls with every run. Intervals: Jeffreys' for new items, moved onto
the count itself. Identified by two items with two runs of one model in one context. Unit: probability.
Source: Atil et al. 2024 (arXiv 2408.04667).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from divergence.cells import Table
from divergence.cells.scorer_trials import answers_once
from divergence.joint.posterior import Fit
from divergence.numerics import combinations

ITEMS_MIN = 2


def repeat_agreement(fit: Fit, rng: np.random.Generator) -> Iterator[tuple[str, str, str, str, int, int, np.ndarray]]:
    """(model, context, regime, statistic, N, items, draws (S,)) of every combination that repeats its items."""
    cells = fit.cells
    counts = cells.counts.take((cells.counts["item"] >= 0) & (cells.counts["n"] > 0))
    answers = answers_once(cells)
    answers = answers.take(answers["item"] >= 0)
    for statistic, table in (("agreement", counts), ("agreement_answers", answers)):
        for (model, regime, context), agree, items, runs in _agreeing(table, statistic == "agreement"):
            names = (cells.levels[k][c] for k, c in (("model", model), ("context", context), ("regime", regime)))
            drawn = rng.beta(agree + 0.5, items - agree + 0.5, len(fit.effects))
            if 0 < agree < items:
                drawn = np.clip(drawn + agree / items - (agree + 0.5) / (items + 1), 0.0, 1.0)
            yield *names, statistic, runs, items, drawn


def _agreeing(table: Table, by_score: bool) -> Iterator[tuple[np.ndarray, int, int, int]]:
    """(keys, items whose runs agree, items, runs) of each combination."""
    keys, where = combinations(table["model"], table["regime"], table["context"])
    order = np.argsort(where, kind="stable")
    for key, rows in zip(keys.T, np.split(order, np.cumsum(np.bincount(where))[:-1]), strict=False):
        mine = table.take(rows)
        _, item = combinations(mine["task"], mine["item"])
        # Runs are rows of one scorer: further scorers of an answer are judges, and agree where each of them does.
        judged = combinations(item, mine["scorer"])[1] if by_score else item
        n = np.zeros(item.max(initial=-1) + 1)
        np.maximum.at(n, item, np.bincount(judged, mine["n"])[judged])
        n = n.round(9)
        runs = n.max(initial=0.0)
        full = n == runs
        if runs < 2 or full.sum() < ITEMS_MIN:
            continue
        if by_score:
            trials, y, yy = (np.bincount(judged, mine[name]) for name in ("n", "y", "yy"))
            apart = np.zeros(len(n))
            np.maximum.at(apart, item, (yy * trials - y * y > 1e-9 * trials * trials)[judged].astype(float))
            alike = apart == 0
        else:
            labels, _ = combinations(item, mine["answer"])
            alike = np.bincount(labels[0]) == 1
        yield key, int((alike & full).sum()), int(full.sum()), int(runs)
