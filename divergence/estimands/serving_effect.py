"""What does each serving factor do?

    mean over models and deployment contexts of  mu_mc(factor at this level) - mu_mc(factor at its reference level)

All other terms of the joint model stay as they are. The reference is the level of the evaluation context, else the most
frequent level; a log without evaluation whose only factor is the context itself compares with the mean over contexts.
Rows with a `model` hold that model's own effect. `statistic` = `variance_share`: the factor's share of the variance of
all factor effects. A factor that changes only together with others is refused, and they are named. "Association" unless
contexts were randomised or replayed. Unit: points, stored as fractions.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from divergence.estimands.rows import answer, frame, refuse, unit_of
from divergence.estimate import Estimate
from divergence.joint.link import from_link
from divergence.joint.posterior import Fit, Posterior
from divergence.joint.predict import link_levels

QUESTION, TEXT = "serving_effect", "what a level of a serving factor does to the score, against the reference level"


def serving_effect(posterior: Posterior, *, outcome: str | None = None) -> Estimate:
    """Rows (factor, level) over models, (factor, level, model), and one `variance_share` a factor."""
    fit = posterior[outcome]
    unit = unit_of(fit)
    if not any(t.name.startswith("beta:") for t in fit.design.terms):
        return refuse(fit, QUESTION, TEXT, unit, "no serving factor has two levels in this log")
    rows, draws, reasons = [], [], []
    pooled = {}
    for factor in fit.design.mixtures:
        others = aliases(fit, factor)
        if others:
            rows.append(_rows(factor, [None], None, None))
            draws.append(np.full((len(fit.effects), 1), np.nan))
            reasons.append(f"{factor} changes only together with {' and '.join(others)}: their effects cannot be told apart")
            continue
        if not _varies_within_a_regime(fit, factor):
            rows.append(_rows(factor, [None], None, None))
            draws.append(np.full((len(fit.effects), 1), np.nan))
            reasons.append(f"{factor} differs only between the regimes: its effect cannot be told from deployment's")
            continue
        effect, reference, shown = _effects(fit, factor)  # (S, models, levels)
        names = [fit.design.levels[factor][k] for k in shown]
        pooled[factor] = effect.mean(1)
        rows.append(_rows(factor, names, None, reference))
        draws.append(effect.mean(1))
        if fit.design.n_models > 1:
            for m, model in enumerate(fit.cells.levels["model"]):
                rows.append(_rows(factor, names, model, reference))
                draws.append(effect[:, m])
        reasons += [None] * (sum(d.shape[1] for d in draws) - len(reasons))
    if len(pooled) > 1:
        spread = np.stack([(e**2).sum(1) / (e.shape[1] + 1) - (e.sum(1) / (e.shape[1] + 1)) ** 2
                           for e in pooled.values()], 1)
        names = list(pooled)
        rows.append(frame(factor=names, level=[None] * len(names), model=[None] * len(names),
                          statistic=["variance_share"] * len(names), axis=[None] * len(names))
                    .with_columns(unit=pl.lit("ratio")))
        draws.append(spread / spread.sum(1, keepdims=True))
        reasons += [None] * len(names)
    return answer(fit, QUESTION, TEXT, unit, pl.concat([r if "unit" in r.columns else r.with_columns(unit=pl.lit(unit))
                                                        for r in rows]),
                  np.concatenate(draws, 1), reason=tuple(reasons))


def aliases(fit: Fit, factor: str) -> list[str]:
    """The other factors from whose levels this one's can be told in every context of the log."""
    mine = fit.design.mixtures[factor]
    others = {f: m for f, m in fit.design.mixtures.items() if f != factor}
    if not others:
        return []
    single = [f for f, m in others.items() if _spanned(mine, [m])]
    if single:
        return single
    return list(others) if _spanned(mine, list(others.values())) else []


def _spanned(mine: np.ndarray, others: list[np.ndarray]) -> bool:
    base = np.concatenate([np.ones((len(mine), 1)), *others], 1)
    rank = np.linalg.matrix_rank(base)
    return np.linalg.matrix_rank(np.concatenate([base, mine], 1)) == rank


def _varies_within_a_regime(fit: Fit, factor: str) -> bool:
    """Does the factor vary over the contexts of one regime? A bare context label is compared with the bench itself."""
    regime = fit.design.contexts[:, 0]
    shares = fit.design.mixtures[factor]
    return factor == "context" or any(np.ptp(shares[regime == r], axis=0).max() > 0 for r in np.unique(regime))


def _effects(fit: Fit, factor: str) -> tuple[np.ndarray, str, list[int]]:
    """Effects (S, models, levels shown), the name of the reference, and which levels are shown."""
    design = fit.design
    deployed = np.flatnonzero(design.contexts[:, 0] == 1)
    evaluated = np.flatnonzero(design.contexts[:, 0] == 0)
    where = deployed if len(deployed) else evaluated
    shares = design.mixtures[factor]
    at = []
    for level in range(shares.shape[1]):
        mixtures = {f: m[where].copy() for f, m in design.mixtures.items()}
        mixtures[factor] = np.zeros_like(mixtures[factor])
        mixtures[factor][:, level] = 1.0
        if factor == "context":  # the label is all that is known: what it does is what that context did
            at.append(from_link(link_levels(fit, _with_level(fit, level)), fit.arms.link).mean(2))
            continue
        at.append(from_link(link_levels(fit, where, mixtures), fit.arms.link).mean(2))
    stacked = np.stack(at, 2)
    levels = list(range(shares.shape[1]))
    if factor == "context" and not len(evaluated):
        return stacked - stacked.mean(2, keepdims=True), "the mean over contexts", levels
    base = int((shares[evaluated] if len(evaluated) else shares).mean(0).argmax())
    shown = [k for k in levels if k != base]
    return (stacked - stacked[:, :, [base]])[:, :, shown], design.levels[factor][base], shown


def _with_level(fit: Fit, level: int) -> np.ndarray:
    """The context of that label, in deployment where it was deployed; shape (1,)."""
    having = np.flatnonzero(fit.design.mixtures["context"][:, level] > 0)
    return having[np.argsort(-fit.design.contexts[having, 0])][:1]


def _rows(factor: str, levels: list, model: str | None, reference: str | None) -> pl.DataFrame:
    count = len(levels)
    against = [f"against {reference}" if reference else None] * count
    return frame(factor=[factor] * count, level=levels, model=[model] * count, statistic=[None] * count, axis=against)
