"""Structural statistics: how the columns of a chunk go together, whatever each does alone.

All are functions of ranks inside the chunk, so a monotone change of any margin leaves them as they are (exactly for
continuous signals; ties of counts leak a little). Normal-score correlation as atanh r; joint tails sqrt P(U > .9, V > .9),
sqrt P(U < .1, V < .1) and the root of their mean; lagged correlation of one signal with another some rows later (a phase
offset); level: atanh of the correlation of a signal's normal scores with a level of a class; association: log odds ratio of
two levels, half a row added to each cell; spectrum: log eigenvalues of the embedding's covariance in the reference's
directions and log of what lies outside them; item flips: arcsin sqrt of 2 min(up, down).
"""

from __future__ import annotations

import numpy as np

from divergence.drift.layout import LAGS, Layout, told_apart
from divergence.drift.rows import Rows
from divergence.drift.surface import arcsine

TAIL = 0.9
"""Share of ranks beyond which a value is in the tail: 50 of 500 rows, five of them joint by chance."""
_LIMIT = 0.9999  # correlation at which atanh is cut: 4.95
_FEWEST = 8  # rows with both signals below which a chunk says nothing about a pair


def structural(rows: Rows, scores: np.ndarray, shares: np.ndarray, layout: Layout) -> np.ndarray:
    """The structural statistics of one chunk, NaN where it lacks one, in the order of the layout."""
    known = ~np.isnan(shares)
    whole = bool(known.all())
    out = [_correlations(scores, known, whole)]
    out += _tails(shares, np.array(layout.smooth, bool))
    out += _lagged(scores, known)
    out.append(_levels(rows.classes, scores, known, layout))
    out.append(_associations(rows.classes, layout))
    if layout.dimensions:
        out.append(_spectrum(rows.embedding, layout.dimensions))
    if layout.flips:
        out.append(_flips(rows.flip))
    return np.concatenate(out)


def _bounded(r: np.ndarray) -> np.ndarray:
    return np.arctanh(np.clip(r, -_LIMIT, _LIMIT))


def _correlations(scores: np.ndarray, known: np.ndarray, whole: bool) -> np.ndarray:
    upper = np.triu_indices(scores.shape[1], 1)
    cross = scores.T @ scores
    if whole:
        length = np.sqrt(np.diag(cross))
        with np.errstate(divide="ignore", invalid="ignore"):
            return _bounded((cross / length[:, None] / length)[upper])
    there = known.astype(float)
    n, first, second = there.T @ there, scores.T @ there, np.square(scores).T @ there
    with np.errstate(divide="ignore", invalid="ignore"):
        spread = second - first**2 / n
        r = (cross - first * first.T / n) / np.sqrt(spread * spread.T)
    return np.where(n[upper] >= _FEWEST, _bounded(r[upper]), np.nan)


def _tails(shares: np.ndarray, smooth: np.ndarray) -> list[np.ndarray]:
    some = shares[:, smooth]
    upper = np.triu_indices(some.shape[1], 1)
    out: list[np.ndarray] = []
    for inside in (some > TAIL, some < 1 - TAIL):
        hits = inside.astype(np.float32)
        out.append((hits.T @ hits)[upper].astype(float) / max(len(shares), 1))
    out = [np.sqrt(share) for share in ((out[0] + out[1]) / 2, *out)]
    missing = np.asarray(np.isnan(some).all(0))
    lost = (missing[:, None] | missing)[upper]
    return [np.where(lost, np.nan, tail) for tail in out]


def _lagged(scores: np.ndarray, known: np.ndarray) -> list[np.ndarray]:
    others = ~np.eye(scores.shape[1], dtype=bool)
    length = np.sqrt(np.square(scores).sum(0))
    length = np.where(known.sum(0) >= _FEWEST, length, np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        scaled = scores / length
    return [_bounded((scaled[:-lag].T @ scaled[lag:])[others]) for lag in LAGS]


def indicators(classes: np.ndarray, layout: Layout) -> list[np.ndarray]:
    """For each class signal whether a row has each of the levels that are told apart, shape (n, levels)."""
    return [
        (codes[:, None] == np.arange(len(told_apart(levels)))).astype(float)
        for codes, (_, levels) in zip(classes.T, layout.classes, strict=True)
    ]


def _levels(classes: np.ndarray, scores: np.ndarray, known: np.ndarray, layout: Layout) -> np.ndarray:
    if not layout.classes or not layout.numeric:
        return np.zeros(0)
    rows = len(scores)
    there, parts = known.astype(float), []
    for codes, inside in zip(classes.T, indicators(classes, layout), strict=True):
        given = (codes >= 0).astype(float)[:, None]
        n = there.T @ given
        chosen, sums = there.T @ inside, scores.T @ inside
        mean, square = (scores.T @ given) / np.maximum(n, 1), np.square(scores).T @ given
        with np.errstate(divide="ignore", invalid="ignore"):
            share = chosen / n
            covariance = sums / n - share * mean
            r = covariance / np.sqrt((square / n - mean**2) * share * (1 - share))
        enough = (chosen >= _FEWEST / 2) & (n - chosen >= _FEWEST / 2)
        parts.append(np.where(enough & (rows >= _FEWEST), _bounded(r), np.nan))
    return np.concatenate([part[signal] for signal in range(scores.shape[1]) for part in parts])


def _associations(classes: np.ndarray, layout: Layout) -> np.ndarray:
    inside, out = indicators(classes, layout), []
    for first in range(len(inside)):
        for second in range(first + 1, len(inside)):
            both = (classes[:, first] >= 0) & (classes[:, second] >= 0)
            a, b = inside[first][both], inside[second][both]
            n11 = a.T @ b
            n10, n01 = a.sum(0)[:, None] - n11, b.sum(0) - n11
            n00 = both.sum() - n11 - n10 - n01
            odds = np.log((n11 + 0.5) * (n00 + 0.5) / ((n10 + 0.5) * (n01 + 0.5)))
            out.append(np.where(both.sum() >= _FEWEST, odds, np.nan).ravel())
    return np.concatenate(out) if out else np.zeros(0)


def _spectrum(embedding: np.ndarray, dimensions: int) -> np.ndarray:
    known = embedding[np.isfinite(embedding[:, 0])].astype(float)
    if len(known) < 2 * dimensions:
        return np.full(dimensions + 1, np.nan)
    values = np.linalg.eigvalsh(np.cov(known[:, :dimensions].T))[::-1]
    return np.log(np.maximum([*values, known[:, dimensions].mean()], 1e-12))


def _flips(flip: np.ndarray) -> np.ndarray:
    known = flip[np.isfinite(flip)]
    if len(known) < _FEWEST:
        return np.full(1, np.nan)
    return arcsine(np.array([2 * min((known > 0).mean(), (known < 0).mean())]))
