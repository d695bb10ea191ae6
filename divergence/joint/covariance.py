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
