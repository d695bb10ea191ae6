"""The default method for a log density of one's own: mode, curvature, adaptive importance weights, gates.

The density is a JAX function of one vector, of parameters that may take any real value (a standard deviation enters as
its logarithm, with the Jacobian), and may lack a constant. It should have one mode. The gates of the joint model apply:
look at `Sample.diagnostics` before using the draws.

    log_density = lambda x: -0.5 * ((x[0] / 2) ** 2 + (x[1] - x[0]) ** 2)
    sample_density(log_density, 2, seed=0).x.std(0)      # about 2 and sqrt(5)
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np

from divergence.errors import InputError
from divergence.joint.importance import Importance
from divergence.joint.methods import Sample

CURVATURE_MIN = 1e-8  # flatter than that is no direction of a posterior in sensible units
BATCH = 256  # points evaluated in one vectorised step


class UserDensity:
    """A compiled JAX log density as the target of importance sampling, in double precision."""

    def __init__(self, log_density: Callable) -> None:
        import jax

        self._density = jax.jit(functools.partial(jax.lax.map, log_density, batch_size=BATCH))
        self._gradient = jax.jit(jax.value_and_grad(log_density))
        self._hessian = jax.jit(jax.hessian(log_density))

    def density(self, x: np.ndarray) -> np.ndarray:
        """At points (n, dims), shape (n,); where it is undefined it is nothing."""
        value = np.asarray(self._density(x))
        return np.where(np.isnan(value), -np.inf, value)

    def gradient(self, x: np.ndarray) -> tuple[float, np.ndarray]:
        """At one point (dims,): value and gradient."""
        value, slope = self._gradient(x)
        return float(value), np.asarray(slope)

    def curvature(self, x: np.ndarray) -> np.ndarray:
        """Minus the Hessian at one point, shape (dims, dims)."""
        return -np.asarray(self._hessian(x))


def sample_density(
    log_density: Callable, dims: int, *, seed: int = 0, start: np.ndarray | None = None, method: Importance | None = None
) -> Sample:
    """Equally weighted draws from a JAX `log_density` of a vector (dims,), with the gates of the joint model.

    The mode is searched from `start` (default: zeros). Raises InputError where the density or its slope is not a number
    there.
    """
    import jax

    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise InputError(f"the seed must be a whole number from 0 on, not {seed!r}")
    begin = np.zeros(dims) if start is None else np.asarray(start, float)
    if begin.shape != (dims,):
        raise InputError(f"start has shape {begin.shape}, the density takes a vector of {dims}")
    with jax.enable_x64(True):
        target = UserDensity(log_density)
        value, slope = target.gradient(begin)
        if not np.isfinite(value) or not np.isfinite(slope).all():
            raise InputError(f"the log density is {value:g} at the start, with slope {slope}; give another start")
        x, gates = (method or Importance()).sample(target, begin, int(seed), CURVATURE_MIN)
    return Sample(x, gates, "importance sampling")
