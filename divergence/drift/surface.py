"""Surface statistics: what each column of a chunk does alone.

Numeric signals on the scale of the reference: each value is placed in the reference's distribution and turned into a normal
score, so that location, scale and upper quantile are in the reference's standard units whatever the signal's own law.
Location is their mean over 64 evenly spaced order statistics, scale the log of their spread, the upper quantile that of the
95 % point. Shares are arcsin sqrt(share), whose noise does not depend on the share; the rate is log(rows per second).
"""

from __future__ import annotations

import numpy as np
from scipy.special import ndtri

from divergence.drift.layout import Layout, told_apart
from divergence.drift.rows import Rows

POINTS = 64
"""Order statistics of a chunk that are looked up in the reference."""
GRID = 2048
"""Points of the reference's distribution that are kept of each signal."""
_UPPER = 0.95


def grid_of(values: np.ndarray) -> np.ndarray:
    """The reference's distribution of one signal as at most GRID order statistics."""
    known = np.sort(values[np.isfinite(values)])
    if len(known) <= GRID:
        return known
    return known[((np.arange(GRID) + 0.5) / GRID * len(known)).astype(int)]


def reference_scores(grid: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Normal scores of values in the reference's distribution; ties share the middle."""
    below, upto = np.searchsorted(grid, values, "left"), np.searchsorted(grid, values, "right")
    share = np.clip((below + upto) / 2, 0.5, len(grid) - 0.5) / len(grid)
    return ndtri(share)


def surface(rows: Rows, ordered: list[np.ndarray], grids: list[np.ndarray], layout: Layout) -> np.ndarray:
    """The surface statistics of one chunk, NaN where it lacks one, in the order of the layout."""
    if layout.aggregated:
        return np.nanmean(rows.numeric, axis=0)
    location, scale, upper = [], [], []
    for known, grid, spread, smooth in zip(ordered, grids, layout.spread, layout.smooth, strict=True):
        if len(known) < 2:
            score, top = np.full(1, np.nan), np.nan
        else:
            places = ((np.arange(POINTS) + 0.5) / POINTS * len(known)).astype(int) if len(known) > POINTS else slice(None)
            score = reference_scores(grid, known[places])
            top = reference_scores(grid, known[int(_UPPER * len(known))])
        location.append(score.mean())
        if spread:
            deviation = score.std()
            scale.append(np.log(deviation) if deviation > 0 else np.nan)
        if smooth:
            upper.append(top)
    absent = [np.isnan(rows.numeric).mean(0), (rows.classes < 0).mean(0)]
    shares = [
        (codes == level).mean()
        for codes, (_, levels) in zip(rows.classes.T, layout.classes, strict=True)
        for level in range(len(told_apart(levels)))
    ]
    out = [np.array(location), np.array(scale), np.array(upper), arcsine(np.concatenate(absent)), arcsine(np.array(shares))]
    if layout.timed:
        seconds = (rows.time[-1] - rows.time[0]) / 1e6
        out.append(np.array([np.log((len(rows) - 1) / seconds) if seconds > 0 and len(rows) > 1 else np.nan]))
    if layout.two_answers:
        out.append(bias_and_competence(rows.answer))
    if layout.dimensions:
        known = rows.embedding[np.isfinite(rows.embedding[:, 0]), : layout.dimensions]
        out.append(known.mean(0).astype(float) if len(known) else np.full(layout.dimensions, np.nan))
    return np.concatenate(out)


def arcsine(share: np.ndarray) -> np.ndarray:
    """arcsin sqrt(share): its standard error is 1/(2 sqrt(rows)) for any share."""
    return np.arcsin(np.sqrt(share))


def bias_and_competence(cells: np.ndarray) -> np.ndarray:
    """Criterion and d' of the rows whose answer and right answer are known, shape (2,); half a row added to each cell."""
    counts = np.array([(cells == cell).sum() for cell in range(4)]) + 0.5
    false, hit = counts[2] / (counts[2] + counts[0]), counts[3] / (counts[3] + counts[1])
    if counts.sum() < 12:
        return np.full(2, np.nan)
    return np.array([-(ndtri(hit) + ndtri(false)) / 2, ndtri(hit) - ndtri(false)])
