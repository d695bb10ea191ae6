"""A logit of runs with a model's level, an item effect, a context's effect and the slope of a covariate known with error.

    logit p = (alpha_m + beta_u + gamma_c + b s) / (1 + pi b^2 var / 8)^(1/2)
    beta_u ~ N(0, sd_item^2)   gamma_c ~ N(0, sd_context^2)   alpha_m, b ~ N(0, 5^2)   log sd_item ~ N(0, 1)

Item effects are integrated out by adaptive Gauss-Hermite quadrature about the mode of each (Pinheiro and Bates 1995): the
joint mode over effects and slope would pull slopes to 0. Newton's method on the rest, the Hessian by Louis' identity;
sd_context at the maximum of the Laplace evidence over a grid. Covariance: sandwich with the scores summed by item.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from scipy.sparse import csr_array

WIDE = 5.0  # sd of levels and slope, in logits: flat where data are
CONTEXT_SDS = (0.05, 0.15, 0.4, 1.0)
NODES = 7  # exact for polynomials of degree 13 about the mode
NEWTON, INNER = 40, 8  # steps at most; of the item effects within each
TOLERANCE = 1e-5
LARGEST, LARGEST_SD = 2.0, 0.3  # logits, and log sd, in one step
CURVED = 0.1  # least curvature a step is taken with
ROOM = 2**15  # numbers that are worked on at once: what the near cache of a core holds
GAP_ROWS = 4000  # rows over which gaps are averaged: their sampling error is in the draws of the effects already


@dataclasses.dataclass(frozen=True)
class Data:
    """Rows, one a run."""

    success: np.ndarray
    """0 or 1, (N,)."""
    model: np.ndarray
    """Number of the model, (N,)."""
    unit: np.ndarray
    """Number of the item of the model, (N,)."""
    context: np.ndarray
    """Number of the context, 0 = evaluation, (N,)."""
    item: np.ndarray
    """Number of the item, (N,)."""
    items: int
    """Items."""
    moved: np.ndarray
    """Covariate, (N,)."""
    variance: np.ndarray
    """Its error variance, (N,)."""
    units: int
    """Units."""

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
        units, first, unit = np.unique(self.unit[rows], return_index=True, return_inverse=True)
        model, known, share = self.model[rows[first]], item[units], np.bincount(unit) / max(len(rows), 1)
        place, moved, contexts = self.context[rows] - 1, self.moved[rows], slice(self.models, -1)
        mean = np.zeros((len(fixed), 2))
        step = max(1, ROOM // max(len(rows), 1))
        for begin in range(0, len(fixed), step):  # odds against success: each effect multiplies them
            effects = fixed[begin : begin + step]
            bench = np.exp(-(effects[:, model] + known))
            here = bench[:, unit] * np.exp(-effects[:, contexts])[:, place]
            now = 1 / (1 + here * np.exp(-effects[:, -1:] * moved))
            gap, part = (1 / (1 + bench)) @ share - now.mean(1), (1 / (1 + here) - now).mean(1)
            mean[begin : begin + step] = np.stack([gap, part], 1)
        return mean[:, 0], mean[:, 1]


@dataclasses.dataclass(frozen=True)
class Fit:
    """Mode and covariance."""

    fixed: np.ndarray
    """Levels, contexts, slope, (P,)."""
    influence: np.ndarray
    """What each item adds to them, (items, P): the sum of its outer products is the sandwich covariance."""
    item: np.ndarray
    """Modes of the item effects, (U,)."""
    scales: tuple[float, float]
    """sd of items and of contexts."""
    evidence: float
    """Laplace."""


def chance(logit: np.ndarray) -> np.ndarray:
    """Inverse logit."""
    found = np.maximum(np.minimum(-logit, 35), -35)
    np.exp(found, out=found)
    found += 1
    return np.reciprocal(found, out=found)


def best(data: Data, start: Fit | None = None) -> Fit:
    """The fit at the sd of contexts with the largest evidence, or at that of `start`."""
    sums = UnitSums.of(data)
    if start is not None:
        return at(data, sums, start.scales[1], start)
    fit = at(data, sums, CONTEXT_SDS[2], None)
    fits = [fit, *(at(data, sums, sd, fit) for sd in CONTEXT_SDS if sd != CONTEXT_SDS[2])]
    return max(fits, key=lambda f: f.evidence)


@dataclasses.dataclass(frozen=True)
class UnitSums:
    """Sparse matrices that sum rows by unit."""

    plain: csr_array
    """0 and 1, (U, N)."""
    design: csr_array
    """Each row of the design, (U * P, N): few of its columns are not 0."""

    @classmethod
    def of(cls, data: Data) -> UnitSums:
        """Of these rows."""
        from scipy.sparse import csr_array

        design, n = data.design, len(data.unit)
        row, column = np.nonzero(design)
        width = design.shape[1]
        weighed = csr_array((design[row, column], (data.unit[row] * width + column, row)), (data.units * width, n))
        return cls(csr_array((np.ones(n), (data.unit, np.arange(n))), (data.units, n)), weighed)


@dataclasses.dataclass(frozen=True)
class Integral:
    """The likelihood at one point, its gradient by unit, its negative Hessian."""

    value: float
    scores: np.ndarray
    hessian: np.ndarray
    item: np.ndarray


def integral(data: Data, design: np.ndarray, sums: UnitSums, theta: np.ndarray, item: np.ndarray) -> Integral:
    """Item effects integrated out at `theta` (fixed effects, log sd of items), from their last modes."""
    fixed, log_sd = theta[:-1], theta[-1]
    precision = np.exp(-2 * log_sd)
    # Held where it is in every step: a slope that the data could lower to be flattened less would be pulled to 0.
    flat = 1 / np.sqrt(1 + np.pi / 8 * fixed[-1] ** 2 * data.variance)
    line = design @ fixed
    for _ in range(INNER):
        p = chance(flat * (line + item[data.unit]))
        curve = sums.plain @ (flat**2 * p * (1 - p)) + precision
        step = (sums.plain @ (flat * (data.success - p)) - precision * item) / curve
        item = item + np.clip(step, -LARGEST, LARGEST)
        if np.abs(step).max() < TOLERANCE:
            break
    nodes, weights = np.polynomial.hermite.hermgauss(NODES)
    width = np.sqrt(2 / curve)
    beta = item[:, None] + width[:, None] * nodes
    p = chance(flat[:, None] * (line[:, None] + beta[data.unit]))
    right = np.where(data.success[:, None] > 0.5, p, 1 - p)
    log = sums.plain @ (np.log(np.maximum(right, 1e-15))) - 0.5 * precision * beta**2 - log_sd
    log += nodes**2 + np.log(weights) + np.log(width)[:, None] - 0.5 * np.log(2 * np.pi)
    top = log.max(1, keepdims=True)
    each = np.exp(log - top)
    posterior = each / each.sum(1, keepdims=True)
    residual = flat[:, None] * (data.success[:, None] - p)
    by_effect = (sums.design @ residual).reshape(data.units, -1, NODES)
    gradient = np.concatenate([by_effect.swapaxes(1, 2), precision * beta[:, :, None] ** 2 - 1], axis=2)
    scores = np.einsum("uk,ukp->up", posterior, gradient)
    own = np.einsum("nk,nk->n", posterior[data.unit], p * (1 - p))
    hessian = np.zeros((len(theta),) * 2)
    hessian[:-1, :-1] = design.T @ (design * (flat**2 * own)[:, None])
    hessian[-1, -1] = 2 * precision * (posterior * beta**2).sum()
    weighed = (gradient * np.sqrt(posterior)[..., None]).reshape(-1, len(theta))
    hessian -= weighed.T @ weighed - scores.T @ scores
    return Integral(float((top[:, 0] + np.log(each.sum(1))).sum()), scores, hessian, item)


def at(data: Data, sums: UnitSums, context_sd: float, start: Fit | None) -> Fit:
    """Mode, sandwich and Laplace evidence at this sd of contexts."""
    design = data.design
    p = design.shape[1]
    theta = np.append(start.fixed, np.log(start.scales[0])) if start else np.zeros(p + 1)
    item = start.item if start else np.zeros(data.units)
    prior = np.full(p + 1, 1 / WIDE**2)
    prior[data.models : p - 1] = 1 / context_sd**2
    prior[-1] = 1.0
    for _ in range(NEWTON):
        found = integral(data, design, sums, theta, item)
        item = found.item
        values, vectors = np.linalg.eigh(found.hessian + np.diag(prior))
        curved = np.maximum(np.abs(values), CURVED)  # uphill also where the density is not yet concave
        inverse = (vectors / curved) @ vectors.T
        step = inverse @ (found.scores.sum(0) - prior * theta)
        largest = np.abs(step).max()
        theta = theta + step * min(1.0, LARGEST / max(largest, 1e-12), LARGEST_SD / max(abs(step[-1]), 1e-12))
        if largest < TOLERANCE:
            break
    evidence = found.value - 0.5 * (prior * theta**2).sum() + 0.5 * np.log(prior).sum() - 0.5 * np.log(curved).sum()
    first = np.zeros(data.units, int)
    first[data.unit] = data.item
    scores = np.zeros((data.items, p + 1))
    np.add.at(scores, first, found.scores)
    return Fit(theta[:-1], (scores @ inverse)[:, :-1], item, (float(np.exp(theta[-1])), context_sd), float(evidence))
