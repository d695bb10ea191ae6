"""`paired.measure` for thousands of arms: the same parts from a sparse root, and nothing of arms times arms.

Every quantity that it needs is a sum of squares of the root's columns, or of sums of columns of one group: products of
sparse matrices. The root of the whole noise stays a stack of its parts, each as sparse as it is.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from divergence.joint.paired import SHARED_MAX, TRUST, Measured, bench_arms, carried, lifted
from divergence.numerics import column_squares, size_of


def measure_blocks(
    root: sp.csr_array,
    model: np.ndarray,
    deployed: np.ndarray,
    place: np.ndarray,
    least: np.ndarray,
    steady: np.ndarray,
    clusters: np.ndarray | None = None,
) -> Measured:
    """As `paired.measure`; the root (R, A) is sparse, and so is that of the whole noise."""
    models, size = int(model.max()) + 1, len(model)
    arms, count = np.arange(size), np.bincount(model, minlength=models)
    bench = bench_arms(model, deployed)
    known = bench >= 0
    plain = np.zeros(size, bool)
    plain[bench[known]] = True
    weight = np.where(known[model], plain.astype(float), 1 / count[model])
    centre = root @ sp.csr_array((weight, (arms, model)), shape=(size, models))
    to_arms = sp.csr_array((np.ones(size), (model, arms)), shape=(models, size))
    anchor, at_arms = column_squares(centre), sp.csr_array(centre @ to_arms)
    carry = np.ones(size)
    if clusters is not None:
        shared = np.asarray(root.multiply(at_arms).sum(0)).ravel()
        carry = carried(shared, anchor, model, bench, clusters)
    contrast = sp.csr_array((root - at_arms @ sp.diags_array(carry)) @ sp.diags_array(np.where(plain, 0.0, 1.0)))
    few = np.where(known, 1.0, count / np.maximum(count - 1, 1))[model]
    spread = np.where(plain, 0.0, column_squares(contrast) * few + TRUST * least)
    lift = lifted(model, bench, count, steady, column_squares(root))
    of_anchor = anchor + lift
    if not known.all():
        inside = np.bincount(model, spread, models) / np.maximum(count, 1) ** 2
        of_anchor = np.where(known, of_anchor, np.maximum(of_anchor - inside, 1e-3 * of_anchor))
    across, between = _mean_correlation(contrast, spread, place, ~plain), _mean_correlation(centre, anchor)
    within = _mean_correlation(contrast, spread, model, ~plain) if (count > 0).sum() > 1 else 0.0
    if across + within > SHARED_MAX:
        across, within = (share * SHARED_MAX / (across + within) for share in (across, within))
    common = sp.diags_array(np.sqrt(lift)) @ to_arms @ sp.diags_array(carry)
    alone = sp.diags_array(np.sqrt(np.where(plain, 0.0, least)))
    return Measured(
        (1 - across - within) * spread,
        carry * np.sqrt((1 - between) * of_anchor)[model],
        carry * np.sqrt(between * of_anchor)[model],
        np.sqrt(across * spread),
        np.sqrt(within * spread),
        sp.csr_array(sp.vstack([root, sp.csr_array(common)[lift > 0], sp.csr_array(alone)[(least > 0) & ~plain]])),
        model,
        place,
    )


def _mean_correlation(
    noise: sp.csr_array, variance: np.ndarray, group: np.ndarray | None = None, keep: np.ndarray | None = None
) -> float:
    """As `paired._mean_correlation`; `noise` has shape (R, K)."""
    size = size_of(noise)[1]
    group = np.zeros(size, int) if group is None else group
    kept = (variance > 0) & (True if keep is None else keep)
    scale = np.where(kept, 1 / np.sqrt(np.where(variance > 0, variance, 1.0)), 0.0)
    unit = sp.csr_array(noise @ sp.diags_array(scale))
    sums = unit @ sp.csr_array((np.ones(size), (np.arange(size), group)), shape=(size, int(group.max()) + 1))
    each = np.bincount(group, kept)
    pairs = (each * (each - 1)).sum()
    shared = (np.square(sums.data).sum() - np.square(unit.data).sum()) / pairs if pairs else 0.0
    return float(np.clip(shared, 0.0, SHARED_MAX))
