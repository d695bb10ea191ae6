"""Do two contexts put the models in the same order?

| `statistic` | what | rows |
|---|---|---|
| `spearman` | Spearman's rank correlation of the models' levels, item noise in the draws | per pair of contexts |
| `spearman_raw` | of their raw rates: what the tables show, noise included | the same |
| `kendall_raw` | Kendall's tau-b of the raw rates | the same |

The smallest level is first for times and costs; ties share their places. Over models with judged rows in both contexts, of
either regime; identified by three of them. A raw correlation below the other is noise. No unit. Source: Spearman 1904.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np

from divergence.joint.level_draws import link_levels
from divergence.joint.posterior import Fit
from divergence.numerics import rankdata

MODELS_MIN = 3  # two models give a correlation of 1 or -1 whatever they do
PAIRS_MAX = 45  # pairs of ten contexts: beyond it the table of pairs is no answer
DRAWS_MAX = 500  # of the levels' correlation, whose quantiles need no more; ranks of thousands of models are slow to draw


def context_orders(fit: Fit) -> Iterator[tuple[str, str, str, np.ndarray]]:
    """(context, context_b, statistic, draws (S,)) for every pair of contexts that three models share."""
    contexts, names = fit.design.contexts, fit.cells.levels["context"]
    rate = np.full((fit.design.n_models, len(contexts)), np.nan)
    place = {tuple(key): k for k, key in enumerate(contexts)}
    column = [place[key] for key in zip(fit.arms.deployed.astype(int), fit.arms.context, strict=True)]
    rate[fit.arms.model, column] = fit.arms.level
    pairs = [
        (i, j)
        for i, j in itertools.combinations(range(len(contexts)), 2)
        if np.isfinite(rate[:, [i, j]]).all(1).sum() >= MODELS_MIN and names[contexts[i, 1]] != names[contexts[j, 1]]
    ]
    if not pairs or len(pairs) > PAIRS_MAX:
        return
    size = len(fit.effects)
    every = np.arange(size) % min(size, DRAWS_MAX)
    for i, j in pairs:
        both = np.isfinite(rate[:, [i, j]]).all(1)
        label = names[contexts[i, 1]], names[contexts[j, 1]]
        link = link_levels(fit, np.array([i, j]))[: min(size, DRAWS_MAX)][:, both]
        ranks = rankdata(link, axis=1)
        yield *label, "spearman", _correlation(ranks[:, :, 0], ranks[:, :, 1])[every]
        one, two = rate[both, i], rate[both, j]
        raw = _correlation(rankdata(one)[None], rankdata(two)[None])
        yield *label, "spearman_raw", np.repeat(raw, size)
        yield *label, "kendall_raw", np.full(size, _kendall(one, two))


def _kendall(one: np.ndarray, two: np.ndarray) -> float:
    """Kendall's tau-b, ties taken out of either side's pairs; NaN where one of them does not vary."""
    first, second = (np.sign(values[:, None] - values) for values in (one, two))
    pairs = np.count_nonzero(first) / 2, np.count_nonzero(second) / 2
    if not all(pairs):
        return float("nan")
    return float(np.clip((first * second).sum() / 2 / np.sqrt(pairs[0]) / np.sqrt(pairs[1]), -1.0, 1.0))


def _correlation(one: np.ndarray, two: np.ndarray) -> np.ndarray:
    """Pearson correlation of each row, shape (S,); NaN where one of them does not vary."""
    one, two = (part - part.mean(1, keepdims=True) for part in (one, two))
    below = np.sqrt(np.square(one).sum(1) * np.square(two).sum(1))
    return np.where(below > 0, (one * two).sum(1) / np.where(below > 0, below, 1.0), np.nan)
