"""What one model's answers say of each pair of contexts in which it answered the same items.

Only such pairs are made: in a log of many contexts most pairs share nothing, and those cost nothing. They come in blocks, so
that memory does not grow with their number. The formulas are those of `excess_flips`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np

from divergence.cells.cells import Table
from divergence.cells.replicates import Replicates, answer_pairs, context_rows, contexts_with_items, replicates
from divergence.estimands.rows import context_codes
from divergence.joint.posterior import Fit
from divergence.numerics import combinations

BLOCK = 2**22  # numbers of one statistic in a block of pairs: 34 MB


@dataclasses.dataclass(frozen=True)
class FlipPairs:
    """Per-item statistics of some pairs of contexts of one model; NaN where a pair lacks the item or the replicates."""

    pairs: np.ndarray
    """Indices into the design's contexts, shape (pairs, 2); the evaluation context is the first of its pair."""
    excess: np.ndarray
    """Unbiased estimates of the excess flips, shape (pairs, items)."""
    floor: np.ndarray
    """What repeating a request flips in either, shape (pairs, items)."""
    disagreement: np.ndarray
    """Two answers that differ, one of each context, shape (pairs, items)."""
    difference: np.ndarray
    """The first context's mean less the second's, shape (pairs, items); NaN for labels."""
    items: np.ndarray
    """(task, item) codes of the items, shape (2, items)."""


@dataclasses.dataclass(frozen=True)
class Repeats:
    """What repeating a request flips in the contexts of one model."""

    contexts: np.ndarray
    """Indices into the design's contexts, shape (contexts,)."""
    noise: np.ndarray
    """Two replicates that differ, shape (contexts, items); NaN where there are none."""
    items: np.ndarray
    """(task, item) codes of the items, shape (2, items)."""


def pair_order(contexts: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """The order in which pairs are told: those of bench and deployment first."""
    alike = contexts[pairs[:, 0], 0] + contexts[pairs[:, 1], 0] != 1
    return np.lexsort((pairs[:, 1], pairs[:, 0], alike))


def sharing(contexts: np.ndarray, used: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Pairs of the contexts `used` that share an item, shape (pairs, 2), in order; `seen` (used, items): what each has."""
    once = seen.astype(float)
    pairs = used[np.argwhere(np.triu(once @ once.T, 1) > 0)]
    return pairs[pair_order(contexts, pairs)]


def count_pairs(fit: Fit, model: int) -> int:
    """How many pairs of contexts share items of one model."""
    codes = context_codes(fit)
    counts = fit.cells.counts.of_model(model)
    counts = counts.take((counts["item"] >= 0) & (counts["n"] > 0))
    used, row = np.unique(context_rows(counts, codes), return_inverse=True)
    items, item = combinations(counts["task"], counts["item"])
    seen = np.zeros((len(used), items.shape[1]), bool)
    seen[row, item] = True
    return len(sharing(fit.design.contexts, used, seen))


def outcome_pairs(fit: Fit, model: int, bench: bool = False) -> Iterator[FlipPairs]:
    """Blocks of the pairs of contexts that share items of one model; `bench`: those of bench and deployment alone."""
    used, data, items = _measured(fit, model)
    if not len(used):
        return
    whole = data.pooled()
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = whole.y[:, 0] / whole.n[:, 0]
        square = whole.products[:, 0] / whole.pairs[:, 0]
        second_moment = whole.yy[:, 0] / whole.n[:, 0]
    noise = 2 * (second_moment - square)  # F(c, c): E (y - y')^2 of two replicates
    for pairs in _blocks(fit, used, whole.n[:, 0] > 0, data.n.shape[1], bench):
        first, second = np.searchsorted(used, pairs).T
        excess = _within_waves(data, first, second)
        plain = square[first] + square[second] - 2 * mean[first] * mean[second]
        yield FlipPairs(
            pairs,
            np.where(np.isfinite(excess), excess, plain),
            (noise[first] + noise[second]) / 2,
            second_moment[first] + second_moment[second] - 2 * mean[first] * mean[second],
            mean[first] - mean[second],
            items,
        )


def repeats(fit: Fit, model: int) -> Repeats:
    """What repeating a request flips in each context of one model."""
    used, data, items = _measured(fit, model)
    whole = data.pooled()
    with np.errstate(invalid="ignore", divide="ignore"):
        noise = 2 * (whole.yy[:, 0] / whole.n[:, 0] - whole.products[:, 0] / whole.pairs[:, 0])
    return Repeats(used, noise, items)


def label_pairs(fit: Fit, table: Table) -> Iterator[FlipPairs]:
    """The same of answer labels, of one model's rows of `answers`."""
    used = np.unique(context_rows(table, context_codes(fit)))
    used = used[used >= 0]
    agree, share, items = answer_pairs(table, context_codes(fit)[used])
    for pairs in _blocks(fit, used, np.asarray(np.isfinite(share[..., :1]).all(2)), max(share.shape[2], 1), False):
        first, second = np.searchsorted(used, pairs).T
        disagreement = 1 - np.einsum("pil,pil->pi", share[first], share[second])
        floor = 1 - (agree[first] + agree[second]) / 2
        yield FlipPairs(pairs, disagreement - floor, floor, disagreement, np.full_like(floor, np.nan), items)


def _measured(fit: Fit, model: int) -> tuple[np.ndarray, Replicates, np.ndarray]:
    codes = context_codes(fit)
    used = contexts_with_items(fit.cells, model, codes)
    return used, *replicates(fit.cells, model, codes[used])


def _blocks(fit: Fit, used: np.ndarray, seen: np.ndarray, depth: int, bench: bool) -> Iterator[np.ndarray]:
    contexts = fit.design.contexts
    pairs = sharing(contexts, used, seen)
    if bench:
        pairs = pairs[contexts[pairs[:, 0], 0] != contexts[pairs[:, 1], 0]]
        pairs = pairs[np.lexsort(pairs.T)]  # context by context
    step = max(1, BLOCK // (depth * max(seen.shape[1], 1)))
    for begin in range(0, len(pairs), step):
        yield pairs[begin : begin + step]


def _within_waves(data: Replicates, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Mean over pairs of waves (w, w') of the product of the contexts' differences in w and in w', shape (pairs, items).

    Within one wave the U-statistic, across waves the product of two independent differences.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = data.y / data.n
        square = data.products / data.pairs
    total, known = np.zeros((2, len(first), mean.shape[2]))

    def count(term: np.ndarray, times: int) -> None:
        there = np.isfinite(term)
        np.add(total, times * term, out=total, where=there)
        np.add(known, times, out=known, where=there)

    for w in range(mean.shape[1]):
        count(square[first, w] + square[second, w] - 2 * mean[first, w] * mean[second, w], 1)
        for v in range(w + 1, mean.shape[1]):  # (w, v) and (v, w)
            count((mean[first, w] - mean[second, w]) * (mean[first, v] - mean[second, v]), 2)
    with np.errstate(invalid="ignore"):
        return total / known
