"""Many intervals side by side: how many would mislead by chance, and a band that holds for all of them at once.

The simultaneous band is `mean +- q sd`, with q the quantile over joint draws of `max over rows of |draw - mean| / sd`
(Montiel Olea and Plagborg-Moller 2019, sup-t band). It respects the dependence between the rows; q is never below the
pointwise one, so the band is never narrower than it for a normal law.
"""

from __future__ import annotations

import numpy as np

from divergence.estimate import INTERVAL


def simultaneous(draws: np.ndarray, probability: float = INTERVAL) -> np.ndarray:
    """Limits, shape (R, 2), that hold for all R rows of draws (D, R) at once; NaN where a row is not identified."""
    limits = np.full((draws.shape[1], 2), np.nan)
    known = np.isfinite(draws).all(axis=0)
    if not known.any():
        return limits
    values = draws[:, known]
    mean, sd = values.mean(axis=0), values.std(axis=0)
    moving = sd > 0
    reach = 0.0
    if moving.any():
        distance = np.abs(values[:, moving] - mean[moving]) / sd[moving]
        reach = float(np.quantile(distance.max(axis=1), probability))
    limits[known] = np.stack([mean - reach * sd, mean + reach * sd], axis=1)
    return limits


def expected_false(rows: int, probability: float = INTERVAL) -> float:
    """How many of `rows` pointwise intervals are expected to exclude the truth by chance alone."""
    return rows * (1 - probability)
