"""How narrow is the top of the bench, with the noise of the bench taken out, and does deployment need a wider gap?

    y_m = u_m + e_m,   e_m ~ N(0, v_m) known,   u_m ~ N(centre, tau^2) near the top:   the spread of u over the first k

The first k models by observed level span more than they truly do: each is where it is partly by luck. The law of the true
levels is fitted to the models from the top down to twice as many (at least `AROUND`), given that they lie above the best of
those left out (a truncated likelihood: who is at the top was chosen by the same numbers), on a grid of centre and tau; then
true levels of the k models are drawn. `v_m` is what a difference between two models of the list is uncertain by, halved:
what shared items do to all models alike is not in it.

| `statistic` | what | rows |
|---|---|---|
| null | true distance from the first to the last of the first `level` models | per k, and per `task` if several |
| `sd` | standard deviation of their true levels | the same |
| `observed` | distance from first to last as observed | the same |
| `alike` | p-value of so much spread if all were equal: above .05 not distinguishable from none | the same |
| `needed` | the bench gap that deployment keeps with 95 % (`gap_for_confidence`) | one, where identified |
| `undecided` | is the whole span below that gap? the mean is the probability | per k |

Identified by three models with evaluation rows. Unit: that of differences of the outcome; `alike`, `undecided` probability.
Source: random-effects meta-analysis (DerSimonian and Laird 1986; Cochran's Q for `alike`), Morris 1983 for the draws.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy.special import chdtrc, log_ndtr

from divergence.cells.overlap import in_regime
from divergence.estimands.gap_for_confidence import DOUBT_MAX, needed
from divergence.estimands.projection_instability import MODELS_MIN as MODELS_LINE
from divergence.estimands.projection_instability import project
from divergence.estimands.rows import Rows, answered, refuse, unit_of
from divergence.estimate import Estimate
from divergence.identification import needs
from divergence.identification.log_design import LogDesign
from divergence.identification.question import Need, Question
from divergence.joint.laws import Law
from divergence.joint.posterior import Fit, Posterior
from divergence.random_streams import stream

QUESTION, TEXT = "convergence", "how far apart the first models of the bench truly are"
COORDINATES = ("task", "level", "statistic", "regime")
MODELS_MIN = 3  # of two models the spread is one difference, which `reversal` tells
TOPS = (5, 10, 20, 50, 100, 200)
"""Sizes of the top that are told, as far as there are models; and all models."""
AROUND = 30  # models that the law of the levels near the top is fitted to at least
GRID = 60  # points of the grid in each direction; at 120 limits move by less than 1 % of the interval
NOT_DISTINGUISHABLE = 0.05


@dataclasses.dataclass(frozen=True)
class Suite:
    """Observed bench levels of one suite."""

    task: str | None
    """Its name; None = all of the bench."""
    level: np.ndarray
    """Observed levels, best first, outcome scale, shape (M,)."""
    variance: np.ndarray
    """Half of the mean variance of a difference with another model of the suite, shape (M,)."""


def convergence_needs(design: LogDesign) -> Need:
    """Three models on the bench, outcomes that differ."""
    found = needs.level_needs(design, "evaluation")
    if not found.met:
        return found
    judged_apart = needs.no_order(design, "evaluation")
    if judged_apart:
        return Need(False, judged_apart)
    constant = needs.nothing_varies(design)
    if constant:
        return Need(False, constant)
    if design.models["evaluation"] < MODELS_MIN:
        return Need(False, f"It needs three models on the bench; this log has {design.models['evaluation']}.")
    return found


ROOM = Question(
    QUESTION,
    "how narrow the top of the bench is",
    TEXT,
    convergence_needs,
    # An item that all models answer alike has no noise: which differences have one is in the scores.
    depends="the noise of each level must be known from its items",
)


@answered(ROOM, unit_of)
def convergence(
    posterior: Posterior, *, tops: tuple[int, ...] = TOPS, law: Law | None = None, outcome: str | None = None
) -> Estimate:
    """Rows as in the table above."""
    fit = posterior[outcome]
    found = [suite for suite in suites(fit) if len(suite.level) >= MODELS_MIN]
    if not found:
        return refuse(fit, QUESTION, TEXT, unit_of(fit), "no suite has three models whose noise is known")
    rng = stream(fit.seed, "convergence")
    draws = len(fit.effects)
    out = Rows(fit, QUESTION, unit_of(fit), COORDINATES)
    gap = _needed(posterior, outcome, law)
    like = []
    for suite in found:
        for k in sorted({*(t for t in tops if MODELS_MIN <= t < len(suite.level)), len(suite.level)}):
            span, sd = spread(suite, k, draws, rng)
            alike = p_alike(suite.level[:k], suite.variance[:k])
            where = {"task": suite.task, "level": str(k), "regime": "evaluation"}
            out.add(span, **where)
            out.add(sd, statistic="sd", **where)
            out.add(np.full(draws, np.ptp(suite.level[:k])), statistic="observed", **where)
            out.add(np.full(draws, alike), unit="probability", statistic="alike", **where)
            if alike > NOT_DISTINGUISHABLE:
                like.append(f"the first {k}" + (f" of {suite.task}" if suite.task else ""))
            if gap is not None and suite.task is None:
                out.add((span < gap).astype(float), unit="probability", statistic="undecided", **where)
    if gap is not None:
        out.add(gap, statistic="needed")
    told = f" (the spread of {', '.join(like[:4])} is not distinguishable from none)" if like else ""
    found_all = out.estimate(TEXT + told, fit.described_method)
    return dataclasses.replace(found_all, quantiles_only=~np.isfinite(found_all.draws).all(0))


def _needed(posterior: Posterior, outcome: str | None, law: Law | None) -> np.ndarray | None:
    """Draws of the gap that can be trusted, where the bench orders deployment at all."""
    if not needs.models_in_both(posterior[outcome].log_design, MODELS_LINE).met:
        return None
    _, line = project(posterior, outcome, law)
    return None if (line.beta <= 0).mean() > DOUBT_MAX else needed(line)


def suites(fit: Fit) -> list[Suite]:
    """The bench as a whole, and each of its tasks where there are several; higher levels first, lower ones for costs."""
    counts = fit.cells.counts
    keep = in_regime(fit.cells, "evaluation") & (counts["n"] > 0)
    model, task, item = (counts[name][keep] for name in ("model", "task", "item"))
    n, y = counts["n"][keep], counts["y"][keep]
    sign = fit.cells.sign
    rated = fit.cells.kind == "proportion" or bool((item < 0).any())
    names = fit.cells.levels.get("task", ())
    found = [_suite(None, model, item + task.astype(np.int64) * (item.max() + 2), n, y, sign, rated)]
    if len(np.unique(task)) > 1:
        found += [
            _suite(name, model[mine], item[mine], n[mine], y[mine], sign, rated)
            for name, mine in ((names[t] if t >= 0 else "(no task)", task == t) for t in np.unique(task))
        ]
    return [suite for suite in found if suite is not None]


def _suite(
    task: str | None, model: np.ndarray, item: np.ndarray, n: np.ndarray, y: np.ndarray, sign: float, rated: bool
) -> Suite | None:
    """Levels and what they are uncertain by: over items, less what an item does to all models alike; or binomial."""
    m = np.unique(model, return_inverse=True)[1]
    if rated:
        size = np.bincount(m, n)
        level = np.bincount(m, y) / size
        rate = np.clip(level, 0.5 / size, 1 - 0.5 / size)
        variance = rate * (1 - rate) / size
    else:
        _, i = np.unique(item, return_inverse=True)
        cell, at = np.unique(m.astype(np.int64) * (i.max() + 1) + i, return_inverse=True)
        m, i = cell // (i.max() + 1), cell % (i.max() + 1)
        value = np.bincount(at, y) / np.bincount(at, n)
        tried = np.bincount(m)
        level = np.bincount(m, value) / tried
        answered_by = np.bincount(i)
        usual = np.bincount(i, value - level[m]) / answered_by  # how easy the item is, on average over its models
        left = value - level[m] - np.where(answered_by > 1, usual, 0.0)[i]
        free = np.where(answered_by > 1, 1 - 1 / answered_by, 1.0)[i]
        variance = np.bincount(m, left**2 / free) / np.maximum(tried - 1, 1) / tried
        usable = tried > 1
        floor = np.median(variance[usable]) if usable.any() else 0.0
        variance = np.where(usable & (variance > 0), variance, floor)
    keep = variance > 0
    if keep.sum() < MODELS_MIN:
        return None
    order = np.argsort(-sign * level[keep], kind="stable")
    return Suite(task, sign * level[keep][order], variance[keep][order])


def spread(suite: Suite, k: int, draws: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draws of span and standard deviation of the true levels of the first k, each (draws,)."""
    window = min(len(suite.level), max(2 * k, AROUND))
    y, v = suite.level[:window], suite.variance[:window]
    cut = suite.level[window] if window < len(suite.level) else -np.inf
    centres, taus, weight = posterior_grid(y, v, cut)
    pick = rng.choice(weight.size, draws, p=weight.ravel())
    centre, tau = centres[pick // len(taus)], taus[pick % len(taus)]
    y, v = y[:k], v[:k]
    pull = tau[:, None] ** 2 / (tau[:, None] ** 2 + v)
    true = centre[:, None] + pull * (y - centre[:, None]) + np.sqrt(pull * v) * rng.standard_normal((draws, k))
    return np.ptp(true, axis=1), true.std(1)


def posterior_grid(y: np.ndarray, v: np.ndarray, cut: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points of centre and tau, and their posterior weights (centres, taus), flat in both; levels below `cut` are unseen."""
    sd = max(float(y.std()), float(np.sqrt(v.mean())))
    centres = np.linspace(y.min() - (0 if np.isinf(cut) else 3) * sd, y.max(), GRID)
    if np.isinf(cut):
        centres = np.linspace(y.mean() - 3 * sd, y.mean() + 3 * sd, GRID)
    taus = np.linspace(0.0, 4 * sd, GRID)
    wide = np.sqrt(taus[:, None] ** 2 + v)  # (taus, models)
    score = np.zeros((GRID, GRID))
    for j, s in enumerate(wide):
        z = (y - centres[:, None]) / s
        score[:, j] = (-(z**2) / 2 - np.log(s)).sum(1)
        if np.isfinite(cut):
            score[:, j] -= log_ndtr((centres[:, None] - cut) / s).sum(1)
    weight = np.exp(score - score.max())
    return centres, taus, weight / weight.sum()


def p_alike(y: np.ndarray, v: np.ndarray) -> float:
    """Probability of so much spread among models that are equal (Cochran's Q)."""
    weight = 1 / v
    q = float((weight * (y - (weight * y).sum() / weight.sum()) ** 2).sum())
    return float(chdtrc(len(y) - 1, q))
