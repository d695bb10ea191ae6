"""A shift that all contexts of a measuring wave share is the instrument's: it is estimated first and taken out."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp


def remove_waves(
    arm: np.ndarray, wave: np.ndarray, rows: np.ndarray, slope: np.ndarray, changed: np.ndarray | None = None
) -> tuple[np.ndarray | sp.csr_array, np.ndarray]:
    """Linear maps from raw (arm, wave) levels to arm levels, shape (A, raw), and to wave shifts, shape (W, raw).

    Weighted least squares of `M_aw = M_a + slope_aw omega_w` with `omega` summing to zero on the link scale. The shifts
    have shape (0, raw) when there is one wave (the first map is sparse then), or when no arm connects the waves: an arm's
    level is then the plain mean over its waves, whatever they did to it. Arms that `changed` by themselves between waves,
    shape (A,), say nothing about the shift; theirs, too, is taken out.
    """
    size, arms = len(arm), arm.max() + 1
    names, share = np.unique(wave), rows / np.bincount(arm, rows)[arm]
    if len(names) < 2:
        return sp.csr_array((share, (arm, np.arange(size))), shape=(arms, size)), np.zeros((0, size))
    mean = np.zeros((arms, size))
    mean[arm, np.arange(size)] = share
    basis = np.linalg.svd(np.ones((1, len(names))))[2][1:].T  # columns span the shifts that sum to zero
    shift = slope[:, None] * basis[np.searchsorted(names, wave)]
    centred = shift - mean[arm] @ shift  # arms swept out
    telling = rows if changed is None else rows * ~changed[arm]
    gram = centred.T @ (telling[:, None] * centred)
    if np.linalg.matrix_rank(gram, tol=1e-8 * rows.sum()) < len(names) - 1:
        return mean, np.zeros((0, size))
    solve = np.linalg.solve(gram, (telling[:, None] * centred).T)
    return mean - (mean @ shift) @ solve, basis @ solve
