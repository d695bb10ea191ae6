"""Arm levels with their clustered covariance: what the hierarchical model sees of the log.

An arm is one (model, regime, context). Its level is the weighted mean of its items' means, `M_a = sum_i pi_i m_ai`;
items are a sample of their task (tasks are fixed strata), so

    Cov(M_a, M_b) = sum_i phi_ai phi_bi,    phi_ai = pi_i (m_ai - M_a) sqrt(I / (I - 1)),

the influence of item i on both levels. Shared items, item-by-context movement and replicates that are copies are in it
by construction: a row that repeats an item adds no cluster. Sessions are a second way of clustering and add the excess
of the between-session sums over what their single items already gave (two-way clustering: Cameron, Gelbach and
Miller 2011). Waves are removed first: a shift that all contexts of a wave share is the instrument's, not an arm's.

Levels then move to the link scale (logit, or log for times and costs) by the delta method.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import scipy.sparse as sp

from divergence.cells import Cells
from divergence.joint.covariance import shrunk_covariance
from divergence.joint.weights import item_weights
from divergence.numerics import expit, logit, nearest_psd

PSEUDO = 0.5  # Jeffreys: half a success and half a failure, so that an arm without failures is not certain


@dataclasses.dataclass(frozen=True)
class Arms:
    """A levels on the link scale, their covariance, and the instrument's shifts."""

    model: np.ndarray
    """Code of each arm's model, shape (A,)."""
    deployed: np.ndarray
    """True where the arm's regime is deployment, shape (A,)."""
    context: np.ndarray
    """Code of each arm's context, shape (A,)."""
    value: np.ndarray
    """Levels on the link scale, shape (A,)."""
    covariance: np.ndarray
    """Their sampling covariance for new items and new sessions, shape (A, A)."""
    rows: np.ndarray
    """Judged trials of each arm, shape (A,)."""
    clusters: np.ndarray
    """Effective number of items behind each level, shape (A,)."""
    link: str
    """`logit` or `log`."""
    wave: np.ndarray
    """Shift of each wave on the link scale, summing to zero; empty when there is one wave or they do not connect."""
    wave_covariance: np.ndarray
    """Covariance of the wave shifts."""
    notes: tuple[str, ...] = ()
    """Sentences on what was averaged over what."""

    def __len__(self) -> int:
        return len(self.value)


def from_link(value: np.ndarray, link: str) -> np.ndarray:
    """Link scale to outcome scale."""
    return expit(value) if link == "logit" else np.exp(value)


def measure_arms(cells: Cells) -> Arms:
    """The arms of a log with judged rows, in order of (model, regime, context)."""
    counts = cells.counts.take(cells.counts["n"] > 0)
    arm_keys, arm = np.unique(
        np.stack([counts["model"], counts["regime"], counts["context"]]), axis=1, return_inverse=True)
    raw_keys, raw = np.unique(np.stack([arm.ravel(), counts["wave"]]), axis=1, return_inverse=True)
    raw = raw.ravel()
    weight, notes = item_weights(cells, counts, raw)
    mean = counts["y"] / counts["n"]
    level = np.bincount(raw, weight * mean)
    clusters = 1 / np.bincount(raw, weight**2 / np.where(counts["item"] < 0, counts["n"], 1.0))
    influence, pooled = _item_influence(counts, raw, weight, mean, len(level))
    sessions = _session_influence(cells, counts, raw_keys, arm_keys, weight, level)
    link = "log" if cells.kind == "positive" else "logit"
    smooth = level if link == "log" else (clusters * level + PSEUDO) / (clusters + 2 * PSEUDO)
    slope = smooth if link == "log" else smooth * (1 - smooth)
    rows = np.bincount(raw, counts["n"])
    combine, shifts = _remove_waves(raw_keys, rows, slope)

    a_clusters = 1 / (combine**2 @ (1 / clusters))
    if len(shifts) == 0 or raw_keys.shape[1] > arm_keys.shape[1]:  # waves of one arm share their items
        a_clusters = np.minimum(np.maximum.reduceat(clusters, _starts(raw_keys[0])), a_clusters)
    a_level = combine @ level
    regime = np.array([name == "deployment" for name in cells.levels["regime"]])[arm_keys[1]]
    item_part = (sp.csr_array(combine) @ influence.T).T.tocsr()
    covariance = shrunk_covariance(item_part, np.stack([arm_keys[0], regime, arm_keys[2]]))
    covariance = covariance + combine @ np.diag(pooled) @ combine.T
    if sessions is not None:
        excess = combine @ sessions @ combine.T
        np.fill_diagonal(excess, np.maximum(np.diag(excess), 0.0))
        covariance = nearest_psd(covariance + excess)
    if link == "logit":
        value_level = (a_clusters * a_level + PSEUDO) / (a_clusters + 2 * PSEUDO)
        covariance = covariance + np.diag(((0.5 - a_level) / (a_clusters + 2 * PSEUDO)) ** 2)
        value, jacobian = logit(value_level), 1 / (value_level * (1 - value_level))
    else:
        value, jacobian = np.log(a_level), 1 / a_level
    covariance = nearest_psd(covariance * np.outer(jacobian, jacobian))
    wave_part = (sp.csr_array(shifts) @ influence.T).T.tocsr() if len(shifts) else None
    wave_covariance = (wave_part.T @ wave_part).toarray() if wave_part is not None else np.zeros((0, 0))
    return Arms(
        arm_keys[0], regime, arm_keys[2], value, covariance, np.bincount(arm.ravel(), counts["n"]), a_clusters, link,
        shifts @ level if len(shifts) else np.zeros(0), wave_covariance, notes,
    )


def _starts(sorted_codes: np.ndarray) -> np.ndarray:
    return np.flatnonzero(np.r_[True, np.diff(sorted_codes) != 0])


def _item_influence(counts, raw, weight, mean, size) -> tuple[sp.csr_array, np.ndarray]:
    """Influence of each (task, item) on each raw level, shape (items, raw arms), and the variance of pooled rows."""
    _, task = np.unique(np.stack([raw, counts["task"]]), axis=1, return_inverse=True)
    task = task.ravel()
    share = np.bincount(task, weight)
    centre = np.bincount(task, weight * mean) / share
    pooled_row = counts["item"] < 0
    units = np.bincount(task, np.where(pooled_row, counts["n"], 1.0))
    bessel = (units / np.maximum(units - 1, 1))[task]
    phi = weight * (mean - centre[task]) * np.sqrt(bessel)
    keep = ~pooled_row
    _, item = np.unique(np.stack([counts["task"], counts["item"]])[:, keep], axis=1, return_inverse=True)
    item = item.ravel()
    rows = (item.max() + 1) if len(item) else 0
    influence = sp.coo_array((phi[keep], (item, raw[keep])), shape=(rows, size)).tocsr()
    spread = counts["yy"] - 2 * centre[task] * counts["y"] + counts["n"] * centre[task] ** 2
    pooled = np.bincount(raw, np.where(pooled_row, (weight / counts["n"]) ** 2 * spread * bessel, 0.0), size)
    return influence, pooled


def _session_influence(cells, counts, raw_keys, arm_keys, weight, level) -> np.ndarray | None:
    """Excess covariance of raw levels from sessions: between-session sums minus their (session, item) parts."""
    table = cells.sessions.take(cells.sessions["n"] > 0)
    if not len(table):
        return None
    key = lambda t: np.stack([t[k] for k in ("model", "regime", "context", "wave", "scorer", "task", "item")])  # noqa: E731
    both = np.concatenate([key(counts), key(table)], axis=1)
    _, code = np.unique(both, axis=1, return_inverse=True)
    code = code.ravel()
    place = np.empty(code.max() + 1, dtype=np.int64)
    place[code[: len(weight)]] = np.arange(len(weight))
    row = place[code[len(weight):]]  # row of `counts` that each session row belongs to
    arm_of = {tuple(k): j for j, k in enumerate(arm_keys.T)}
    arm = np.array([arm_of[k] for k in zip(table["model"], table["regime"], table["context"], strict=True)])
    raw_of = {tuple(k): j for j, k in enumerate(raw_keys.T)}
    raw = np.array([raw_of[k] for k in zip(arm, table["wave"], strict=True)])
    residual = (weight / counts["n"])[row] * (table["y"] - table["n"] * level[raw])
    _, session = np.unique(table["session"], return_inverse=True)
    size = raw_keys.shape[1]
    sums = sp.coo_array((residual, (session, raw)), shape=(session.max() + 1, size)).tocsr()
    if sums.shape[0] < 2:
        return None
    _, part = np.unique(np.stack([session, table["task"], table["item"]]), axis=1, return_inverse=True)
    parts = sp.coo_array((residual, (part.ravel(), raw)), shape=(part.max() + 1, size)).tocsr()
    # A row without item is an item of its own: only its own square is already in the item part.
    pooled = table["item"] < 0
    between = (sums.T @ sums).toarray() * sums.shape[0] / (sums.shape[0] - 1)
    within = (parts.T @ parts).toarray()
    if pooled.any():
        scale = (weight / counts["n"])[row] ** 2
        spread = table["yy"] - 2 * level[raw] * table["y"] + table["n"] * level[raw] ** 2
        within += np.diag(np.bincount(raw, np.where(pooled, scale * spread - residual**2, 0.0), size))
    return between - within


def _remove_waves(raw_keys: np.ndarray, rows: np.ndarray, slope: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Linear maps from raw levels to wave-free arm levels, shape (A, raw), and to wave shifts, shape (W, raw).

    Weighted least squares of `M_aw = M_a + slope_aw omega_w`, omega summing to zero. Shifts are empty when there is one
    wave, or when no arm connects the waves (then an arm's level is the plain mean over its waves).
    """
    arm, wave = raw_keys
    size, arms = len(arm), arm.max() + 1
    mean = np.zeros((arms, size))
    mean[arm, np.arange(size)] = rows / np.bincount(arm, rows)[arm]
    names = np.unique(wave)
    if len(names) < 2:
        return mean, np.zeros((0, size))
    code = np.searchsorted(names, wave)
    basis = np.linalg.svd(np.ones((1, len(names))))[2][1:].T  # columns span the shifts that sum to zero
    shift = slope[:, None] * basis[code]
    centred = shift - mean[arm] @ shift  # arms swept out
    gram = centred.T @ (rows[:, None] * centred)
    if np.linalg.matrix_rank(gram, tol=1e-8 * rows.sum()) < len(names) - 1:
        return mean, np.zeros((0, size))
    solve = np.linalg.solve(gram, (rows[:, None] * centred).T)
    return mean - (mean @ shift) @ solve, basis @ solve
