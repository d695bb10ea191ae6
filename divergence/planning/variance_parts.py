"""What is the noise of each level made of, and which purchase shrinks which part?

For one arm (a model in one context) with I items of T trials each, and S rows a session,

    Var(level) = (shared + own + replicate / T + session) / I

| part | what | shrinks with |
|---|---|---|
| `shared` | items differ alike in all contexts of a model: mean over its other arms of Cov_i(p_ia, p_ib) | new items |
| `own` | the rest of Var_i(p_ia): single items move with the context | new items |
| `replicate` | variance of one item's answers over trials; 0 where replicates are copies | new items, trials |
| `session` | what rows of one session have in common, per item | new items (sessions) |

    d_ai = (m_ai - mean of the task) sqrt(I_t / (I_t - 1)),    Cov_i(p_ia, p_ib) = mean over shared items of d_ai d_bi

`m_ai` is an item's mean in arm a; within an arm the replicates' part is taken off: Var_i(p_ia) = mean d_ai^2 - replicate
mean(1 / T). With one trial an item in every arm replicates and items cannot be told apart: `replicate` is then not known
(NaN), what is said of new items still holds, and trials are never recommended. From few items a covariance matrix of many
arms is mostly noise, so correlations are drawn towards their means over pairs of one model, of one context, and of neither,
with weight A / (A + I); where bench and traffic share no item they share no luck. A score that hardly ever fails shows a
variance that is too small or too large by chance: like the fit, variances are drawn towards the log's mean ratio to
`mu (1 - mu)` where few items failed (`link`). Identified by arms with two items or more. Unit: outcome scale squared.
Source: Brennan 2001 (generalizability theory); Ledoit and Wolf 2004 (shrinkage towards a structure).
"""

from __future__ import annotations

import dataclasses

import numpy as np
import scipy.sparse as sp

from divergence.cells.overlap import deployed_regimes
from divergence.joint.design import arm_loadings
from divergence.joint.link import STEADY_FAILURES, from_link
from divergence.joint.posterior import Fit
from divergence.numerics import combinations, nearest_psd

COPIES_MAX = 1e-9  # share of the variance below which replicates are copies: rounding


@dataclasses.dataclass(frozen=True)
class VarianceParts:
    """The parts of A arms, in the order of `Fit.arms`; outcome scale squared, per item."""

    between: np.ndarray
    """Cov_i(p_ia, p_ib), shape (A, A); with unknown replicates its diagonal holds them, too."""
    together: np.ndarray
    """Items that two arms have in common, shape (A, A)."""
    shared: np.ndarray
    """Of the diagonal, what the model's other arms share, shape (A,)."""
    replicate: np.ndarray
    """Variance of one trial around its item, shape (A,); NaN where no item was repeated in any arm."""
    session: np.ndarray
    """What sessions add, per item, shape (A,)."""
    items: np.ndarray
    """Items behind each arm (rows, where rows have no item), shape (A,)."""
    trials: np.ndarray
    """Mean trials an item, shape (A,)."""
    error: np.ndarray
    """Relative standard error of each arm's whole variance, shape (A,)."""
    copies: np.ndarray
    """Was each arm repeated without any item ever answering otherwise? Shape (A,)."""

    @property
    def own(self) -> np.ndarray:
        """What of the items' variance is the context's own, shape (A,)."""
        return np.maximum(np.diag(self.between) - self.shared, 0.0)

    @property
    def repeated(self) -> bool:
        """Are replicates and items told apart?"""
        return bool(np.isfinite(self.replicate).all())


def variance_parts(fit: Fit) -> VarianceParts:
    """The parts of every arm of a fit, from its cells alone."""
    arms, size = fit.arms, len(fit.arms)
    counts = fit.cells.counts.take(fit.cells.counts["n"] > 0)
    code = {key: k for k, key in enumerate(zip(arms.model, arms.deployed, arms.context, strict=True))}
    deployed = deployed_regimes(fit.cells)[counts["regime"]]
    arm = np.array([code[key] for key in zip(counts["model"], deployed, counts["context"], strict=True)])
    keys, unit = combinations(arm, counts["task"], counts["item"])
    n, y, yy = (np.bincount(unit, counts[name], keys.shape[1]) for name in ("n", "y", "yy"))
    owner, named = keys[0], keys[2] >= 0
    replicate, copies = _replicates(owner, named, n, y, yy, size)
    count = np.where(named, 1.0, n)  # rows without an item are items of their own
    mean = y / n
    _task, where = combinations(owner, keys[1])
    units = np.bincount(where, count)
    centre = np.bincount(where, count * mean) / units
    bessel = (units / np.maximum(units - 1, 1))[where]
    deviation = (mean - centre[where]) * np.sqrt(bessel)
    pooled = np.where(named, 0.0, (yy - 2 * centre[where] * y + n * centre[where] ** 2) * bessel)
    items = np.bincount(owner, count, size)
    whole = (np.bincount(owner, np.where(named, deviation**2, 0.0), size) + np.bincount(owner, pooled, size)) / items
    fourth = np.bincount(owner, count * deviation**4, size) / items
    error = np.sqrt(np.maximum(fourth - whole**2, 0.0) / items) / np.where(whole > 0, whole, 1.0)
    if fit.arms.link == "logit":  # a variance made of a few failures is as unsure as their number
        rare = items * np.minimum(arms.level, 1 - arms.level)
        error = np.maximum(error, 1 / np.sqrt(rare + 1) * (rare < STEADY_FAILURES))
    inverse = np.bincount(owner, np.where(named, 1 / n, 1.0) * count, size) / items
    steady = _steady(fit, whole, items)
    scale = np.where(whole > 0, steady / np.where(whole > 0, whole, 1.0), 1.0)
    replicate, whole = replicate * scale, np.where(whole > 0, whole * scale, steady)
    known = np.isfinite(replicate)
    diagonal = np.where(known, np.maximum(whole - np.where(known, replicate, 0.0) * inverse, 0.0), whole)
    between, together = _between(fit, owner[named], keys[1:, named], deviation[named], diagonal)
    alike = (arms.model[:, None] == arms.model) & ~np.eye(size, dtype=bool)
    others = alike.sum(1)
    shared = np.where(others > 0, (between * alike).sum(1) / np.maximum(others, 1), np.diag(between))
    share = np.zeros(size) if arms.session_share is None else np.minimum(arms.session_share, 0.99)
    np.fill_diagonal(together, items)
    return VarianceParts(
        between,
        together,
        np.clip(shared, 0.0, np.diag(between)),
        replicate,
        whole * share / (1 - share),
        items,
        np.bincount(owner, n, size) / items,
        error,
        copies,
    )


def _steady(fit: Fit, whole: np.ndarray, items: np.ndarray) -> np.ndarray:
    """Variances of items' means drawn towards their mean ratio to the levels', as the fit takes them, shape (A,)."""
    arms = fit.arms
    if arms.link != "logit":
        return whole
    size = len(arms)
    link = fit.effects @ arm_loadings(fit.design, arms).T
    mu = from_link(link, arms.link)
    room, seen = (mu * (1 - mu)).mean(0), arms.level * (1 - arms.level)
    ratio = np.where(seen > 0, whole / np.where(seen > 0, seen, 1.0), 0.0)
    rare = items * np.minimum(arms.level, 1 - arms.level)
    mean = float(rare @ ratio / rare.sum()) if rare @ ratio > 1e-12 * max(rare.sum(), 1e-300) else 1.0
    return np.broadcast_to((rare * ratio + STEADY_FAILURES * mean) / (rare + STEADY_FAILURES) * room, (size,))


def _replicates(
    owner: np.ndarray, named: np.ndarray, n: np.ndarray, y: np.ndarray, yy: np.ndarray, size: int
) -> tuple[np.ndarray, np.ndarray]:
    """Variance between trials of one item by arm, and which arms are copies; an arm that repeated nothing takes the mean."""
    twice = named & (n > 1)
    if not twice.any():
        return np.full(size, np.nan), np.zeros(size, bool)
    inside = np.where(twice, np.maximum(yy - y**2 / n, 0.0), 0.0)
    freedom = np.where(twice, n - 1, 0.0)
    of_arm, weight = np.bincount(owner, inside, size), np.bincount(owner, freedom, size)
    own = of_arm / np.maximum(weight, 1.0)
    usual = of_arm.sum() / weight.sum()
    copies = (weight > 0) & (own <= COPIES_MAX)
    return np.where(weight > 0, own, usual), copies


def _between(
    fit: Fit, owner: np.ndarray, item: np.ndarray, deviation: np.ndarray, diagonal: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Covariance of items' means over arms, correlations drawn towards their structure, and shared items; each (A, A)."""
    size, arms = len(diagonal), fit.arms
    sd = np.sqrt(diagonal)
    if not len(owner):
        return np.diag(diagonal), np.zeros((size, size))
    _, column = combinations(*item)
    shape = (size, int(column.max()) + 1)
    values = sp.coo_array((deviation, (owner, column)), shape=shape).tocsr()
    tried = sp.coo_array((np.ones(len(owner)), (owner, column)), shape=shape).tocsr()
    together, sums = (tried @ tried.T).toarray(), (values @ values.T).toarray()
    scale = np.outer(sd, sd)
    seen = (together >= 2) & (scale > 0) & ~np.eye(size, dtype=bool)
    correlation = np.where(seen, sums / np.where(seen, together * scale, 1.0), 0.0).clip(-1.0, 1.0)
    target = structure(correlation, np.where(seen, together, 0.0), arms.model, arms.context * 2 + arms.deployed)
    if not fit.log_design.sharing.common:
        target = np.where(arms.deployed[:, None] == arms.deployed, target, 0.0)
    weight = np.where(seen, together / (together + size), 0.0)
    drawn = weight * correlation + (1 - weight) * target
    np.fill_diagonal(drawn, 1.0)
    drawn = nearest_psd(drawn)
    root = np.sqrt(np.diag(drawn))
    return drawn / np.outer(root, root) * scale, together


def structure(correlation: np.ndarray, weight: np.ndarray, model: np.ndarray, place: np.ndarray) -> np.ndarray:
    """Mean correlation of pairs of one model, of one context, of neither; never negative, and never more than one."""
    alike, there = model[:, None] == model, place[:, None] == place

    def mean(kind: np.ndarray, otherwise: float) -> float:
        total = (weight * kind).sum()
        return float(np.clip((weight * kind * correlation).sum() / total, 0.0, 1.0)) if total else otherwise

    neither = mean(~alike & ~there, 0.0)
    of_model, of_place = max(mean(alike & ~there, neither), neither), max(mean(~alike & there, neither), neither)
    excess = min(1.0, (1 - neither) / max(of_model + of_place - 2 * neither, 1e-12))
    of_model, of_place = (neither + excess * (value - neither) for value in (of_model, of_place))
    return np.where(alike, of_model, np.where(there, of_place, neither))
