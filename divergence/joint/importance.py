"""Adaptive importance sampling from the posterior mode: seconds where textbook NUTS takes minutes.

The mode of the coordinates, a proposal with the inverse Hessian as its shape, then rounds in which the proposal takes
centre, correlations and both half-widths of each axis from all draws so far: a standard deviation that may be zero has a
long left tail and a short right one (split proposals: Geweke 1989). All rounds count, each weighted by the mixture of the
proposals (adaptive multiple importance sampling, Cornuet, Marin, Mira and Robert 2012); weights are Pareto-smoothed and
their k-hat is the gate (Vehtari et al. 2024).
"""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
import scipy.linalg
import scipy.optimize
from scipy.special import gammaln, logsumexp

from divergence.joint.methods import EFFECTIVE_DRAWS_MIN, K_HAT_MAX, NEWTON_STEP_MAX, Diagnostic, Sample
from divergence.joint.pareto import smoothed_weights

FREEDOM = 10.0  # of the Student-t proposals: the target has the normal tails of its prior
GOOD_ENOUGH = 0.75  # share of the k-hat gate at which adaptation stops: room for the estimate's own noise
NORMAL_95 = 1.6448536  # 95 % quantile of a standard normal law
INFLATION = 2.0  # of the first proposal: standard deviations near zero make the posterior wider than its curvature


@dataclasses.dataclass(frozen=True)
class Importance:
    """The default method: rounds of proposals until the weights are good, then equally weighted draws."""

    draws: int = 2000
    """Draws kept."""
    proposals: int = 1000
    """Proposals of one round."""
    rounds: tuple[int, int] = (4, 12)
    """Least and most rounds of adaptation."""

    def __call__(self, data: dict[str, np.ndarray], seed: int) -> Sample:
        """Draw from the posterior of the coordinates given `data` (see `model.joint_model`)."""
        import jax

        with jax.enable_x64(True):
            density, gradient = _compiled()
            moved = {k: jax.numpy.asarray(v) for k, v in data.items()}
            return self._sample(lambda x: np.asarray(density(x, moved)),
                                lambda x: tuple(np.asarray(v) for v in gradient(x, moved)),
                                dimensions(data), np.random.default_rng(np.random.SeedSequence([seed, 1])))

    def _sample(self, density, gradient, dims: int, rng: np.random.Generator) -> Sample:
        mode, shape, newton = _mode(gradient, dims)
        points, densities = np.empty((0, dims)), np.empty(0)
        proposals = [Proposal(mode, np.linalg.cholesky(INFLATION * shape), np.ones(dims), np.ones(dims))]
        for turn in range(self.rounds[1]):
            fresh = proposals[-1].draw(self.proposals, rng)
            points = np.concatenate([points, fresh])
            densities = np.concatenate([densities, density(fresh)])
            mixture = logsumexp([p.log_density(points) for p in proposals], axis=0) - np.log(len(proposals))
            weight, k_hat = smoothed_weights(densities - mixture)
            good = k_hat < GOOD_ENOUGH * K_HAT_MAX and 1 / (weight**2).sum() > self.draws / 2
            if turn + 1 >= self.rounds[0] and good:
                break
            proposals.append(_adapted(points, weight))
        effective = 1 / (weight**2).sum()
        picks = np.searchsorted(np.cumsum(weight), (np.arange(self.draws) + rng.random()) / self.draws)
        x = rng.permutation(points[np.minimum(picks, len(points) - 1)])
        return Sample(x, _gates(k_hat, effective, newton), "arm-level, importance sampling")


def dimensions(data: dict[str, np.ndarray]) -> int:
    """Number of coordinates of the model."""
    return 3 + len(data["widths"]) + len(data["local"])


def find_mode(data: dict[str, np.ndarray]) -> np.ndarray:
    """The posterior mode of the coordinates, shape (dims,)."""
    import jax

    with jax.enable_x64(True):
        _, gradient = _compiled()
        moved = {k: jax.numpy.asarray(v) for k, v in data.items()}
        return _climb(lambda x: tuple(np.asarray(v) for v in gradient(x, moved)), dimensions(data))


def _gates(k_hat: float, effective: float, newton: float) -> tuple[Diagnostic, ...]:
    return (
        Diagnostic("Pareto k-hat", k_hat, K_HAT_MAX, bool(k_hat < K_HAT_MAX),
                   "the importance weights are dominated by a few draws: intervals may be wrong"),
        Diagnostic("effective draws", effective, EFFECTIVE_DRAWS_MIN, bool(effective >= EFFECTIVE_DRAWS_MIN),
                   "too few independent draws for stable interval ends"),
        Diagnostic("Newton step at the mode", newton, NEWTON_STEP_MAX, bool(newton < NEWTON_STEP_MAX),
                   "the mode search did not converge"),
    )


@functools.cache
def _compiled():
    """Density of many points and gradient at one, compiled once per shape for the whole process."""
    import jax

    from divergence.joint.model import log_density

    density = jax.jit(lambda x, data: jax.lax.map(lambda one: log_density(one, data), x, batch_size=100))
    return density, jax.jit(jax.value_and_grad(log_density))


def _climb(gradient, dims: int) -> np.ndarray:
    return scipy.optimize.minimize(
        lambda x: tuple(-v for v in gradient(x)), np.zeros(dims), jac=True, method="BFGS", options={"gtol": 1e-7}).x


def _mode(gradient, dims: int) -> tuple[np.ndarray, np.ndarray, float]:
    """Mode, inverse Hessian there (eigenvalues at most the prior's, 1, times 4), and the last Newton step's length."""
    mode = _climb(gradient, dims)
    for _ in range(5):  # Newton polish: the Hessian by central differences of the exact gradient
        step = 1e-4
        hessian = np.stack([
            (gradient(mode + step * e)[1] - gradient(mode - step * e)[1]) / (2 * step) for e in np.eye(dims)])
        values, vectors = np.linalg.eigh(-(hessian + hessian.T) / 2)
        values = np.maximum(values, 0.25)
        move = vectors @ ((vectors.T @ gradient(mode)[1]) / values)
        length = float(np.abs(move).max())
        if length < NEWTON_STEP_MAX:
            break
        mode = mode + move * min(1.0, 0.5 / length)
    return mode, (vectors / values) @ vectors.T, length


@dataclasses.dataclass(frozen=True)
class Proposal:
    """Independent Student-t axes with a half-width to either side, then correlated: x = centre + root z."""

    centre: np.ndarray
    """Where both halves meet, shape (dims,)."""
    root: np.ndarray
    """Lower triangle that correlates the axes, shape (dims, dims)."""
    low: np.ndarray
    """Half-width to the left, in units of `root`, shape (dims,)."""
    high: np.ndarray
    """Half-width to the right."""

    def draw(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """Points, shape (count, dims)."""
        z = rng.standard_t(FREEDOM, (count, len(self.centre)))
        return self.centre + np.where(z < 0, self.low * z, self.high * z) @ self.root.T

    def log_density(self, points: np.ndarray) -> np.ndarray:
        """Log density at points (n, dims), shape (n,)."""
        z = scipy.linalg.solve_triangular(self.root, (points - self.centre).T, lower=True).T
        width = np.where(z < 0, self.low, self.high)
        constant = gammaln((FREEDOM + 1) / 2) - gammaln(FREEDOM / 2) - 0.5 * np.log(FREEDOM * np.pi)
        axes = constant - np.log(width) - (FREEDOM + 1) / 2 * np.log1p((z / width) ** 2 / FREEDOM)
        return axes.sum(1) - np.log(np.diag(self.root)).sum()


def _adapted(points: np.ndarray, weight: np.ndarray) -> Proposal:
    """The proposal that weighted points ask for: medians, covariance, and half-widths from the 5 and 95 % quantiles."""
    offset = points - weight @ points
    root = np.linalg.cholesky((weight[:, None] * offset).T @ offset + 1e-6 * np.eye(points.shape[1]))
    z = scipy.linalg.solve_triangular(root, points.T, lower=True).T
    order = np.argsort(z, axis=0)
    ranked = np.take_along_axis(z, order, 0)
    mass = np.cumsum(weight[order], axis=0)
    lower, middle, upper = (ranked[(mass < q).sum(0), np.arange(z.shape[1])] for q in (0.05, 0.5, 0.95))
    widths = [np.maximum(side / NORMAL_95, 0.2) for side in (middle - lower, upper - middle)]
    return Proposal(root @ middle, root, *widths)
