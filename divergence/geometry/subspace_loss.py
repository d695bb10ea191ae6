"""How much of what deployment does lies outside the directions that evaluation saw?

With U the first k principal axes of evaluation and S the covariance of deployment,

    loss (headline)  1 - tr(U' S U) / (sum of the k largest eigenvalues of S)     0: the axes carry all that k axes can
    outside          1 - tr(U' S U) / tr S                                        share of all variance off the axes

k is the smallest number of axes that holds 90 % of evaluation's variance, or is given. Smooth and linear in S, which
is why it has an interval where principal angles have none. Axes found in few rows are off even if nothing differs: the
jackknife's estimate of that bias is removed (the `plain` row is before that), and the noise floor is the same number
between random halves of the evaluation sessions. Needs one embedder. Unit: ratio, 0 to 1.
"""

from __future__ import annotations

import numpy as np

from divergence.errors import InputError
from divergence.estimate import Estimate
from divergence.geometry.answer import Row, answer, counts_of, refuse
from divergence.geometry.embedder import noted, one_embedder
from divergence.geometry.moments import Moments
from divergence.geometry.two_samples import covariance, on_one_shift, reason_against, spectrum
from divergence.geometry.uncertainty import TwoSample, jackknife_of_two, split_half

QUESTION, TEXT = "subspace_loss", "share of deployed behaviour outside the directions of evaluation"
ROWS = [Row(None, "ratio", True), Row("plain", "ratio", False), Row("outside", "ratio", True)]
VARIANCE_HELD = 0.9  # of evaluation, by the axes that stand for it: the usual elbow of embeddings


def subspace_loss(evaluation: Moments, deployment: Moments, *, components: int | None = None) -> Estimate:
    """Loss of deployment on the first `components` axes of evaluation; both are states made by `moments`.

    Raises InputError for paired states, other dimensions, or components outside 1..d.
    """
    evaluation, deployment = on_one_shift(evaluation, deployment)
    d, counts = evaluation.dimensions[0], counts_of(evaluation, deployment)
    rejected = evaluation.rejected + deployment.rejected
    if components is not None and not 1 <= components <= d:
        raise InputError(f"components is {components}: choose 1 to {d}, the dimensions of the embedding")
    reason = reason_against(evaluation, deployment)
    if reason is None:
        rank = components or axes_that_hold(covariance(evaluation.sums.pooled()))
        if rank == d:
            reason = f"{rank} axes are all dimensions of the embedding: nothing can lie outside them"
        elif rank >= min(evaluation.n, deployment.n):
            reason = f"{min(evaluation.n, deployment.n)} rows on a side do not span {rank} axes: ask for fewer components"
    if reason is not None:
        return refuse(QUESTION, TEXT, ROWS, reason, counts=counts, rejected=rejected)
    statistic = loss_of(rank)
    return answer(
        QUESTION,
        TEXT,
        ROWS,
        jackknife_of_two(evaluation, deployment, statistic),
        counts=counts,
        rejected=rejected,
        noise_floor=split_half(evaluation, statistic),
        note=noted(f"{rank} of {d} axes", one_embedder(evaluation, deployment)),
    )


def axes_that_hold(matrix: np.ndarray, share: float = VARIANCE_HELD) -> int:
    """The smallest number of principal axes that hold this share of the variance."""
    values, _ = spectrum(matrix)
    return int(np.searchsorted(np.cumsum(values) / values.sum(), share - 1e-12) + 1)


def loss_of(rank: int) -> TwoSample:
    """(loss, loss, outside) of the first `rank` axes of the first sample on the second."""

    def spread(sums):
        matrix = covariance(sums)
        return matrix, np.linalg.eigvalsh(matrix)[::-1][:rank].sum()

    def both(axes, second):
        matrix, largest = second
        held = np.einsum("ir,ij,jr->", axes, matrix, axes, optimize=True)
        loss = 1 - held / largest
        return np.array([loss, loss, 1 - held / np.trace(matrix)])

    return TwoSample(lambda sums: spectrum(covariance(sums))[1][:, :rank], spread, both)
