"""Would deployment put two models in the other order than the bench does?

    P( sign(B_m - B_m') != sign(D_m - D_m') )                    per pair of models of the log
    R(g) = P( deployed order differs | bench gap g ) = Phi(-beta g / tau_p)        `statistic` = `curve`, `level` = g

The first is a posterior probability of each pair: the draws are 0 or 1 (a tie 1/2), their mean is the probability; their
interval only says whether the order is certain. The curve is a draw of the line of `projection_instability` turned into
a risk; R(0) = 1/2 is arithmetic, not a finding. Identified by two models with rows in both regimes, the curve by four.
Unit: probability. `level` of the curve is in the unit of the outcome (a gap of 5 points is 0.05).
"""

from __future__ import annotations

import itertools

import numpy as np
import polars as pl
from scipy.special import ndtr

from divergence.estimands.projection_instability import project
from divergence.estimands.rows import answer, frame, models_with_rows, refuse
from divergence.estimate import Estimate
from divergence.joint.posterior import Posterior
from divergence.joint.predict import levels

QUESTION, TEXT = "reversal", "probability that deployment reverses the bench order of a pair"
STEPS = 24  # points of a curve after the one at 0
REACH = 1.25  # a curve ends this much beyond the largest bench gap of the log


def reversal(posterior: Posterior, *, law: object = None, outcome: str | None = None) -> Estimate:
    """One row a pair (`model`, `model_b`), in the order of the model names; then the curve over the bench gap."""
    fit = posterior[outcome]
    bench, deployed = levels(fit, "evaluation"), levels(fit, "deployment", law)
    if bench is None or deployed is None:
        missing = "evaluation" if bench is None else "deployment"
        return refuse(fit, QUESTION, TEXT, "probability", f"the log has no {missing} rows")
    both = np.flatnonzero(models_with_rows(fit, True) & models_with_rows(fit, False))
    if len(both) < 2:
        return refuse(fit, QUESTION, TEXT, "probability",
                      f"{len(both)} model(s) have rows in both regimes; an order needs at least two")
    pairs = np.array(list(itertools.combinations(both, 2)))
    b, d = bench.mean(), deployed.mean()
    flipped = reversed_order(b[:, pairs[:, 0]] - b[:, pairs[:, 1]], d[:, pairs[:, 0]] - d[:, pairs[:, 1]])
    rows = frame(model=[bench.models[i] for i, _ in pairs], model_b=[bench.models[j] for _, j in pairs],
                 statistic=[None] * len(pairs), level=[None] * len(pairs))
    _, line, reason = project(posterior, outcome, law)
    gaps = bench_gaps(line.bench) if line is not None else np.array([np.nan])
    curve = risk(line.beta, line.tau, gaps) if line is not None else np.full((len(b), 1), np.nan)
    reasons = (None,) * len(pairs) + (reason or None,) * len(gaps)
    return answer(fit, QUESTION, TEXT, "probability", pl.concat([rows, curve_rows(gaps)]),
                  np.concatenate([flipped, curve], 1), reason=reasons)


def reversed_order(bench: np.ndarray, deployed: np.ndarray) -> np.ndarray:
    """1 where two gaps have different signs, 0 where they have the same, 1/2 where one of them is 0."""
    return (1 - np.sign(bench) * np.sign(deployed)) / 2


def risk(beta: np.ndarray, tau: np.ndarray, gaps: np.ndarray) -> np.ndarray:
    """R(g) of every draw, shape (S, gaps); 1/2 at a gap of 0, whatever tau is."""
    pull = beta[:, None] * gaps
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(pull == 0, 0.5, ndtr(-pull / tau[:, None]))


def bench_gaps(bench: np.ndarray) -> np.ndarray:
    """The gaps at which a curve is reported, from 0 to beyond the widest of the log, rounded; shape (STEPS + 1,)."""
    widest = REACH * max(np.ptp(np.median(bench, 0)), 1e-9)
    return np.array([float(f"{widest * (k / STEPS) ** 2:.3g}") for k in range(STEPS + 1)])  # dense where orders are open


def curve_rows(gaps: np.ndarray) -> pl.DataFrame:
    """Rows of a curve over the bench gap."""
    empty = [None] * len(gaps)
    level = [f"{gap:.6g}" if np.isfinite(gap) else None for gap in gaps]
    return frame(model=empty, model_b=empty, statistic=["curve"] * len(gaps), level=level)
