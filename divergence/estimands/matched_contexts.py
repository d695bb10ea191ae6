"""Contexts that differ in one serving factor, or in two: the contrasts that a design holds ready.

    matched:  mu_c(a) - mu_c'(reference),                        contexts c, c' alike in every other factor
    pair:     mu(a, b) - mu(a, ref) - mu(ref, b) + mu(ref, ref),    four contexts alike in every other factor

averaged over all such contexts and over models. Levels of whole contexts are compared, so whatever else is special to a
context is in the contrast: narrower than a factor's own effect where each level was tried in one context only, because
that context's residual need not be told from the factor. The bench may be one of the contexts where its items were
replayed in deployment.
"""

from __future__ import annotations

import itertools

import numpy as np

Corner = list[tuple[int, ...]]
"""Groups of contexts: (level, reference) for a contrast, (both, first, second, neither) for a pair."""


def matched(mixtures: dict[str, np.ndarray], factor: str, level: int, reference: int) -> Corner:
    """(context at the level, context at the reference) alike in every other factor."""
    others = _others(mixtures, {factor})
    at, base = _pure(mixtures[factor], level), _pure(mixtures[factor], reference)
    return [(c, d) for c, d in itertools.product(at, base) if np.array_equal(others[c], others[d])]


def crossed(
    mixtures: dict[str, np.ndarray], factors: tuple[str, str], levels: tuple[int, int], references: tuple[int, int]
) -> Corner:
    """(both changed, first changed, second changed, neither) alike in every other factor."""
    others = _others(mixtures, set(factors))
    sides = [
        (set(_pure(mixtures[f], a)), set(_pure(mixtures[f], r))) for f, a, r in zip(factors, levels, references, strict=True)
    ]
    corners = [sorted(sides[0][i] & sides[1][j]) for i, j in ((0, 0), (0, 1), (1, 0), (1, 1))]
    return [
        four for four in itertools.product(*corners) if all(np.array_equal(others[four[0]], others[c]) for c in four[1:])
    ]


def contrast(level: np.ndarray, corners: Corner) -> np.ndarray:
    """Mean over groups of the contrast of `level` (S, contexts), shape (S,)."""
    sign = np.array([1, -1] if len(corners[0]) == 2 else [1, -1, -1, 1])
    return np.mean([level[:, list(group)] @ sign for group in corners], axis=0)


def _pure(mixture: np.ndarray, level: int) -> list[int]:
    """Contexts that are at this level with all their rows."""
    return np.flatnonzero(mixture[:, level] == 1).tolist()


def _others(mixtures: dict[str, np.ndarray], without: set[str]) -> np.ndarray:
    """What tells contexts apart beside these factors, shape (contexts, columns)."""
    rest = [m for f, m in mixtures.items() if f not in without]
    size = len(next(iter(mixtures.values())))
    return np.concatenate([np.zeros((size, 1)), *rest], 1).round(9)
