"""The sampled coordinates: standard deviations, a ratio and a correlation, each where its prior is standard normal.

`x ~ N(0, 1)`; `sd = width * HalfNormal quantile of Phi(x)`: a standard deviation near zero lies at a modest negative x
instead of at minus infinity. Models that differ on the bench differ in deployment: theta_D has the standard deviation of
theta_E times a ratio near 1. The NumPy twins of the functions in `numpyro_model`, with their slopes.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy.special import ndtr, ndtri

ABILITIES = 3  # coordinates of theta: its two standard deviations and their correlation; as many variances
RATIO, RATIO_X_MAX = 0.2, 4.0  # of the standard deviations of theta, see `ratio`
X_MAX = 8.0  # standard deviations stay finite, and systems solvable; the prior density beyond is below exp(-32) of its peak

OWN_MAX = (
    7.0  # log of a level's or a model's own scale: a thousand times the others' is beyond what any log tells apart; more
)
# would leave nothing of the noise beside it in double precision, where arms share it


def half_normal(x: np.ndarray, width: float | np.ndarray) -> np.ndarray:
    """The half-normal quantile with the standard normal probability of x; half_normal(0, 1) = 0.6744898."""
    return -width * ndtri(0.5 * ndtr(-np.minimum(x, X_MAX)))


def half_normal_slope(x: np.ndarray, width: float | np.ndarray) -> np.ndarray:
    """Its derivative; half_normal_slope(0, 1) = 0.6276812."""
    return width * 0.5 * np.exp(0.5 * (half_normal(x, 1.0) ** 2 - x**2))  # phi(x) / phi(sd / width)


def ratio(x: np.ndarray) -> np.ndarray:
    """exp(.2 sinh(x)), x held within 4: with the probability .5 within .86 and 1.16, .9 within .6 and 1.65, at most 235."""
    return np.exp(RATIO * np.sinh(_held(x)))


def ratio_slope(x: np.ndarray) -> np.ndarray:
    """Its derivative; ratio_slope(0) = 0.2."""
    return np.where(np.abs(x) < RATIO_X_MAX, ratio(x) * RATIO * np.cosh(_held(x)), 0.0)


def _held(x: np.ndarray) -> np.ndarray:
    """Within what `ratio` goes to; of single numbers `np.clip` takes three times as long."""
    return np.minimum(np.maximum(x, -RATIO_X_MAX), RATIO_X_MAX)


def abilities(x: np.ndarray, width: float) -> np.ndarray:
    """The standard deviations of theta_E and theta_D from their coordinates (..., 2), same shape."""
    first = half_normal(x[..., 0], width)
    return np.stack([first, first * ratio(x[..., 1])], axis=-1)


def correlation(x: np.ndarray) -> np.ndarray:
    """cos(pi u^3) with u the probability that a standard normal exceeds x; see `numpyro_model.correlation`."""
    return np.cos(np.pi * ndtr(-x) ** 3)


def correlation_slope(x: np.ndarray) -> np.ndarray:
    """Its derivative; correlation_slope(0) = 0.3597479."""
    u = ndtr(-x)
    return np.sin(np.pi * u**3) * 3 * np.pi * u**2 * np.exp(-0.5 * x**2) / np.sqrt(2 * np.pi)


@dataclasses.dataclass(frozen=True)
class Layout:
    """Which coordinate is what, and the variances that it makes: one order for every density.

    Coordinates: theta_E, the ratio of theta_D to it, their correlation, the free terms, then levels and models with scales
    of their own (before the models' own: the spread of these). Variances: theta_E, theta_D, their covariance, the free
    terms, levels, models.
    """

    ability: float
    """Prior width of the standard deviation of theta_E."""
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
        return ABILITIES + len(self.widths) + self.levels + self.models

    def term(self, k: int) -> int:
        """Coordinate, and variance, of the free term k."""
        return ABILITIES + k

    @property
    def terms(self) -> slice:
        """Coordinates, and variances, of the free terms."""
        return slice(ABILITIES, self.term(len(self.widths)))

    @property
    def own_levels(self) -> slice:
        """Those of the levels with scales of their own."""
        return slice(self.terms.stop, self.terms.stop + self.levels)

    @property
    def own_models(self) -> slice:
        """Variances of the models with scales of their own."""
        return slice(self.own_levels.stop, self.count)

    @property
    def spread(self) -> int:
        """Coordinate of the spread of these models' scales."""
        return self.own_levels.stop

    @property
    def models_own(self) -> slice:
        """Coordinates of these models."""
        return slice(self.spread + 1, self.dims)

    def variances(self, x: np.ndarray) -> np.ndarray:
        """`s_k` at points x (n, dims), shape (n, count)."""
        sigma = abilities(x[:, :2], self.ability)
        sd = half_normal(x[:, self.terms], self.widths)
        cross = correlation(x[:, 2]) * sigma[:, 0] * sigma[:, 1]
        parts = [sigma**2, cross[:, None], sd**2]
        if self.levels:
            parts.append(sd[:, :1] ** 2 * np.exp(2 * np.minimum(self.outlier * x[:, self.own_levels], OWN_MAX)))
        if self.models:
            spread = half_normal(x[:, self.spread : self.spread + 1], self.instability)
            unstable = np.exp(2 * np.minimum(spread * x[:, self.models_own], OWN_MAX))
            parts.append(sd[:, self.own_term, None] ** 2 * unstable)
        return np.concatenate(parts, axis=1)

    def slope(self, x: np.ndarray, s: np.ndarray, by_variance: np.ndarray) -> np.ndarray:
        """Gradient by the coordinates of `f(s(x)) - x x / 2` at one point, from `df / ds_k`, shape (dims,)."""
        terms, levels, spread = self.terms, self.own_levels, self.spread
        sigma, rho = abilities(x[:2], self.ability), correlation(x[2])
        by_sd = 2 * sigma * by_variance[:2] + rho * sigma[::-1] * by_variance[2]
        out = -x.copy()
        out[0] += half_normal_slope(x[0], self.ability) * (by_sd[0] + ratio(x[1]) * by_sd[1])
        out[1] += sigma[0] * ratio_slope(x[1]) * by_sd[1]
        out[2] += correlation_slope(x[2]) * sigma[0] * sigma[1] * by_variance[2]
        sd = half_normal(x[terms], self.widths)
        per_sd = 2 * half_normal_slope(x[terms], self.widths)  # of s, once times sd: sd itself may round to 0
        out[terms] += per_sd * sd * by_variance[terms]
        if self.levels:
            own = np.where(self.outlier * x[levels] < OWN_MAX, s[levels] * by_variance[levels], 0.0)
            wide = np.exp(2 * np.minimum(self.outlier * x[levels], OWN_MAX))
            out[self.term(0) : self.term(1)] += per_sd[:1] * sd[:1] * (wide @ by_variance[levels])
            out[levels] += 2 * self.outlier * own
        if self.models:
            k, models = self.own_term, self.own_models
            wide, z = half_normal(x[spread], self.instability), x[self.models_own]
            out[self.term(k)] += per_sd[k] * sd[k] * (np.exp(2 * np.minimum(wide * z, OWN_MAX)) @ by_variance[models])
            unstable = np.where(wide * z < OWN_MAX, s[models] * by_variance[models], 0.0)
            out[spread] += 2 * half_normal_slope(x[spread], self.instability) * (z @ unstable)
            out[self.models_own] += 2 * wide * unstable
        return out
