"""A covariance of many arm levels from not so many items.

With A arms and I items the sample covariance has rank I - 1 at most, and its small eigenvalues promise precision that
is not there. Its correlations are shrunk towards their mean within classes of alike pairs (same model? same regime?
same context?), by the intensity that minimises expected squared error (Ledoit and Wolf 2004). Variances are kept.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp


def shrunk_covariance(influence: sp.csr_array, labels: np.ndarray) -> np.ndarray:
    """Shrunk `influence.T @ influence`; influence has shape (items, A), labels (3, A): model, regime, context."""
    sample = (influence.T @ influence).toarray()
    scale = np.sqrt(np.maximum(np.diag(sample), 1e-300))
    correlation = sample / np.outer(scale, scale)
    unit = sp.csr_array(influence @ sp.diags_array(1 / scale))
    squares = unit.multiply(unit)
    shared = influence.astype(bool).astype(float)
    count = (shared.T @ shared).toarray()
    items = max(len(influence.indptr) - 1, 2)
    noise = (squares.T @ squares).toarray() - correlation**2 / items
    same = np.sum([(row[:, None] == row[None, :]).astype(int) << k for k, row in enumerate(labels)], 0)
    pair = (count > 0) & ~np.eye(len(scale), dtype=bool) & (np.diag(sample)[:, None] > 0) & (np.diag(sample) > 0)
    target = correlation.copy()
    for kind in np.unique(same[pair]):
        of_kind = pair & (same == kind)
        target[of_kind] = correlation[of_kind].mean()
    distance = ((correlation - target)[pair] ** 2).sum()
    intensity = np.clip(noise[pair].sum() / distance, 0.0, 1.0) if distance > 0 else 1.0
    return np.outer(scale, scale) * ((1 - intensity) * correlation + intensity * target)


def uncoupled(covariance: np.ndarray, model: np.ndarray, context: np.ndarray) -> np.ndarray:
    """The covariance without what ties the noise of means to the noise of contrasts, shape (A, A).

    Noise is split as levels are: grand mean, models, contexts, the rest. Each part keeps its covariance; the parts are
    made uncorrelated. Otherwise generalised least squares would read an interaction that it takes for noise as news
    about the mean of all levels, by a regression on dozens of directions that a few hundred items cannot support: on
    held-out items of real data that made levels worse than their raw means. For arms of like standard errors only.
    """
    total = np.zeros_like(covariance)
    seen = np.zeros((len(model), 0))
    for columns in (np.ones((len(model), 1)), _indicators(model), _indicators(context), np.eye(len(model))):
        fresh = columns - seen @ (seen.T @ columns)
        left, size, _ = np.linalg.svd(fresh, full_matrices=False)
        basis = left[:, size > 1e-8 * max(size[0], 1e-300)] if size[0] > 1e-8 else left[:, :0]
        total += basis @ (basis.T @ covariance @ basis) @ basis.T
        seen = np.concatenate([seen, basis], axis=1)
    return total + np.diag(np.maximum(np.diag(covariance) - np.diag(total), 0.0))  # nobody gets surer by it


def _indicators(code: np.ndarray) -> np.ndarray:
    return (code[:, None] == np.unique(code)).astype(float)
