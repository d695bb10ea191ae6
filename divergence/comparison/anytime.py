"""Limits that may be looked at again and again: how much wider must the interval be, so that it is *ever* wrong at most
one time in 1 / (1 - confidence)?

A gate that adds tonight's run to those of the nights before and decides anew looks many times. With information I = 1 /
variance of the estimate, which grows from look to look, the estimate of one unchanging difference stays within

    z(I) / sqrt(I),   z(I)^2 = (1 + rho / I) log((1 + I / rho) / alpha^2)

at all looks at once with probability 1 - alpha (Robbins' normal mixture; asymptotic in the number of items). It holds for
new items, for more replicates of the same ones, and for both, since the estimate's increments are independent of what was
seen before. `rho` is fixed at the first look.

Identification: every look is about the same change, and adds executions. Unit: a factor on the quantile.
Source: Robbins, Annals of Mathematical Statistics 41 (1970) 1397; Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas,
Annals of Statistics 52 (2024) 2613 (asymptotic confidence sequences).
"""

from __future__ import annotations

import statistics

import numpy as np

from divergence.comparison.moves import Moves

PRIOR_SHARE = 0.5  # rho over the first look's information: the sequence is tightest at five to ten times the first look


def information(seen: Moves) -> float:
    """Information about the whole difference, 1 / variance, in the unit of the score to the power of -2.

    The variance is taken as at least that of one moved item, which a look without any flip has not excluded.
    """
    least = (seen.scale or 0.0) ** 2 * float(seen.design[0]) / float(seen.items[0]) ** 2
    return 1 / max(float(seen.variance[0]), least, 1e-300)


def widening(now: float | np.ndarray, first: float, confidence: float) -> np.ndarray:
    """How much wider than a single look's interval this look's must be; `now` and `first` are information."""
    alpha, ratio = 1 - confidence, np.asarray(now) / (PRIOR_SHARE * first)
    z = np.sqrt((1 + 1 / ratio) * np.log((1 + ratio) / alpha**2))
    return z / statistics.NormalDist().inv_cdf(1 - alpha / 2)
