"""One dense kernel over items x arms: the item-response likelihood with item difficulties integrated out.

    y_ai ~ Binomial(n_ai, expit(mu_a - sigma z_i)),    z_i ~ N(0, 1)

Given the arms and sigma, items are independent of each other: each difficulty is found by Newton steps (its posterior is
log-concave) and integrated by Gauss-Hermite nodes around it, all items at once. With nodes that follow the mode the
integral is exact to rounding, so its score and Hessian are posterior moments (Louis 1982) and need no automatic
differentiation. Of few items and arms NumPy adds it up; of more, JAX: the item axis is sharded over whatever devices there
are, and shapes are padded, so that a second log of similar size compiles nothing. A padded item was never tried: it adds
nothing to any sum.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Callable

import numpy as np
from scipy.special import expit, logsumexp

from divergence.joint.compilations import kept_compilations

NODES = 25  # around the mode: the error of the log likelihood of an item is below 1e-7 for sigma = 2, 1e-3 for 5
NEWTON_STEPS = 12  # to an item's mode, each at most STEP_MAX
STEP_MAX = 2.0
ITEM_BUCKET, ARM_BUCKET = 64, 8
# Items x arms up to which the host adds up: it takes as long as JAX's kernel does on one core (.1 s a pass of 800 items x 80
# arms), which takes 2 s before that to be imported and compiled. Beyond, its nodes take more than 100 MB.
HOST_CELLS_MAX = 2**17


@dataclasses.dataclass(frozen=True)
class ItemSums:
    """What one pass over the items gives at given arms and sigma; parameters are (mu, log sigma), P = A + 1."""

    log_likelihood: float
    """Of all items."""
    score: np.ndarray
    """Of each item, shape (I, P)."""
    information: np.ndarray
    """Minus the Hessian of the log likelihood, shape (P, P)."""
    probability: np.ndarray
    """Posterior mean of each item's success in each arm, tried there or not, shape (I, A)."""
    noise: np.ndarray
    """Posterior mean of the variance of one answer, shape (I, A)."""
    slope: np.ndarray
    """Derivative of the weighted sums of `probability` by the parameters, shape (A, P)."""


def sums_for(cells: int) -> tuple[Callable[..., ItemSums], contextlib.AbstractContextManager]:
    """What adds up so many cells (items x arms), and what to hold open around all of its calls."""
    if cells <= HOST_CELLS_MAX:
        return sum_items_on_host, contextlib.nullcontext()
    return sum_items, kept_compilations()


def sum_items(mu: np.ndarray, log_sigma: float, n: np.ndarray, y: np.ndarray, law: np.ndarray, devices=None) -> ItemSums:
    """The sums at `mu` (A,), for trials `n` and successes `y` (I, A); `law` (I, A) weighs items for `slope`.

    `devices` are the JAX devices that share the items; None = all of them.
    """
    import jax
    from jax.sharding import Mesh, NamedSharding
    from jax.sharding import PartitionSpec as Axes

    devices = devices or jax.devices()
    items, arms = n.shape
    unit = int(np.lcm(ITEM_BUCKET, len(devices)))
    rows, columns = -(-items // unit) * unit - items, -(-arms // ARM_BUCKET) * ARM_BUCKET - arms
    mesh = Mesh(np.array(devices), ("items",))
    with jax.enable_x64(True):
        by_item, whole = NamedSharding(mesh, Axes("items", None)), NamedSharding(mesh, Axes())
        dense = [jax.device_put(np.pad(v.astype(float), ((0, rows), (0, columns))), by_item) for v in (n, y, law)]
        arm = jax.device_put(np.pad(mu.astype(float), (0, columns)), whole)
        out = [np.asarray(v) for v in _kernel()(arm, jax.device_put(np.float64(log_sigma), whole), *dense)]
    keep = np.r_[0:arms, arms + columns]
    return ItemSums(
        float(out[0]),
        out[1][:items][:, keep],
        out[2][np.ix_(keep, keep)],
        out[3][:items, :arms],
        out[4][:items, :arms],
        out[5][:arms][:, keep],
    )


def sum_items_on_host(mu: np.ndarray, log_sigma: float, n: np.ndarray, y: np.ndarray, law: np.ndarray) -> ItemSums:
    """What `sum_items` gives, in NumPy: nothing is compiled, and nothing is to be imported."""
    n, y, sigma, z = n.astype(float), y.astype(float), float(np.exp(log_sigma)), np.zeros(len(n))
    for _ in range(NEWTON_STEPS):
        z = z + _newton_step(np, expit, z, mu, sigma, n, y)
    found = _sums(np, expit, logsumexp, z, mu, sigma, n, y, law)
    return ItemSums(float(found[0]), *(np.asarray(each) for each in found[1:]))


@functools.cache
def _kernel():
    import jax
    import jax.numpy as jnp

    def kernel(mu, log_sigma, n, y, law):
        sigma = jnp.exp(log_sigma)

        def step(z, _):
            return z + _newton_step(jnp, jax.nn.sigmoid, z, mu, sigma, n, y), None

        z, _ = jax.lax.scan(step, jnp.zeros(n.shape[0]), None, length=NEWTON_STEPS)
        return _sums(jnp, jax.nn.sigmoid, jax.scipy.special.logsumexp, z, mu, sigma, n, y, law)

    return jax.jit(kernel)


def _newton_step(xp, expit, z, mu, sigma, n, y):
    """From difficulties z (I,) towards their modes; `xp` is NumPy or JAX's."""
    p = expit(mu - sigma * z[:, None])
    slope = -sigma * (y - n * p).sum(1) - z
    return xp.clip(slope / (1 + sigma**2 * (n * p * (1 - p)).sum(1)), -STEP_MAX, STEP_MAX)


def _sums(xp, expit, logsumexp, z, mu, sigma, n, y, law):
    """The fields of `ItemSums`, given the items' modes z (I,)."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(NODES)
    log_weights = np.log(weights) - 0.5 * np.log(2 * np.pi) + 0.5 * nodes**2
    p = expit(mu - sigma * z[:, None])
    width = 1 / xp.sqrt(1 + sigma**2 * (n * p * (1 - p)).sum(1))
    z = z[:, None] + width[:, None] * nodes  # (I, Q)
    eta = mu - sigma * z[:, :, None]  # (I, Q, A)
    log_like = (y[:, None] * eta - n[:, None] * xp.logaddexp(0.0, eta)).sum(2) - 0.5 * z**2
    log_mass = log_like + log_weights + xp.log(width)[:, None]
    marginal = logsumexp(log_mass, axis=1)
    mass = xp.exp(log_mass - marginal[:, None])
    p = expit(eta)
    variance = p * (1 - p)
    lever = -sigma * z  # d eta / d log sigma
    left = y[:, None] - n[:, None] * p
    score = xp.concatenate([left, (lever * left.sum(2))[:, :, None]], 2)  # (I, Q, P)
    mean = xp.einsum("iq,iqp->ip", mass, score)
    spread = xp.sqrt(mass)[:, :, None] * (score - mean[:, None])
    weighted = mass[:, :, None] * n[:, None] * variance
    cross = xp.einsum("iq,iqa->a", lever, weighted)[:, None]
    corner = ((lever**2)[:, :, None] * weighted).sum() - (mass * lever * left.sum(2)).sum()
    told = xp.block([[xp.diag(weighted.sum((0, 1))), cross], [cross.T, corner]])
    information = told - xp.tensordot(spread, spread, ((0, 1), (0, 1)))
    probability, noise = xp.einsum("iq,iqa->ia", mass, p), xp.einsum("iq,iqa->ia", mass, variance)
    moved = xp.sqrt(mass)[:, :, None] * (p - probability[:, None]) * law[:, None]
    by_sigma = (law * xp.einsum("iq,iqa->ia", mass * lever, variance)).sum(0)[:, None]
    slope = xp.concatenate([xp.diag((law * noise).sum(0)), by_sigma], 1)
    slope = slope + xp.tensordot(moved, spread, ((0, 1), (0, 1)))
    return marginal.sum(), mean, information, probability, noise, slope
