"""How far apart are the means and covariances of two clouds of any rows?

Bures-Wasserstein distance, the cost of moving one Gaussian onto the other, with covariances S over n:

    squared (headline)  mean_shift + covariance
    mean_shift          |mean x - mean y|^2
    covariance          tr S_x + tr S_y - 2 tr (S_x^1/2 S_y S_x^1/2)^1/2

Biased up in few rows: the jackknife's estimate of the bias is removed (the `plain` row is before that; the corrected
number may fall below 0), and the noise floor is the plain number between random halves of the evaluation sessions.
Needs one embedder. Unit: squared units of the embedding. Source: Bhatia, Jain and Lim 2019.
"""

from __future__ import annotations

import numpy as np

from divergence.estimate import Estimate
from divergence.geometry.answer import Row, answer, counts_of, refuse
from divergence.geometry.embedder import noted, one_embedder
from divergence.geometry.moments import Moments
from divergence.geometry.sums import Sums
from divergence.geometry.two_samples import covariance, on_one_shift, reason_against, spectrum
from divergence.geometry.uncertainty import TwoSample, jackknife_of_two, split_half

QUESTION, TEXT = "bures", "squared distance of the means and covariances of two sets of embeddings"
SQUARED = "squared distance"
ROWS = [
    Row(None, SQUARED, True),
    Row("plain", SQUARED, False),
    Row("mean_shift", SQUARED, True),
    Row("covariance", SQUARED, True),
]


def bures(evaluation: Moments, deployment: Moments) -> Estimate:
    """Squared Bures-Wasserstein distance of two states made by `moments`. Raises InputError for paired or unlike states."""
    evaluation, deployment = on_one_shift(evaluation, deployment)
    counts, rejected = counts_of(evaluation, deployment), evaluation.rejected + deployment.rejected
    reason = reason_against(evaluation, deployment)
    if reason is not None:
        return refuse(QUESTION, TEXT, ROWS, reason, counts=counts, rejected=rejected)
    statistic = TwoSample(mean_and_root, mean_and_root, parts)
    return answer(
        QUESTION,
        TEXT,
        ROWS,
        jackknife_of_two(evaluation, deployment, statistic),
        counts=counts,
        rejected=rejected,
        noise_floor=split_half(evaluation, statistic),
        note=noted(one_embedder(evaluation, deployment)),
    )


def mean_and_root(sums: Sums) -> tuple[np.ndarray, np.ndarray]:
    """(mean, R) with R R' = S."""
    values, vectors = spectrum(covariance(sums))
    return sums.x / sums.n, vectors * np.sqrt(values)


def parts(first: tuple, second: tuple) -> np.ndarray:
    """(squared, squared, mean shift, covariance); tr (S_x^1/2 S_y S_x^1/2)^1/2 is the nuclear norm of R_x' R_y."""
    (mean_x, root_x), (mean_y, root_y) = first, second
    shift = ((mean_x - mean_y) ** 2).sum()
    spread = (root_x**2).sum() + (root_y**2).sum() - 2 * np.linalg.norm(root_x.T @ root_y, "nuc")
    return np.array([shift + spread, shift + spread, shift, spread])
