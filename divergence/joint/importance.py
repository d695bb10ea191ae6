"""Adaptive importance sampling from the posterior mode: seconds where textbook NUTS takes minutes.

The mode of the coordinates, a Student-t proposal with the inverse Hessian as its shape, then rounds in which the
proposal takes the weighted mean and covariance of all draws so far. All rounds count, each weighted by the mixture of
the proposals (adaptive multiple importance sampling, Cornuet, Marin, Mira and Robert 2012); weights are Pareto-smoothed
and their k-hat is the gate (Vehtari et al. 2024).
"""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
import scipy.optimize
from scipy.special import gammaln, logsumexp

from divergence.joint.methods import EFFECTIVE_DRAWS_MIN, K_HAT_MAX, NEWTON_STEP_MAX, Diagnostic, Sample
from divergence.joint.pareto import smoothed_weights

FREEDOM = 10.0  # of the Student-t proposals: the target has the normal tails of its prior
GOOD_ENOUGH = 0.75  # share of the k-hat gate at which adaptation stops: room for the estimate's own noise
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
                                len(data["widths"]) + 3, np.random.default_rng(np.random.SeedSequence([seed, 1])))

    def _sample(self, density, gradient, dims: int, rng: np.random.Generator) -> Sample:
        mode, shape, newton = _mode(gradient, dims)
        points, densities, proposals = np.empty((0, dims)), np.empty(0), []
        centre, root = mode, np.linalg.cholesky(INFLATION * shape)
        for turn in range(self.rounds[1]):
            proposals.append((centre, root))
            normal = rng.standard_normal((self.proposals, dims))
            scale = np.sqrt(FREEDOM / rng.chisquare(FREEDOM, self.proposals))
            fresh = centre + scale[:, None] * normal @ root.T
            points = np.concatenate([points, fresh])
            densities = np.concatenate([densities, density(fresh)])
            log_weight = densities - _mixture(points, proposals)
            weight, k_hat = smoothed_weights(log_weight)
            if turn + 1 >= self.rounds[0] and k_hat < GOOD_ENOUGH * K_HAT_MAX and 1 / (weight**2).sum() > self.draws / 2:
                break
            centre = weight @ points
            offset = points - centre
            spread = (weight[:, None] * offset).T @ offset
            root = np.linalg.cholesky(1.1 * spread + 1e-6 * np.eye(dims))
        effective = 1 / (weight**2).sum()
        picks = np.searchsorted(np.cumsum(weight), (np.arange(self.draws) + rng.random()) / self.draws)
        x = rng.permutation(points[np.minimum(picks, len(points) - 1)])
        return Sample(x, _gates(k_hat, effective, newton), "arm-level, importance sampling")


def find_mode(data: dict[str, np.ndarray]) -> np.ndarray:
    """The posterior mode of the coordinates, shape (dims,)."""
    import jax

    with jax.enable_x64(True):
        _, gradient = _compiled()
        moved = {k: jax.numpy.asarray(v) for k, v in data.items()}
        return _climb(lambda x: tuple(np.asarray(v) for v in gradient(x, moved)), len(data["widths"]) + 3)


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


def _mixture(points: np.ndarray, proposals: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Log density of the equal mixture of the Student-t proposals."""
    dims = points.shape[1]
    constant = gammaln((FREEDOM + dims) / 2) - gammaln(FREEDOM / 2) - dims / 2 * np.log(FREEDOM * np.pi)
    parts = []
    for centre, root in proposals:
        z = np.linalg.solve(root, (points - centre).T)
        parts.append(constant - np.log(np.diag(root)).sum()
                     - (FREEDOM + dims) / 2 * np.log1p((z**2).sum(0) / FREEDOM))
    return logsumexp(parts, axis=0) - np.log(len(proposals))

