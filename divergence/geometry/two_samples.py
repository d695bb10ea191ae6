"""What must hold of two one-sample states before their second moments are compared? Checked once, here."""

from __future__ import annotations

import numpy as np

from divergence.errors import InputError
from divergence.geometry.cka import FLAT
from divergence.geometry.embedder import one_embedder
from divergence.geometry.moments import Moments
from divergence.geometry.sums import Sums
from divergence.geometry.uncertainty import too_few_sessions


def on_one_shift(evaluation: Moments, deployment: Moments) -> tuple[Moments, Moments]:
    """Both states about one shift. Raises InputError for paired states or other dimensions."""
    for state in (evaluation, deployment):
        if state.dimensions[1]:
            raise InputError("a paired state holds two samples: take state.side('x') or state.side('y')")
    one_embedder(evaluation, deployment)
    if evaluation.dimensions != deployment.dimensions:
        raise InputError(
            f"evaluation has {evaluation.dimensions[0]} dimensions and deployment "
            f"{deployment.dimensions[0]}: embed both with one embedder"
        )
    shift = (evaluation.shift_x + deployment.shift_x) / 2
    return evaluation.about(shift), deployment.about(shift)


def reason_against(*states: Moments) -> str | None:
    """Why these one-sample states give no second moments with an interval, or None."""
    for state in states:
        if state.n < 5:
            return f"{state.n} rows: second moments and their jackknife need 5"
        if flat(state):
            return "all rows of a side are the same: it has no second moments"
    return too_few_sessions(*states)


def flat(state: Moments) -> bool:
    """Are all rows the same, up to rounding?"""
    pooled = state.sums.pooled()
    return bool(pooled.centred().trace_x() <= FLAT * (state.n * (state.shift_x @ state.shift_x) + pooled.trace_x()))


def covariance(sums: Sums) -> np.ndarray:
    """Covariance over n, (d, d)."""
    return sums.centred().xx / sums.n


def spectrum(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(eigenvalues from the largest down and not below 0, their vectors as columns)."""
    values, vectors = np.linalg.eigh(matrix)
    return np.maximum(values[::-1], 0), vectors[:, ::-1]
