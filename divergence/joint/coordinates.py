"""The sampled coordinates: standard deviations and a correlation, each on the scale where its prior is standard normal.

`x ~ N(0, 1)`; `sd = width * HalfNormal quantile of Phi(x)`: a standard deviation near zero lies at a modest negative x
instead of at minus infinity. The NumPy twins of the functions in `model`, with their slopes.
"""

from __future__ import annotations

import numpy as np
from scipy.special import ndtr, ndtri

X_MAX = 8.0  # standard deviations stay finite, and systems solvable; the prior density beyond is below exp(-32) of its peak


def half_normal(x: np.ndarray, width: float | np.ndarray) -> np.ndarray:
    """The half-normal quantile with the standard normal probability of x; half_normal(0, 1) = 0.6744898."""
    return -width * ndtri(0.5 * ndtr(-np.minimum(x, X_MAX)))


def half_normal_slope(x: np.ndarray, width: float | np.ndarray) -> np.ndarray:
    """Its derivative; half_normal_slope(0, 1) = 0.6276812."""
    return width * 0.5 * np.exp(0.5 * (half_normal(x, 1.0) ** 2 - x**2))  # phi(x) / phi(sd / width)


def correlation(x: np.ndarray) -> np.ndarray:
    """cos(pi u^2) with u the probability that a standard normal exceeds x; see `numpyro_model.correlation`."""
    return np.cos(np.pi * ndtr(-x) ** 2)


def correlation_slope(x: np.ndarray) -> np.ndarray:
    """Its derivative; correlation_slope(0) = 0.8862269."""
    u = ndtr(-x)
    return np.sin(np.pi * u**2) * 2 * np.pi * u * np.exp(-0.5 * x**2) / np.sqrt(2 * np.pi)
