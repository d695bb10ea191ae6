"""Levels for the items of the log themselves.

What a level says about new items contains the luck of which items were drawn. Given these very items
only replicates are noise: `value = level on the observed items + e`, `e ~ N(0, diag(w_a V_aa))`, with `w_a` the share of
an arm's variance that lies inside items (between replicates of one item), steadied as `link` steadies variances. `e` given
the fitted level is Gaussian and drawn exactly. One trial an item does not tell the two apart: then `w_a = 1`, the most
that noise can be. A context without rows has no observed items; its level is the one for new items. The items of a context
that replays a part of the bench are all of the bench's (`replayed_part`): those that it did not try are taken to be moved as
those that it did, and how far they are moved otherwise is no part of the interval.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from divergence.cells import Cells
from divergence.cells.overlap import deployed_regimes
from divergence.joint.arms import Arms
from divergence.joint.design import arm_loadings
from divergence.joint.link import STEADY_FAILURES
from divergence.numerics import combinations, nearest_psd
from divergence.random_streams import stream

if TYPE_CHECKING:
    from divergence.joint.posterior import Fit


def observed_item_levels(fit: Fit) -> np.ndarray:
    """Draws of each arm's level over its own items, outcome scale, shape (S, A)."""
    value, covariance = fit.response.value, fit.response.covariance
    inside, between = replicate_share(fit.cells, fit.arms), fit.arms.session_share
    if between is not None:
        inside = inside * (1 - between) + between  # sessions are drawn anew
    inside = inside * np.diag(fit.response.noise)
    # Two estimates need not agree: where more noise is promised than the covariance has room for, it makes room.
    covariance = nearest_psd(covariance - np.diag(inside)) + np.diag(inside)
    left = value - fit.effects @ arm_loadings(fit.design, fit.arms).T
    pull = inside[:, None] * np.linalg.inv(covariance)  # E(e | left) = pull left
    spread = np.diag(inside) - pull * inside
    rng = stream(fit.seed, "observed items")
    noise = rng.multivariate_normal(np.zeros(len(value)), (spread + spread.T) / 2, len(left), method="eigh")
    error = left @ pull.T + noise
    if fit.arms.link == "log":
        return fit.arms.level * np.exp(-error)
    # On the outcome scale, where the response is linear: a level that replicates leave no doubt about comes back exactly.
    mu = fit.response.mu
    return np.clip(fit.arms.level - mu * (1 - mu) * error, 0.0, 1.0)


def replicate_share(cells: Cells, arms: Arms) -> np.ndarray:
    """Share of each arm's variance that lies between replicates of one item, shape (A,)."""
    counts = cells.counts.take(cells.counts["n"] > 0)
    code = {tuple(k): j for j, k in enumerate(zip(arms.model, arms.deployed, arms.context, strict=True))}
    deployed = deployed_regimes(cells)[counts["regime"]]
    arm = np.array([code[k] for k in zip(counts["model"], deployed, counts["context"], strict=True)])
    keys, unit = combinations(arm, counts["task"], counts["item"])
    n, y, yy = (np.bincount(unit, counts[name]) for name in ("n", "y", "yy"))
    twice = (n > 1) & (keys[2] >= 0)
    of = np.where(n > 1, np.maximum(yy - y**2 / n, 0.0) / np.maximum(n - 1, 1) / n, 0.0)  # variance of an item's mean
    size, mean = len(arms), y / n
    tried = np.bincount(keys[0], twice, size)
    inside = np.bincount(keys[0], np.where(twice, of, 0.0), size)
    centre = np.bincount(keys[0], np.where(twice, mean, 0.0), size) / np.maximum(tried, 1)
    between = np.bincount(keys[0], np.where(twice, (mean - centre[keys[0]]) ** 2, 0.0), size)
    between *= tried / np.maximum(tried - 1, 1)
    share = np.where(between > 0, np.minimum(inside / np.where(between > 0, between, 1.0), 1.0), 0.0)
    rare = arms.clusters * (np.minimum(arms.level, 1 - arms.level) if arms.link == "logit" else 1.0)
    known = (tried > 1) & (between > 0)
    if not known.any():
        return np.ones(size)
    usual = (rare * share)[known].sum() / max(rare[known].sum(), 1e-300)
    once = 1 - tried / np.bincount(keys[0], minlength=size)  # items tried once: all of their variance may be noise
    steady = (rare * share + STEADY_FAILURES * usual) / (rare + STEADY_FAILURES)
    return np.where(tried > 1, once + (1 - once) * steady, 1.0)
