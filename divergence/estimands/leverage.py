"""How much of a deployed gap does the bench not decide?

    L(g) = tau_p^2 / (tau_p^2 + beta^2 g^2)                       `statistic` = `curve`, `level` = g

The share of a pair's deployed gap, in mean square, that comes from the projection and not from the bench gap g: near 1
among models that the bench cannot tell apart, which is what saturation makes of the best of them. The headline is L at
the root mean square bench gap of the log, and equals `1 - r^2` with r the correlation of bench and deployed levels. A row
a listed pair holds L at that pair's bench gap. The hyperbolic shape is arithmetic; `tau_p` and `beta` are what was found.
Identified as `projection_instability` is, by four models in both regimes. Unit: ratio.
"""

from __future__ import annotations

import functools

import numpy as np
import polars as pl

from divergence.estimands.pairs import listed
from divergence.estimands.projection_instability import project
from divergence.estimands.reversal import bench_gaps, curve_rows
from divergence.estimands.rows import about, answer, answered, frame
from divergence.estimate import Estimate
from divergence.identification import needs
from divergence.identification.question import Question
from divergence.joint.laws import Law
from divergence.joint.posterior import Posterior

QUESTION, TEXT = "leverage", "share of the deployed gap of a pair that the bench gap does not decide"


ROOM = Question(
    QUESTION,
    "leverage of deployment on the order",
    TEXT,
    functools.partial(needs.models_in_both, least=4),
    of_levels=True,
)


@answered(ROOM, "ratio")
def leverage(
    posterior: Posterior,
    *,
    law: Law | None = None,
    contexts: str = "logged",
    outcome: str | None = None,
    items: str | None = None,
) -> Estimate:
    """The headline, one row a pair (`model`, `model_b`), and the curve over the bench gap."""
    posterior = about(posterior, items)
    fit, line = project(posterior, outcome, law, contexts)
    pairs = listed(line.bench, fit.cells.better == "lower")
    first, second = pairs.first, pairs.second
    gaps = bench_gaps(line.bench)
    at = np.concatenate(
        [line.gap[:, None], line.bench[:, first] - line.bench[:, second], np.repeat(gaps[None], len(line.tau), 0)], 1
    )
    rows = frame(model=[None, *(line.models[i] for i in first)], model_b=[None, *(line.models[j] for j in second)])
    table = pl.concat([rows, curve_rows(gaps)], how="diagonal")
    return answer(fit, QUESTION, TEXT + pairs.note, "ratio", table, share(line.beta, line.tau, at))


def share(beta: np.ndarray, tau: np.ndarray, gaps: np.ndarray) -> np.ndarray:
    """L at gaps (S, K) of every draw; 1 at a gap of 0."""
    pull = (beta[:, None] * gaps) ** 2
    return np.where(pull == 0, 1.0, tau[:, None] ** 2 / np.where(pull == 0, 1.0, tau[:, None] ** 2 + pull))
