"""How large must a bench gap be before it can be trusted?

    g_05 = z tau_p / beta,    z = 1.645:    the bench gap at which deployment reverses the order with probability 5 %

That is a gap between true bench levels. An *observed* gap G also holds the bench's own noise, of variance v_G, and a
leader is a leader partly by luck (winner's curse), so it is shrunk first:

    lambda = gamma^2 / (gamma^2 + v_G),    gamma^2 = 2 s2_m = mean over pairs of (B_m - B_m')^2      `statistic` = `lambda`
    g_05 observed = z sqrt(tau_p^2 + beta^2 gamma^2 (1 - lambda)) / (beta lambda)           `statistic` = `g_05_observed`

`lambda` has one row a listed pair and one with the mean `v_G` of all pairs. Identified by four models in both regimes, and
only where the bench orders deployment at all: refused where P(beta <= 0) > .05. A draw with beta <= 0 is a draw in which no
gap suffices (infinite), so the mean need not exist: median and interval are given. Unit: points, `lambda` ratio.
Source: shrinkage of a normal mean under a normal law (Efron and Morris 1973) for lambda.
"""

from __future__ import annotations

import functools

import numpy as np
import polars as pl
import scipy.sparse as sp

from divergence.estimands.pairs import listed
from divergence.estimands.projection_instability import Projection, project
from divergence.estimands.rows import about, answer, answered, frame, refuse, unit_of
from divergence.estimate import Estimate
from divergence.identification import needs
from divergence.identification.question import Question
from divergence.joint.design import arm_loadings
from divergence.joint.laws import Law
from divergence.joint.link import from_link, linearise
from divergence.joint.posterior import Fit, Posterior
from divergence.numerics import NORMAL_95, column_squares, size_of

QUESTION, TEXT = "gap_for_confidence", "the bench gap at which deployment reverses an order with a probability of 5 %"
REVERSED = 0.05  # the risk that a reader takes
DOUBT_MAX = 0.05  # probability of beta <= 0 above which the bench does not order deployment


ROOM = Question(
    QUESTION,
    "the bench gap that can be trusted",
    TEXT,
    functools.partial(needs.models_in_both, least=4),
    # A slope is a number of the levels; no count of the design bounds it away from 0.
    depends="the slope of deployed on bench gaps must be surely above 0",
    of_levels=True,
)


@answered(ROOM, unit_of)
def gap_for_confidence(
    posterior: Posterior,
    *,
    law: Law | None = None,
    contexts: str = "logged",
    outcome: str | None = None,
    items: str | None = None,
) -> Estimate:
    """g_05 (`statistic` null), `g_05_observed`, `lambda` over all pairs, and `lambda` of each pair."""
    posterior = about(posterior, items)
    fit, line = project(posterior, outcome, law, contexts)
    unit = unit_of(fit)
    doubt = float((line.beta <= 0).mean())
    if doubt > DOUBT_MAX:
        return refuse(
            fit,
            QUESTION,
            TEXT,
            unit,
            f"the bench does not order deployment: the slope of deployed on bench gaps is at or below 0 with "
            f"probability {doubt:.2f} (more than {DOUBT_MAX}); no bench gap can be trusted",
        )
    pairs = listed(line.bench, fit.cells.better == "lower")
    first, second = pairs.first, pairs.second
    mean, noise = pair_noise(fit, line, first, second)
    spread = line.gap[:, None] ** 2
    shrink = spread / (spread + np.r_[mean, noise])
    names = ([None] * 3 + [line.models[i] for i in first], [None] * 3 + [line.models[j] for j in second])
    rows = frame(
        model=names[0], model_b=names[1], statistic=[None, "g_05_observed", *["lambda"] * shrink.shape[1]]
    ).with_columns(unit=pl.Series([unit, unit, *["ratio"] * shrink.shape[1]]))
    draws = np.concatenate([needed(line)[:, None], needed(line, shrink[:, 0])[:, None], shrink], 1)
    return answer(fit, QUESTION, TEXT + pairs.note, unit, rows, draws, quantiles_only=np.arange(draws.shape[1]) < 2)


def needed(line: Projection, shrink: np.ndarray | None = None) -> np.ndarray:
    """The gap that leaves a risk of `REVERSED`, shape (S,): a true one, or with `lambda` draws an observed one."""
    shrink = np.ones_like(line.beta) if shrink is None else shrink
    left = np.sqrt(line.tau**2 + (line.beta * line.gap) ** 2 * (1 - shrink))
    with np.errstate(divide="ignore"):
        return np.where(line.beta > 0, NORMAL_95 * left / np.maximum(line.beta * shrink, 0.0), np.inf)


def pair_noise(fit: Fit, line: Projection, first: np.ndarray, second: np.ndarray) -> tuple[float, np.ndarray]:
    """Sampling variance of the observed bench gap: mean over all pairs, and of each of these; shared items are in it.

    At the fitted levels, not at the observed ones, where a perfect score would have no noise at all.
    """
    arms = fit.arms
    mu = from_link((fit.effects @ arm_loadings(fit.design, arms).T).mean(0), arms.link)
    slope = mu * (1 - mu) if arms.link == "logit" else mu
    bench = np.flatnonzero(~arms.deployed)
    place = {name: k for k, name in enumerate(line.models)}
    mine = np.array([place.get(fit.cells.levels["model"][m], -1) for m in arms.model[bench]])
    response, size = linearise(arms, mu), len(line.models)
    if response.covariance is None:
        kept = bench[mine >= 0]
        weight = slope[kept] / np.bincount(mine[mine >= 0])[mine[mine >= 0]]
        mix = sp.csr_array((weight, (np.arange(len(kept)), mine[mine >= 0])), shape=(len(kept), size))
        return _pairs_of_root(sp.csr_array(response.root)[:, kept] @ mix, first, second)
    covariance = (response.noise * np.outer(slope, slope))[np.ix_(bench, bench)]
    mix = (mine[None, :] == np.arange(size)[:, None]).astype(float)
    mix /= mix.sum(1, keepdims=True)  # a model's bench level is the mean of its bench contexts
    levels = mix @ covariance @ mix.T
    found = np.diag(levels)[first] + np.diag(levels)[second] - 2 * levels[first, second]
    if len(found) == size * (size - 1) // 2:
        return float(found.mean()), found
    own = np.diag(levels).sum()
    return float(2 * (size * own - levels.sum()) / (size * (size - 1))), found


def _pairs_of_root(root: sp.csr_array, first: np.ndarray, second: np.ndarray) -> tuple[float, np.ndarray]:
    """The same from a root (R, models) of the models' noise: all pairs from two sums."""
    models = size_of(root)[1]
    total = models * column_squares(root).sum() - np.square(root.sum(1)).sum()
    listed, place = np.unique(np.r_[first, second], return_inverse=True)
    mine = root[:, listed]
    levels = (mine.T @ mine).toarray()
    i, j = place.ravel()[: len(first)], place.ravel()[len(first) :]
    return float(2 * total / (models * (models - 1))), np.diag(levels)[i] + np.diag(levels)[j] - 2 * levels[i, j]
