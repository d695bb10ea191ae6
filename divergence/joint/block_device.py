"""The density of `block_hierarchy` on whatever devices JAX has: the same identity, one compiled function a shape.

    log p(x) = -x x / 2 - sum_m log det L_m - log det chol C - (v' D^-1 v - h' R C^-1 R h) / 2

One proposal's density is written for its variances s; `vmap` makes it one of many, and models are dealt out to the devices
of a `Mesh`: each adds up its models' Gram matrices and log determinants, and only these p x p sums travel. The matrices are
put on the devices once and stay there; a batch sends its variances and brings back a number a point. Double precision
throughout. The host's density and this one are each other's oracle: a test holds them together.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import numpy as np

from divergence.joint.block_hierarchy import BlockHierarchy
from divergence.joint.blocks import UNROLLED_MAX
from divergence.joint.compilations import kept_compilations
from divergence.joint.hierarchy import Hierarchy

STACK_BYTES = 2**28  # of a stack of points on an accelerator; on the host's cores what their caches hold, as there
HOST_BYTES = 2**24
MODELS = "models"  # the axis of the mesh


@dataclasses.dataclass(frozen=True)
class DeviceHierarchy:
    """`BlockHierarchy`, its densities of many points computed on devices; make it with `DeviceHierarchy.of`."""

    host: BlockHierarchy
    """The same density on the host: of one point (the mode and the curvature there) it is as fast, and exact to the bit."""
    mesh: Any
    """The devices that share the models."""
    arrays: tuple[dict[str, Any], ...]
    """The matrices of each bucket, resident on the devices, models first."""
    shared: dict[str, Any]
    """What every device holds."""

    @classmethod
    def of(cls, host: BlockHierarchy, devices: Any = None) -> DeviceHierarchy:
        """Puts the matrices of a density on JAX `devices`; None = all there are."""
        import jax
        from jax.sharding import Mesh, NamedSharding, PartitionSpec

        devices = devices or jax.devices()
        mesh = Mesh(np.array(devices), (MODELS,))
        with jax.enable_x64(True):
            whole = NamedSharding(mesh, PartitionSpec())
            parts = tuple(
                {
                    name: jax.device_put(value, NamedSharding(mesh, PartitionSpec(*_axes(name))))
                    for name, value in _models_first(host, b, len(devices)).items()
                }
                for b in range(len(host.parts))
            )
            shared = {"inner": host.inner, "variance": host.shared.variance}
            return cls(host, mesh, parts, {name: jax.device_put(value, whole) for name, value in shared.items()})

    @property
    def dims(self) -> int:
        """Number of coordinates."""
        return self.host.dims

    def gradient(self, x: np.ndarray) -> tuple[float, np.ndarray]:
        """Log density and its gradient at one point x (dims,): the host's."""
        return self.host.gradient(x)

    def curvature(self, x: np.ndarray) -> np.ndarray:
        """Minus the Hessian at one point, shape (dims, dims): the host's."""
        return self.host.curvature(x)

    def density(self, x: np.ndarray) -> np.ndarray:
        """Log density at points x (n, dims), up to a constant, shape (n,); in stacks of one size: one is compiled."""
        import jax

        step, found = self.step, []
        with jax.enable_x64(True), kept_compilations():
            for begin in range(0, len(x), step):
                s = self.host.variances(x[begin : begin + step])
                s = np.concatenate([s, np.repeat(s[-1:], step - len(s), 0)])
                found.append(_marginal(self.mesh)(s, self.arrays, self.shared))  # not waited for: the next is being made
            marginal = np.concatenate([np.zeros(0), *map(np.asarray, found)])[: len(x)]
        return marginal - 0.5 * np.square(x).sum(1)

    def by_variance(self, s: np.ndarray) -> np.ndarray:
        """Derivative of the log density of the levels by the variances s (count,), by automatic differentiation."""
        import jax

        with jax.enable_x64(True):

            def one(s):
                return _marginal(self.mesh)(s[None], self.arrays, self.shared)[0]

            return np.asarray(jax.grad(one)(s))

    @property
    def step(self) -> int:
        """Points of a stack: a power of two, so that logs of about the same size have the same."""
        accelerated = self.mesh.devices.flat[0].platform != "cpu"
        width = len(self.host.shared.variance) + 1
        each = sum(p.bucket.arms.size * (len(p.bucket.arms) * 2 + width * 2) for p in self.host.parts)
        most = (STACK_BYTES if accelerated else HOST_BYTES) / (8 * (each / self.mesh.devices.size + width**2))
        return 2 ** int(np.clip(np.log2(max(most, 1)), 3, 10))


def on_device(target: Hierarchy | BlockHierarchy, device: str) -> Hierarchy | BlockHierarchy | DeviceHierarchy:
    """The rule of which path is taken: the host's, unless `device` is `jax` and the density is one of blocks.

    On a CPU the first call of the other takes longer than it saves in a fit; no accelerator was measured yet
    (`benchmarks/device.md`). A path chosen by the clock would give other bytes from run to run.
    """
    return DeviceHierarchy.of(target) if device == "jax" and isinstance(target, BlockHierarchy) else target


def _axes(name: str) -> tuple[str | None, ...]:
    return (None, MODELS) if name == "products" else (MODELS,)


def _models_first(host: BlockHierarchy, bucket: int, devices: int) -> dict[str, np.ndarray]:
    """A bucket's matrices with models first, and as many models as every device gets the same number of.

    Models that fill up have independent arms of variance 1 at their mean: they add nothing to any sum.
    """
    part, layout = host.parts[bucket], host.layout
    size, models = part.bucket.arms.shape
    more = -models % devices

    def filled(value: np.ndarray, axis: int = 0) -> np.ndarray:
        return np.pad(value, [(0, more if k == axis else 0) for k in range(value.ndim)])

    noise = filled(np.moveaxis(part.noise + part.fixed, 2, 0))
    noise[models:] = np.eye(size)
    products = np.moveaxis(part.products.reshape(-1, size, size, models), 3, 1)
    own = np.moveaxis(part.own, 2, 0) if layout.models else np.zeros((models, size, size))
    first = layout.own_models.start if layout.models else 0
    right = np.concatenate([part.columns, part.bucket.take(host.value)[:, :, None]], 2).swapaxes(0, 1)
    return {
        "noise": noise,
        "products": filled(products, 1),
        "own": filled(own),
        "scale": filled(first + part.bucket.models if layout.models else np.zeros(models, int)),
        "right": filled(right),
    }


@functools.lru_cache(maxsize=8)
def _marginal(mesh: Any):
    """The compiled log density of the levels at variances (n, count), for devices of a mesh."""
    import jax
    from jax.sharding import PartitionSpec

    def on_one(s, arrays, shared):
        return jax.vmap(functools.partial(_at, arrays=arrays, shared=shared))(s)

    def sharded(s, arrays, shared):
        specs = tuple({name: PartitionSpec(*_axes(name)) for name in part} for part in arrays)
        everywhere = PartitionSpec()
        return jax.shard_map(
            on_one, mesh=mesh, in_specs=(everywhere, specs, dict.fromkeys(shared, everywhere)), out_specs=everywhere
        )(s, arrays, shared)

    return jax.jit(sharded)


def _at(s: Any, arrays: Any, shared: Any) -> Any:
    """The log density at one point's variances; each device sees its own models."""
    import jax
    import jax.numpy as jnp

    width = shared["variance"].shape[0] + 1
    gram, log = jnp.zeros((width, width)), jnp.zeros(())
    for part in arrays:
        blocks = part["noise"] + jnp.tensordot(s[shared["inner"]], part["products"], 1)
        blocks += s[part["scale"]][:, None, None] * part["own"]
        solved, half = _whitened(blocks, part["right"])
        gram += jnp.einsum("mkp,mkq->pq", solved, solved)
        log += half
    gram, log = jax.lax.psum((gram, log), MODELS)
    known = shared["variance"] >= 0
    root = jnp.sqrt(jnp.where(known, s[jnp.maximum(shared["variance"], 0)], 1.0))
    inner = jnp.linalg.cholesky(root[:, None] * gram[:-1, :-1] * root + jnp.eye(width - 1))
    pulled = jax.scipy.linalg.solve_triangular(inner, root * gram[:-1, -1], lower=True)
    log += jnp.log(jnp.diag(inner)).sum()
    return -log - 0.5 * (gram[-1, -1] - pulled @ pulled)


def _whitened(blocks: Any, right: Any) -> tuple[Any, Any]:
    """`L^-1 B` of every model (M, K, q), and half the sum of their log determinants.

    Small blocks are written out, a step over all models at once, which a compiler makes one loop of; others go to LAPACK.
    """
    import jax
    import jax.numpy as jnp

    size = blocks.shape[1]
    if size > UNROLLED_MAX:
        low = jnp.linalg.cholesky(blocks)
        solved = jax.lax.linalg.triangular_solve(low, right, left_side=True, lower=True)
        return solved, jnp.log(jnp.diagonal(low, axis1=1, axis2=2)).sum()
    low, rows, log = {}, [], jnp.zeros(())
    for i in range(size):
        for j in range(i + 1):
            total = blocks[:, i, j] - sum(low[i, k] * low[j, k] for k in range(j))
            low[i, j] = jnp.sqrt(total) if i == j else total / low[j, j]
        row = right[:, i] - sum(low[i, k][:, None] * rows[k] for k in range(i))
        rows.append(row / low[i, i][:, None])
        log += jnp.log(low[i, i]).sum()
    return jnp.stack(rows, 1), log
