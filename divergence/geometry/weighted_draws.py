"""Draws from a posterior of a few parameters: its mode, a Student t fitted to it, importance weights.

The proposal starts as the Laplace approximation at the mode and takes mean and covariance of the weighted draws twice
(adaptive importance sampling, Cappe et al. 2004); the largest weights are truncated (Ionides 2008). The Hessian is
central differences, all points in one call.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

FREEDOM = 7.0  # tails heavier than the normal's
ROUNDS = 3
PROPOSALS = 2  # proposals a draw
FIRST = 500  # proposals of a round that only fits the proposal

Density = Callable[[np.ndarray], np.ndarray]


def mode_of(climbed: Callable[[np.ndarray], tuple[float, np.ndarray]], start: np.ndarray) -> np.ndarray:
    """The mode (P,) uphill of `start`; `climbed` maps a point to its log density and the slope there (P,)."""
    from scipy.optimize import minimize

    def downhill(point: np.ndarray) -> tuple[float, np.ndarray]:
        value, slope = climbed(point)
        return -value, -slope

    return minimize(downhill, start, jac=True, method="L-BFGS-B", options={"maxiter": 200}).x


def posterior_draws(log_density: Density, mode: np.ndarray, draws: int, seed: int = 0) -> tuple[np.ndarray, float]:
    """(draws, P) resampled draws and the effective draws of their weights."""
    mean, covariance = mode, laplace(log_density, mode)
    generator = np.random.default_rng(seed)
    last = max(PROPOSALS * draws, FIRST)
    for proposals in (*[FIRST] * (ROUNDS - 1), last):
        points, weight = weighted(log_density, mean, covariance, proposals, generator)
        mean = weight @ points
        off = points - mean
        covariance = (off * weight[:, None]).T @ off + 1e-8 * np.eye(len(mean))
    chosen = generator.choice(last, draws, p=weight)
    return points[chosen], float(1 / (weight**2).sum())


def weighted(
    log_density: Density, mean: np.ndarray, covariance: np.ndarray, number: int, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Points of a Student t and their truncated weights."""
    root = np.linalg.cholesky(covariance)
    normal = generator.standard_normal((number, len(mean)))
    chi = generator.chisquare(FREEDOM, number) / FREEDOM
    points = mean + (normal / np.sqrt(chi)[:, None]) @ root.T
    squared = (normal**2).sum(1) / chi
    log = log_density(points) + (FREEDOM + len(mean)) / 2 * np.log1p(squared / FREEDOM)
    weight = np.exp(np.where(np.isfinite(log), log, -np.inf) - np.nanmax(log))
    weight = np.minimum(weight, weight.mean() * np.sqrt(number))
    return points, weight / weight.sum()


def laplace(log_density: Density, mode: np.ndarray, step: float = 0.05) -> np.ndarray:
    """Inverse of the negative Hessian at the mode, its eigenvalues held in a range that a proposal can use."""
    values, vectors = np.linalg.eigh(hessian(log_density, mode, step))
    return (vectors / np.clip(values, 0.25, 1e8)) @ vectors.T


def hessian(log_density: Density, mode: np.ndarray, step: float) -> np.ndarray:
    """Negative Hessian by central differences, (P, P)."""
    p = len(mode)
    eye = step * np.eye(p)
    pairs = [(i, j) for i in range(p) for j in range(i, p)]
    points = np.array([mode + a * eye[i] + b * eye[j] for i, j in pairs for a, b in ((1, 1), (1, -1), (-1, 1), (-1, -1))])
    value = log_density(points).reshape(-1, 4)
    found = np.zeros((p, p))
    for (i, j), (both, first, second, neither) in zip(pairs, value, strict=True):
        found[i, j] = found[j, i] = -(both - first - second + neither) / (4 * step**2)
    return found
