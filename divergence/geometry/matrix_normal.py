"""The posterior of the scales of a matrix-normal regression, its model as `displacement_regression` writes it.

The moves Gamma are integrated out. With `S_j` a unit's covariance in direction j, D its rows of F, n units of mean m and
summed squares Q, `P_j` the precision of Gamma and `g = D E(Gamma)`,

    d log L / d S_j = -n/2 S^-1 + S^-1 (Q - n (m g' + g m' - g g')) S^-1 / 2 + n/2 S^-1 D P^-1 D' S^-1,

which is the slope by every scale, as each enters S linearly (and Gamma's prior).
"""

from __future__ import annotations

import dataclasses
import functools

import numpy as np

from divergence.geometry.weighted_draws import hessian, mode_of, posterior_draws

SCALE_SD, CENTRE_SD, COMMON = 1.5, 2.0, (np.log(0.5), 1.0)  # of the priors
REST_BELOW = 1.0  # log units that the remainder is expected below the factors: interactions are smaller than effects
REACH = 10.0  # log units about the centre, 4 sd of the priors: beyond it matrices lose their digits
CHUNK = 2**16  # numbers of one array at once: what the near cache of a core holds
STEP = 0.02  # of differences, in log units


@dataclasses.dataclass(frozen=True)
class Group:
    """Units of one model that have the same contexts."""

    design: np.ndarray
    """Their rows of F, (c, P)."""
    error: np.ndarray
    """Known error covariance by direction, (q, c, c)."""
    moves: np.ndarray
    """Displacements, (n, c, q)."""
    cluster: np.ndarray
    """Item of each unit, (n,)."""

    @functools.cached_property
    def squares(self) -> np.ndarray:
        """Products of the displacements, summed over the units, (q, c, c)."""
        return np.einsum("ucj,udj->jcd", self.moves, self.moves)

    @functools.cached_property
    def mean(self) -> np.ndarray:
        """Mean displacement, (c, q)."""
        return self.moves.mean(0)


@dataclasses.dataclass(frozen=True)
class Regression:
    """The data of the regression and its posterior density."""

    groups: tuple[Group, ...]
    """Units by model and contexts."""
    scale: np.ndarray
    """s_j, (q,), sum 1."""
    centre: float
    """Prior mean of lambda."""
    rest: bool
    """Is there a remainder?"""
    mode: np.ndarray | None = None
    """Parameters about which the likelihood is stretched."""
    stretch: np.ndarray | None = None
    """How, (size, size)."""

    @property
    def columns(self) -> int:
        """P."""
        return self.groups[0].design.shape[1]

    @property
    def size(self) -> int:
        """Parameters: log omega (P), log g, lambda, and log tau where there is a remainder."""
        return self.columns + 2 + self.rest

    def log_prior(self, theta: np.ndarray) -> np.ndarray:
        """(D,) of parameters (D, size), up to a constant."""
        p, middle = self.columns, theta[:, self.columns + 1]
        total = ((theta[:, :p] - middle[:, None]) ** 2).sum(1) / SCALE_SD**2
        total += ((theta[:, p] - COMMON[0]) / COMMON[1]) ** 2 + ((middle - self.centre) / CENTRE_SD) ** 2
        if self.rest:
            total += ((theta[:, p + 2] - middle + REST_BELOW) / SCALE_SD) ** 2
        return -total / 2

    def _prior_slope(self, theta: np.ndarray) -> np.ndarray:
        p, middle = self.columns, theta[self.columns + 1]
        off = (theta[:p] - middle) / SCALE_SD**2
        out = np.zeros(self.size)
        out[:p], out[p], out[p + 1] = -off, -(theta[p] - COMMON[0]) / COMMON[1] ** 2, off.sum()
        out[p + 1] -= (middle - self.centre) / CENTRE_SD**2
        if self.rest:
            rest = (theta[p + 2] - middle + REST_BELOW) / SCALE_SD**2
            out[p + 2] -= rest
            out[p + 1] += rest
        return out

    def covariance(self, theta: np.ndarray, group: Group) -> np.ndarray:
        """Covariance of a unit given Gamma, (D, q, c, c)."""
        omega2 = np.exp(2 * theta[:, : self.columns])
        item = (group.design * omega2[:, None]) @ group.design.T
        if self.rest:
            item = item + np.exp(2 * theta[:, self.columns + 2])[:, None, None] * np.eye(len(group.design))
        item = item[:, None] * self.scale[:, None, None]
        item += group.error
        return item

    def parts(self, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Log likelihood with Gamma integrated out (D,), and the precision (D, q, P, P) and mean (D, q, P) of Gamma."""
        step = max(1, CHUNK // (len(self.scale) * max(len(g.design) for g in self.groups) ** 2))
        chunks = [self._parts(theta[a : a + step]) for a in range(0, len(theta), step)]
        total, precision, mean = (np.concatenate(part) for part in zip(*chunks, strict=True))
        return total, precision, mean

    def _parts(self, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        p = self.columns
        theta = np.clip(theta, self.centre - REACH, self.centre + REACH)
        prior = 1 / (np.exp(2 * (theta[:, :p] + theta[:, p, None]))[:, None] * self.scale[:, None])
        precision = prior[..., None] * np.eye(p)
        linear = np.zeros((len(theta), len(self.scale), p))
        total = 0.5 * np.log(prior).sum((1, 2))
        for group in self.groups:
            inverse, logdet = _inverse(self.covariance(theta, group))
            n = len(group.moves)
            total -= 0.5 * (n * logdet + np.einsum("ajcd,jcd->aj", inverse, group.squares)).sum(1)
            weighed = group.design.T @ inverse
            precision = precision + n * weighed @ group.design
            linear = linear + n * np.einsum("ajpc,cj->ajp", weighed, group.mean)
        mean = np.linalg.solve(precision, linear[..., None])[..., 0]
        _, logdet = np.linalg.slogdet(precision)
        return total + 0.5 * (linear * mean).sum((1, 2)) - 0.5 * logdet.sum(1), precision, mean

    def log_posterior(self, theta: np.ndarray) -> np.ndarray:
        """(D,) of parameters (D, size)."""
        return self.log_prior(theta) + self.parts(self._stretched(theta))[0]

    def climbed(self, theta: np.ndarray) -> tuple[float, np.ndarray]:
        """Log posterior and its slope (size,) at one point (size,)."""
        value, found = self._climbed(self._stretched(theta))
        slope = self._prior_slope(theta) + (found if self.stretch is None else self.stretch.T @ found)
        return float(self.log_prior(theta[None])[0]) + value, slope

    def _stretched(self, theta: np.ndarray) -> np.ndarray:
        if self.mode is None or self.stretch is None:
            return theta
        return self.mode + (theta - self.mode) @ self.stretch.T

    def _climbed(self, theta: np.ndarray) -> tuple[float, np.ndarray]:
        """Log likelihood with Gamma integrated out, and its slope (size,)."""
        p, inside = self.columns, np.abs(theta - self.centre) < REACH
        theta = np.clip(theta, self.centre - REACH, self.centre + REACH)
        total, precision, mean = (part[0] for part in self._parts(theta[None]))
        spread = np.linalg.inv(precision)
        prior = 1 / (np.exp(2 * (theta[:p] + theta[p])) * self.scale[:, None])
        of_prior = (prior * (np.diagonal(spread, axis1=1, axis2=2) + mean**2) - 1).sum(0)  # by log omega g
        out = np.zeros(self.size)
        out[:p], out[p] = of_prior, of_prior.sum()
        for group in self.groups:
            (inverse,), n = _inverse(self.covariance(theta[None], group))[0], len(group.moves)
            moved = group.design @ mean[:, :, None]  # (q, c, 1)
            seen = group.mean.T[:, :, None] - moved
            left = group.squares + n * (seen * seen.swapaxes(1, 2) - group.mean.T[:, :, None] * group.mean.T[:, None])
            left = left + n * (group.design @ spread @ group.design.T)
            by_covariance = (inverse @ left @ inverse - n * inverse) * self.scale[:, None, None]
            summed = by_covariance.sum(0)
            out[:p] += np.exp(2 * theta[:p]) * ((group.design.T @ summed) * group.design.T).sum(1)
            if self.rest:
                out[p + 2] += np.exp(2 * theta[p + 2]) * np.trace(summed)
        return float(total), out * inside

    def moves(self, theta: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """Draws of Gamma given the scales, (D, q, P)."""
        _, precision, mean = self.parts(theta)
        root = np.linalg.cholesky(precision)
        normal = generator.standard_normal(mean.shape)
        return mean + np.linalg.solve(root.swapaxes(-1, -2), normal[..., None])[..., 0]

    def by_cluster(self, theta: np.ndarray, gamma: np.ndarray) -> np.ndarray:
        """Log likelihood of each cluster given Gamma (q, P), (D, clusters)."""
        value, cluster = [], []
        for group in self.groups:
            inverse, logdet = _inverse(self.covariance(theta, group))
            off = group.moves - np.einsum("cp,jp->cj", group.design, gamma)
            squares = np.stack([np.einsum("ucj,jcd,udj->u", off, of, off, optimize=True) for of in inverse])
            value.append(-0.5 * (squares + logdet.sum(1, keepdims=True)))
            cluster.append(group.cluster)
        names, where = np.unique(np.concatenate(cluster), return_inverse=True)
        total = np.zeros((len(names), len(theta)))
        np.add.at(total, where, np.concatenate(value, 1).T)
        return total.T

    def adjusted(self, mode: np.ndarray) -> Regression:
        """The regression with its likelihood stretched about the mode (size,), to the seen variance of its score."""
        p = self.size
        gamma = self.parts(mode[None])[2][0]
        eye = STEP * np.eye(p)
        value = self.by_cluster(np.concatenate([mode + eye, mode - eye]), gamma)
        score = (value[:p] - value[p:]) / (2 * STEP)
        score -= score.mean(1, keepdims=True)
        prior = np.eye(p) / SCALE_SD**2  # where the data say nothing, nothing is stretched
        seen = score @ score.T + prior
        expected = hessian(lambda theta: self.by_cluster(theta, gamma).sum(1), mode, STEP)
        values, vectors = np.linalg.eigh(expected)
        expected = (vectors * np.maximum(values, 0)) @ vectors.T + prior
        stretch = np.linalg.inv(root(expected)) @ root(expected @ np.linalg.inv(seen) @ expected)
        return dataclasses.replace(self, mode=mode, stretch=stretch)


def drawn(data: Regression, draws: int, seed: int = 0, stretched: bool = True) -> tuple[np.ndarray, Regression, float]:
    """Posterior draws of the scales, the regression with its likelihood stretched or as it is, and the effective draws."""
    start = np.full(data.size, data.centre)
    start[data.columns] = COMMON[0]
    mode = mode_of(data.climbed, start)
    if stretched:
        data = data.adjusted(mode)
    theta, effective = posterior_draws(data.log_posterior, mode_of(data.climbed, mode), draws, seed)
    return theta, data, effective


def _inverse(covariance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Inverse and log determinant of symmetric matrices (..., c, c)."""
    root = np.linalg.cholesky(covariance)
    half = np.linalg.inv(root)
    logdet = 2 * np.log(np.diagonal(root, axis1=-2, axis2=-1)).sum(-1)
    return half.swapaxes(-1, -2) @ half, logdet


def root(matrix: np.ndarray) -> np.ndarray:
    """Symmetric square root of a positive matrix."""
    values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
    return (vectors * np.sqrt(np.maximum(values, 1e-12))) @ vectors.T
