"""A logit of runs with a model's level, an item effect, a context's effect and the slope of a covariate known with error.

    logit p = (alpha_m + beta_u + gamma_c + b s) / (1 + pi b^2 var / 8)^(1/2)
    beta_u ~ N(0, sd_item^2)   gamma_c ~ N(0, sd_context^2)   alpha_m, b ~ N(0, 5^2)

Newton's method with the item effects eliminated (their block is diagonal); the two sds at the maximum of the Laplace
evidence over a grid. Covariance of the other effects: sandwich with the scores summed by item.
"""

from __future__ import annotations

import dataclasses

import numpy as np

WIDE = 5.0  # sd of levels and slope, in logits: flat where data are
ITEM_SDS = (0.5, 1.0, 1.7, 2.8, 4.5)
CONTEXT_SDS = (0.05, 0.15, 0.4, 1.0)
NEWTON = 30
TOLERANCE = 1e-6
GAP_ROWS = 4000  # rows over which gaps are averaged: their sampling error is in the draws of the effects already


@dataclasses.dataclass(frozen=True)
class Data:
    """Rows, one a run."""

    success: np.ndarray
    """0 or 1, (N,)."""
    weight: np.ndarray
    """What each counts, (N,)."""
    model: np.ndarray
    """Number of the model, (N,)."""
    unit: np.ndarray
    """Number of the item of the model, (N,)."""
    context: np.ndarray
    """Number of the context, 0 = evaluation, (N,)."""
    item: np.ndarray
    """Number of the item, (N,)."""
    moved: np.ndarray
    """Covariate, (N,)."""
    variance: np.ndarray
    """Its error variance, (N,)."""

    @property
    def models(self) -> int:
        """Models."""
        return int(self.model.max()) + 1

    @property
    def design(self) -> np.ndarray:
        """Columns: models, contexts but the evaluation, the covariate; (N, P)."""
        contexts = int(self.context.max()) + 1
        return np.column_stack([np.eye(self.models)[self.model], np.eye(contexts)[self.context][:, 1:], self.moved])

    def gaps(self, fixed: np.ndarray, item: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean loss of success of deployed rows against the evaluation and the part that movement makes, (D,) each."""
        rows = np.flatnonzero(self.context > 0)
        rows = rows[:: max(1, len(rows) // GAP_ROWS)]
        model, context, moved = self.model[rows], self.context[rows], self.moved[rows]
        mean = np.zeros((len(fixed), 2))
        for d, effects in enumerate(fixed):
            base = effects[model] + item[self.unit[rows]]
            here = base + effects[self.models + context - 1]
            now = chance(here + effects[-1] * moved)
            mean[d] = (chance(base) - now).mean(), (chance(here) - now).mean()
        return mean[:, 0], mean[:, 1]


@dataclasses.dataclass(frozen=True)
class Fit:
    """Mode and covariance."""

    fixed: np.ndarray
    """Levels, contexts, slope, (P,)."""
    covariance: np.ndarray
    """Of these, (P, P)."""
    item: np.ndarray
    """Item effects, (U,)."""
    scales: tuple[float, float]
    """sd of items and of contexts."""
    evidence: float
    """Laplace."""


def chance(logit: np.ndarray) -> np.ndarray:
    """Inverse logit."""
    return 1 / (1 + np.exp(-np.clip(logit, -35, 35)))


def best(data: Data) -> Fit:
    """The fit at the sds with the largest evidence: items first, then contexts, then items again."""
    design = data.design
    fit = at(data, design, (ITEM_SDS[2], CONTEXT_SDS[2]), None)
    fits = {fit.scales: fit}
    for which, grid in ((0, ITEM_SDS), (1, CONTEXT_SDS), (0, ITEM_SDS)):
        for value in grid:
            scales = (value, fit.scales[1]) if which == 0 else (fit.scales[0], value)
            if scales not in fits:
                fits[scales] = at(data, design, scales, fit)
        fit = max(fits.values(), key=lambda f: f.evidence)
    return fit


def at(data: Data, design: np.ndarray, scales: tuple[float, float], start: Fit | None) -> Fit:
    """Mode and Laplace evidence at these sds."""
    units, p = int(data.unit.max()) + 1, design.shape[1]
    fixed, item = (start.fixed, start.item) if start else (np.zeros(p), np.zeros(units))
    prior = np.full(p, 1 / WIDE**2)
    prior[data.models : p - 1] = 1 / scales[1] ** 2
    own = 1 / scales[0] ** 2
    for _ in range(NEWTON):
        flat = 1 / np.sqrt(1 + np.pi / 8 * fixed[-1] ** 2 * data.variance)
        p_row = chance(flat * (design @ fixed + item[data.unit]))
        residual = data.weight * flat * (data.success - p_row)
        curve = data.weight * flat**2 * p_row * (1 - p_row)
        weighed = design * curve[:, None]
        own_curve = np.bincount(data.unit, curve, units) + own
        cross = np.stack([np.bincount(data.unit, column, units) for column in weighed.T], 1)
        gradient = design.T @ residual - prior * fixed
        own_gradient = np.bincount(data.unit, residual, units) - own * item
        schur = design.T @ weighed + np.diag(prior) - (cross / own_curve[:, None]).T @ cross
        step = np.linalg.solve(schur, gradient - cross.T @ (own_gradient / own_curve))
        own_step = (own_gradient - cross @ step) / own_curve
        largest = max(np.abs(step).max(), np.abs(own_step).max())
        part = min(1.0, 3.0 / max(largest, 1e-12))
        fixed, item = fixed + part * step, item + part * own_step
        if largest < TOLERANCE:
            break
    right = np.where(data.success > 0.5, p_row, 1 - p_row)
    value = (data.weight * np.log(np.maximum(right, 1e-15))).sum()
    evidence = value - 0.5 * (prior * fixed**2).sum() - 0.5 * own * (item**2).sum() + 0.5 * np.log(prior).sum() \
        + 0.5 * units * np.log(own) - 0.5 * np.log(own_curve).sum() - 0.5 * np.linalg.slogdet(schur)[1]
    # Scores of the other effects with the item effects profiled out, summed by item.
    profiled = residual[:, None] * (design - (cross / own_curve[:, None])[data.unit])
    scores = np.stack([np.bincount(data.item, column) for column in profiled.T], 1)
    inverse = np.linalg.inv(schur)
    covariance = inverse @ (scores.T @ scores + np.diag(prior)) @ inverse
    return Fit(fixed, (covariance + covariance.T) / 2, item, scales, float(evidence))
