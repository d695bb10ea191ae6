"""What is the MMD of weighted rows, for many sets of weights at once? One product a block, and nothing a row is kept.

With weights w of rows in blocks of whole sessions, and k the mean of Gaussian kernels at several bandwidths,

    K_gh = sum over rows i of block g, j of block h of w_i w_j k(r_i, r_j),      m_g = sum of w in g
    MMD2 = sum_{g != h in x} K_gh / (M_x^2 - sum m_g^2)  +  the same of y  -  2 sum_{g in x, h in y} K_gh / (M_x M_y)

A block of weight 0 is left out, so the V sets of weights hold the sample and all its jackknife samples. `exact_gram` takes
every pair of rows, O(n^2 V); `feature_gram` random features, O(n D V) and one pass, whose D features share the bandwidths
between them. Without weights (all 1) this is the headline of `mmd`.
"""

from __future__ import annotations

import numpy as np

from divergence.geometry.kernels import GRAM_ROWS, ROWS, Kernel, squared_distances


def exact_gram(rows: np.ndarray, starts: np.ndarray, weights: np.ndarray, bandwidths: tuple[float, ...]) -> np.ndarray:
    """K for each of V sets of weights (n, V): (V, G, G); rows lie in the order of their blocks, which begin at `starts`."""
    rows = rows.astype(np.float64) - rows.mean(0, dtype=np.float64)
    ends = np.r_[starts[1:], len(rows)]
    gram = np.zeros((weights.shape[1], len(starts), len(starts)))
    for g, (start, end) in enumerate(zip(starts, ends, strict=True)):
        for low in range(start, end, GRAM_ROWS):
            block = slice(low, min(low + GRAM_ROWS, end))
            squared = squared_distances(rows[block], rows)
            kernel = np.mean([np.exp(squared * (-0.5 / s**2)) for s in bandwidths], axis=0)
            for h in range(len(starts)):
                other = slice(starts[h], ends[h])
                gram[:, g, h] += np.einsum("iv,iv->v", weights[block], kernel[:, other] @ weights[other])
    return gram


def feature_gram(rows: np.ndarray, starts: np.ndarray, weights: np.ndarray, kernel: Kernel) -> np.ndarray:
    """The same K from random features: frequency j has bandwidth j modulo their number."""
    half = kernel.features // 2
    frequencies = kernel.frequencies() / np.resize(np.array(kernel.bandwidths, np.float32), half)
    total = np.zeros((weights.shape[1], len(starts), kernel.features))
    for g, (start, end) in enumerate(zip(starts, np.r_[starts[1:], len(rows)], strict=True)):
        for low in range(start, end, ROWS):
            block = slice(low, min(low + ROWS, end))
            phases = (rows[block] - np.array(kernel.centre)).astype(np.float32) @ frequencies
            part = weights[block].astype(np.float32).T
            total[:, g, :half] += part @ np.cos(phases)
            total[:, g, half:] += part @ np.sin(phases)
    return total @ total.swapaxes(1, 2) / half


def discrepancies(gram: np.ndarray, mass: np.ndarray, first: int) -> np.ndarray:
    """MMD2 of each set of weights, (V,); K (V, G, G), mass (V, G), the first `first` blocks are x."""
    parts = []
    for side in (slice(None, first), slice(first, None)):
        inside, m = gram[:, side, side], mass[:, side]
        pairs = inside.sum((1, 2)) - np.einsum("vgg->v", inside)
        parts.append(pairs / (m.sum(1) ** 2 - (m**2).sum(1)))
    across = gram[:, :first, first:].sum((1, 2)) / (mass[:, :first].sum(1) * mass[:, first:].sum(1))
    return parts[0] + parts[1] - 2 * across
