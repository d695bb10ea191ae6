"""How likely is the next answer wrong, where an item was tried? From the law of its answers, not from a normal one.

    P(next fails) = E[Phi(-f)],    f ~ N(cavity of the cell) Phi(f)^y Phi(-f)^(n - y)    (`item_factors`)

After seven failures of seven under a wide law, f is beyond some point and anywhere beyond it. The normal law with the same
mean and variance puts a tail where there is none: where items are copies it says .97 for what is .998. Summed over points
around the moments, with more than four in the width of Phi or of the law, whichever is less. What is told of a risk is its
mean and its variance: `place_for` finds the normal law of f that has both. Unit: probability. Source: Rasmussen and Williams
2006, section 3.6, for laws of f that are not normal; Owen 1956 for two answers under one that is.
"""

from __future__ import annotations

import functools

import numpy as np
from scipy.special import log_ndtr, ndtr, ndtri, owens_t

from divergence.risk.item_factors import matched_moments
from divergence.risk.item_lookup import SPREADS, place_of, probits, spreads

POINTS_NARROW, POINTS_WIDE, REACH = 64, 256, 7.0  # steps of .44 and, for a law of variance 400 cut in half, .66
NARROW = 2.0  # standard deviation up to which a law is narrow
EDGE = 1e-6
CHUNK = 2**14  # cells that are summed at once


def next_failures(y: np.ndarray, n: np.ndarray, mean: np.ndarray, variance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and mean square of the risk of one more trial, after y of n under f ~ N(mean, variance).

    >>> [round(float(v[0]), 4) for v in next_failures(np.ones(1), np.ones(1), np.zeros(1), np.ones(1))]
    [0.3333, 0.1667]
    """
    first, second = np.full(len(y), np.nan), np.full(len(y), np.nan)
    middle, width, _ = matched_moments(y, n, mean, variance)
    width = np.sqrt(width)
    for points, cells in ((POINTS_NARROW, width <= NARROW), (POINTS_WIDE, width > NARROW)):
        steps, place = np.linspace(-REACH, REACH, points), np.flatnonzero(cells)
        for some in np.split(place, np.arange(CHUNK, len(place), CHUNK)):
            f = middle[some, None] + width[some, None] * steps
            mass = y[some, None] * log_ndtr(f) + (n - y)[some, None] * log_ndtr(-f)
            mass -= 0.5 * (f - mean[some, None]) ** 2 / variance[some, None]
            mass = np.exp(mass - mass.max(1, keepdims=True))
            mass /= mass.sum(1, keepdims=True)
            failing = ndtr(-f)
            first[some], second[some] = (mass * failing).sum(1), (mass * failing**2).sum(1)
    return first, second


def normal_risk(mean: np.ndarray, variance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and mean square of Phi(-f) where f is normal.

    >>> [round(float(v), 4) for v in normal_risk(np.array(0.0), np.array(1.0))]
    [0.5, 0.3333]
    """
    h = -mean / np.sqrt(1 + variance)
    first = ndtr(h)
    return first, first - 2 * owens_t(h, 1 / np.sqrt(1 + 2 * variance))


@functools.cache
def _variances() -> np.ndarray:
    """Variance of the risk at each point of `probits`, between neighbouring `spreads`."""
    between = np.sqrt(spreads()[1:] * spreads()[:-1])
    first, second = normal_risk(-probits()[:, None] * np.sqrt(1 + between**2), between**2)
    return second - first**2


def place_for(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Place in the table of answers of a risk with this mean and mean square, uint16.

    Raises ValueError for what is no number, which would be taken for the least risk of all.
    """
    if not np.isfinite(first + second).all():
        raise ValueError("a risk is no number")
    point = (place_of(ndtri(np.clip(first, EDGE, 1 - EDGE)), np.ones_like(first)) // SPREADS).astype(np.int64)
    wide = ((second - first**2)[..., None] > _variances()[point]).sum(-1)
    return (point * SPREADS + wide).astype(np.uint16)
