"""The sampling noise of arm levels: as a matrix where there are few arms, as a sparse root of it where there are many.

Up to `DENSE_ARMS_MAX` arms everything that items and sessions say of the levels together is one matrix. Above it what items
say is kept as it came, an influence of each item on each level; of what sessions add, only what they add within one model:
a session is served by one model, so hardly any says anything of two.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import scipy.sparse as sp

from divergence.errors import InputError
from divergence.joint.blocks import buckets, cross_products, in_blocks
from divergence.joint.clusters import Sessions
from divergence.numerics import column_squares, nearest_psd, square_root

# Arms up to which a fit holds matrices of arms x arms. Both ways give the same density (a test compares them); a fit of 128
# arms takes as long either way, one of 510 arms 37 CPU-s as matrices and 3 in blocks.
DENSE_ARMS_MAX = 128
WAVES_BYTES = 2**30  # of the map from levels in waves to levels


@dataclasses.dataclass(frozen=True)
class ArmNoise:
    """Covariance of arm levels."""

    covariance: np.ndarray | None
    """As a matrix (A, A), where it is kept as one."""
    root: np.ndarray | sp.csr_array
    """Its root, (R, A)."""
    added: np.ndarray
    """Variance that sessions add, shape (A,)."""
    of_model: Callable[[np.ndarray], np.ndarray]
    """The covariance of the arms (K,) of one model, (K, K)."""

    @property
    def variance(self) -> np.ndarray:
        """Shape (A,)."""
        return np.diag(self.covariance) if self.covariance is not None else column_squares(self.root)


Combine = np.ndarray | sp.csr_array


def dense_noise(
    combine: Combine, influence: sp.csr_array, pooled: np.ndarray, sessions: Sessions | None, _: np.ndarray
) -> ArmNoise:
    """From the influence of items on raw levels (items, R), the variance of pooled rows (R,) and what sessions add;
    `combine` (A, R) makes levels of raw ones."""
    carried = (sp.csr_array(combine) @ influence.T).T.tocsr()
    covariance = (carried.T @ carried).toarray()
    combine = combine if isinstance(combine, np.ndarray) else combine.toarray()
    covariance += combine @ np.diag(pooled) @ combine.T
    added = np.zeros(len(covariance))
    if sessions is not None:
        excess = combine @ sessions.excess.toarray() @ combine.T
        covariance, added = nearest_psd(covariance + excess), np.maximum(np.diag(excess), 0.0)
    covariance = nearest_psd(covariance)
    return ArmNoise(covariance, square_root(covariance), added, lambda mine: covariance[np.ix_(mine, mine)])


def block_noise(
    combine: Combine, influence: sp.csr_array, pooled: np.ndarray, sessions: Sessions | None, model: np.ndarray
) -> ArmNoise:
    """The same as a sparse root; `model` are the codes of the arms' models, (A,)."""
    combine = sp.csr_array(combine)
    rows = [sp.csr_array((combine @ influence.T).T)]
    alone = sp.csr_array(sp.diags_array(np.sqrt(pooled)) @ combine.T)
    rows.append(alone[np.diff(alone.indptr) > 0])
    added, parts = np.zeros(len(model)), buckets(model)
    if sessions is not None:
        excess = sp.csr_array(combine @ sessions.excess @ combine.T)
        added = np.maximum(excess.diagonal(), 0.0)
        for bucket, block in zip(parts, in_blocks(excess, parts), strict=True):
            values, vectors = np.linalg.eigh(np.moveaxis(block, 2, 0))
            mine = np.sqrt(np.maximum(values, 0.0))[:, :, None] * vectors.swapaxes(1, 2)  # (M, root, arm)
            size, models = bucket.arms.shape
            place = np.broadcast_to(np.arange(models)[:, None, None] * size + np.arange(size)[:, None], mine.shape)
            arms = np.broadcast_to(bucket.arms.T[:, None], mine.shape)
            keep = (mine != 0) & (arms >= 0)
            shape = (size * models, len(model))
            rows.append(sp.csr_array((mine[keep], (place[keep], arms[keep])), shape=shape))
    root = sp.csr_array(sp.vstack(rows))
    products = {}
    for bucket, block in zip(parts, cross_products(root, parts), strict=True):
        count = bucket.there.sum(0)
        products |= {int(m): block[: count[k], : count[k], k] for k, m in enumerate(bucket.models)}
    return ArmNoise(None, root, added, lambda mine: products[int(model[mine[0]])])


def check_waves(arms: int, raw: int) -> None:
    """Raises InputError where waves of so many arms are taken out by a map that would not fit."""
    if 8 * arms * raw > WAVES_BYTES:
        raise InputError(
            f"the log has {arms} combinations of model, regime and context in {raw} parts of waves: so many are fitted "
            "without waves only; leave the column out (--map wave=NONE), or keep fewer models with --where"
        )
