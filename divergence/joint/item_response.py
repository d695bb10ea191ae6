"""One dense kernel over items x arms: the item-response likelihood with item difficulties integrated out.

    y_ai ~ Binomial(n_ai, expit(mu_a - sigma z_i)),    z_i ~ N(0, 1)

Given the arms and sigma, items are independent of each other: each difficulty is found by Newton steps (its posterior is
log-concave) and integrated by Gauss-Hermite nodes around it, all items at once. With nodes that follow the mode the
integral is exact to rounding, so its score and Hessian are posterior moments (Louis 1982) and need no automatic
differentiation. The item axis is sharded over whatever devices there are; shapes are padded, so that a second log of
similar size compiles nothing. A padded item was never tried: it adds nothing to any sum.
"""

from __future__ import annotations

import dataclasses
import functools

import numpy as np

NODES = 15  # around the mode: the error of the log likelihood of one item is below 1e-8
NEWTON_STEPS = 12  # to an item's mode, each at most STEP_MAX
STEP_MAX = 2.0
ITEM_BUCKET, ARM_BUCKET = 64, 8


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


@functools.cache
def _kernel():
    import jax
    import jax.numpy as jnp

    nodes, weights = np.polynomial.hermite_e.hermegauss(NODES)
    log_weights = np.log(weights) - 0.5 * np.log(2 * np.pi) + 0.5 * nodes**2

    def kernel(mu, log_sigma, n, y, law):
        sigma = jnp.exp(log_sigma)

        def step(z, _):
            p = jax.nn.sigmoid(mu - sigma * z[:, None])
            slope = -sigma * (y - n * p).sum(1) - z
            move = slope / (1 + sigma**2 * (n * p * (1 - p)).sum(1))
            return z + jnp.clip(move, -STEP_MAX, STEP_MAX), None

        z, _ = jax.lax.scan(step, jnp.zeros(n.shape[0]), None, length=NEWTON_STEPS)
        p = jax.nn.sigmoid(mu - sigma * z[:, None])
        width = 1 / jnp.sqrt(1 + sigma**2 * (n * p * (1 - p)).sum(1))
        z = z[:, None] + width[:, None] * nodes  # (I, Q)
        eta = mu - sigma * z[:, :, None]  # (I, Q, A)
        log_like = (y[:, None] * eta - n[:, None] * jnp.logaddexp(0.0, eta)).sum(2) - 0.5 * z**2
        log_mass = log_like + log_weights + jnp.log(width)[:, None]
        marginal = jax.scipy.special.logsumexp(log_mass, axis=1)
        mass = jnp.exp(log_mass - marginal[:, None])
        p = jax.nn.sigmoid(eta)
        variance = p * (1 - p)
        lever = -sigma * z  # d eta / d log sigma
        left = y[:, None] - n[:, None] * p
        score = jnp.concatenate([left, (lever * left.sum(2))[:, :, None]], 2)  # (I, Q, P)
        mean = jnp.einsum("iq,iqp->ip", mass, score)
        spread = jnp.sqrt(mass)[:, :, None] * (score - mean[:, None])
        weighted = mass[:, :, None] * n[:, None] * variance
        diagonal = weighted.sum((0, 1))
        cross = jnp.einsum("iq,iqa->a", lever, weighted)
        corner = ((lever**2)[:, :, None] * weighted).sum() - (mass * lever * left.sum(2)).sum()
        information = -jnp.einsum("iqp,iqr->pr", spread, spread)
        arms = mu.shape[0]
        information = information.at[jnp.arange(arms), jnp.arange(arms)].add(diagonal)
        information = information.at[:arms, arms].add(cross).at[arms, :arms].add(cross).at[arms, arms].add(corner)
        probability, noise = jnp.einsum("iq,iqa->ia", mass, p), jnp.einsum("iq,iqa->ia", mass, variance)
        moved = jnp.sqrt(mass)[:, :, None] * (p - probability[:, None]) * law[:, None]
        slope = jnp.einsum("iqa,iqp->ap", moved, spread)
        slope = slope.at[jnp.arange(arms), jnp.arange(arms)].add((law * noise).sum(0))
        slope = slope.at[:, arms].add((law * jnp.einsum("iq,iqa->ia", mass * lever, variance)).sum(0))
        return marginal.sum(), mean, information, probability, noise, slope

    return jax.jit(kernel)
