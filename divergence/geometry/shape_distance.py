"""How far apart are two clouds of the same items once turned onto each other, and what was the difference made of?

With S = sums about the means and |S_xy|_* the nuclear norm,

    angle (headline)  arccos( |S_xy|_* / sqrt(tr S_xx tr S_yy) )
    mean squared distance  |X - Y|^2 / n = mean_shift + rigid_rotation + residual
    mean_shift        |mean x - mean y|^2
    rigid_rotation    2 (|S_xy|_* - tr S_xy) / n        what turning (and mirroring) removes
    residual          (tr S_xx + tr S_yy - 2 |S_xy|_*) / n

The nuclear norm is biased up (clouds look too similar) unless n is well above d, so all is computed in the first
r = min(d, n // 10) common principal components, whose share of the variance is the row `variance_kept`, and the
jackknife's estimate of the remaining bias is removed; the `plain` row is the angle before that. Needs one embedder
dimension on both sides. Units: angle in radians (0 = same shape, pi/2 = unrelated), the split in squared units of the
embedding. Source: Williams, Kunz, Kornblith and Linderman 2021 (arXiv 2110.14739).
"""

from __future__ import annotations

import numpy as np

from divergence.errors import InputError
from divergence.estimate import NOT_GIVEN, Estimate
from divergence.geometry.answer import Row, answer, counts_of, refuse
from divergence.geometry.cka import reason_against
from divergence.geometry.embedder import noted, one_embedder
from divergence.geometry.moments import Moments
from divergence.geometry.sums import Sums
from divergence.geometry.uncertainty import jackknife

QUESTION, TEXT = "shape_distance", "distance of two clouds of the same items after rotation, and its parts"
SQUARED = "squared distance"
ROWS = [
    Row(None, "rad", True),
    Row("plain", "rad", False),
    Row("mean_shift", SQUARED, True),
    Row("rigid_rotation", SQUARED, True),
    Row("residual", SQUARED, True),
    Row("variance_kept", "ratio", False),
]
ITEMS_PER_COMPONENT = 10  # below it the bias of the nuclear norm exceeds its standard error in simulations


def shape_distance(pairs: Moments, *, components: int | None = None, floor: Moments | None = None) -> Estimate:
    """Angular shape distance and the split of the squared distance, of a state made by `paired_moments`.

    `components`: number of common principal components (default min(d, n // 10)). `floor`: the state of evaluation run
    against evaluation rerun, whose parts are the noise floor (none where it is too small itself). Raises InputError
    where the sides have other dimensions.
    """
    p, q = pairs.dimensions
    if q and p != q:
        raise InputError(f"x has {p} dimensions and y {q}: shapes are compared in one space, use cka for two embedders")
    if components is not None and not 1 <= components <= p:
        raise InputError(f"components is {components}: choose 1 to {p}, the dimensions of the embedding")
    made = one_embedder(*(e for e in (pairs.embedder, pairs.embedder_y) if e))
    reason = reason_against(pairs, 5)
    rank = components or min(p, pairs.n // ITEMS_PER_COMPONENT)
    if reason is None and rank == 0:
        reason = f"{pairs.n} items: the rotation of one component needs {ITEMS_PER_COMPONENT}"
    if reason is not None:
        return refuse(QUESTION, TEXT, ROWS, reason, counts=counts_of(pairs), rejected=pairs.rejected)
    state = pairs.about((pairs.shift_x + pairs.shift_y) / 2)
    basis = common_components(state.sums.pooled(), rank)

    def statistic(sums: Sums) -> np.ndarray:
        return parts(sums, basis)

    noise_floor = NOT_GIVEN
    if floor is not None and reason_against(floor, 5) is None and floor.dimensions == pairs.dimensions:
        noise_floor = statistic(floor.about(state.shift_x).sums.pooled())
        noise_floor[-1] = np.nan
    return answer(
        QUESTION,
        TEXT,
        ROWS,
        jackknife(state, statistic),
        counts=counts_of(pairs),
        rejected=pairs.rejected,
        noise_floor=noise_floor,
        note=noted(f"{rank} of {p} common principal components", made),
    )


def common_components(sums: Sums, rank: int) -> np.ndarray:
    """The first principal axes of both sides together, each about its own mean, (d, rank)."""
    s = sums.centred()
    if rank == s.xx.shape[0]:
        return np.eye(rank)
    return np.linalg.eigh(s.xx + s.yy)[1][:, ::-1][:, :rank]


def parts(sums: Sums, basis: np.ndarray) -> np.ndarray:
    """(angle, angle, mean shift, rigid rotation, residual, variance kept) in the space of `basis`."""
    s, n = sums.centred(), sums.n
    cross = basis.T @ s.xy @ basis
    xx, yy = (np.einsum("ir,ij,jr->", basis, m, basis, optimize=True) for m in (s.xx, s.yy))
    nuclear = np.linalg.norm(cross, "nuc")
    cosine = nuclear / np.sqrt(xx * yy) if xx > 0 and yy > 0 else np.nan
    shift = (sums.x - sums.y) @ basis / n
    angle = np.arccos(np.clip(cosine, -1, 1))
    kept = (xx + yy) / (s.trace_x() + s.trace_y())
    return np.array([angle, angle, shift @ shift, 2 * (nuclear - np.trace(cross)) / n, (xx + yy - 2 * nuclear) / n, kept])
