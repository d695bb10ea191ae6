"""The sampled coordinates: standard deviations and a correlation, each on the scale where its prior is standard normal.

`x ~ N(0, 1)`; `sd = width * HalfNormal quantile of Phi(x)`: a standard deviation near zero lies at a modest negative x
instead of at minus infinity. The NumPy twins of the functions in `model`, with their slopes.
"""

from __future__ import annotations

import dataclasses

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


@dataclasses.dataclass(frozen=True)
class Layout:
    """Which coordinate is what, and the variances that it makes: one order for every density.

    Coordinates: theta_E, theta_D, their correlation, the free terms, then levels and models with scales of their own (before
    the models' own: the spread of these). Variances: theta_E, theta_D, their covariance, the free terms, levels, models.
    """

    ability: float
    """Prior width of both standard deviations of theta."""
    widths: np.ndarray
    """Prior widths of the free terms, shape (T,)."""
    outlier: float = 0.0
    """Sd of the log of a level's own scale."""
    levels: int = 0
    """Levels with scales of their own, in the first of the free terms."""
    models: int = 0
    """Models with scales of their own."""
    own_term: int = 0
    """The free term in which they have them."""
    instability: float = 0.0
    """Prior width of the sd of the log of these scales."""

    @property
    def dims(self) -> int:
        """Number of coordinates."""
        return self.count + (self.models > 0)

    @property
    def count(self) -> int:
        """Number of variances."""
        return 3 + len(self.widths) + self.levels + self.models

    def variances(self, x: np.ndarray) -> np.ndarray:
        """`s_k` at points x (n, dims), shape (n, count)."""
        terms = len(self.widths)
        sigma = half_normal(x[:, :2], self.ability)
        sd = half_normal(x[:, 3 : 3 + terms], self.widths)
        cross = correlation(x[:, 2]) * sigma[:, 0] * sigma[:, 1]
        first = self.count - self.models
        own = sd[:, :1] ** 2 * np.exp(2 * self.outlier * np.minimum(x[:, 3 + terms : first], X_MAX))
        parts = [sigma**2, cross[:, None], sd**2, own]
        if self.models:
            spread = half_normal(x[:, first : first + 1], self.instability)
            unstable = np.exp(2 * spread * np.minimum(x[:, first + 1 :], X_MAX))
            parts.append(sd[:, self.own_term, None] ** 2 * unstable)
        return np.concatenate(parts, axis=1)

    def slope(self, x: np.ndarray, s: np.ndarray, by_variance: np.ndarray) -> np.ndarray:
        """Gradient by the coordinates of `f(s(x)) - x x / 2` at one point, from `df / ds_k`, shape (dims,)."""
        terms = len(self.widths)
        sigma, rho = half_normal(x[:2], self.ability), correlation(x[2])
        slope = half_normal_slope(x[:2], self.ability)
        out = -x.copy()
        out[:2] += slope * (2 * sigma * by_variance[:2] + rho * sigma[::-1] * by_variance[2])
        out[2] += correlation_slope(x[2]) * sigma[0] * sigma[1] * by_variance[2]
        sd = half_normal(x[3 : 3 + terms], self.widths)
        per_sd = 2 * half_normal_slope(x[3 : 3 + terms], self.widths)  # of s, once times sd: sd itself may round to 0
        first = self.count - self.models
        own = s[3 + terms : first] * by_variance[3 + terms : first]
        out[3 : 3 + terms] += per_sd * sd * by_variance[3 : 3 + terms]
        wide = np.exp(2 * self.outlier * np.minimum(x[3 + terms : first], X_MAX))
        out[3:4] += per_sd[:1] * sd[:1] * (wide @ by_variance[3 + terms : first])
        out[3 + terms : first] += 2 * self.outlier * own
        if self.models:
            k, spread, z = self.own_term, half_normal(x[first], self.instability), np.minimum(x[first + 1 :], X_MAX)
            out[3 + k] += per_sd[k] * sd[k] * (np.exp(2 * spread * z) @ by_variance[first:])
            unstable = s[first:] * by_variance[first:]
            out[first] += 2 * half_normal_slope(x[first], self.instability) * (z @ unstable)
            out[first + 1 :] += 2 * spread * unstable
        return out
