"""How items and sessions carry into arm levels: influence matrices, and the excess that sessions add."""

from __future__ import annotations

import dataclasses

import numpy as np
import scipy.sparse as sp

from divergence.cells import Cells, Table
from divergence.numerics import combinations, together


@dataclasses.dataclass(frozen=True)
class Sessions:
    """What sessions say of the covariance of R raw levels."""

    excess: sp.csr_array
    """What they add to the covariance that single items gave, shape (R, R)."""
    between: np.ndarray
    """Variance of each level between sessions, single items' part included, shape (R,)."""
    count: np.ndarray
    """Sessions behind each level, shape (R,)."""

    def scaled(self, by: np.ndarray) -> Sessions:
        """The same of levels that are multiplied, each `by` its own number, shape (R,)."""
        if (by == 1).all():
            return self
        each = sp.diags_array(by)
        return Sessions(sp.csr_array(each @ self.excess @ each), by**2 * self.between, self.count)


ROW = ("model", "regime", "context", "wave", "scorer", "chance", "task", "item")


def item_influence(counts: Table, raw: np.ndarray, weight: np.ndarray) -> tuple[sp.csr_array, np.ndarray]:
    """Influence of each (task, item) on each raw level, shape (items, raw arms), and the variance of pooled rows.

    `raw` is the raw arm of each row of `counts`, `weight` its weight in that arm's level. Rows that stand for many items
    (no item of their own) add their variance to the diagonal only.
    """
    size = raw.max() + 1
    mean = counts["y"] / counts["n"]
    _, task = combinations(raw, counts["task"])
    centre = np.bincount(task, weight * mean) / np.bincount(task, weight)
    pooled = counts["item"] < 0
    distinct = combinations(task[~pooled], counts["item"][~pooled])[0][0]  # an item of two scorers is one
    units = np.bincount(task, np.where(pooled, counts["n"], 0.0)) + np.bincount(distinct, minlength=task.max() + 1)
    bessel = (units / np.maximum(units - 1, 1))[task]
    phi = weight * (mean - centre[task]) * np.sqrt(bessel)
    _, item = combinations(counts["task"][~pooled], counts["item"][~pooled])
    shape = (item.max() + 1 if len(item) else 0, size)
    influence = sp.coo_array((phi[~pooled], (item, raw[~pooled])), shape=shape).tocsr()
    spread = counts["yy"] - 2 * centre[task] * counts["y"] + counts["n"] * centre[task] ** 2
    variance = np.where(pooled, (weight / counts["n"]) ** 2 * spread * bessel, 0.0)
    return influence, np.bincount(raw, variance, size)


def session_excess(cells: Cells, counts: Table, raw: np.ndarray, weight: np.ndarray, level: np.ndarray) -> Sessions | None:
    """The covariance of raw levels that sessions add to what single items gave.

    Between-session sums of residuals, minus the (session, item) parts that the item clusters already hold. None where
    the log has no two sessions.
    """
    table = cells.sessions.take(cells.sessions["n"] > 0)
    _, session = np.unique(table["session"], return_inverse=True)
    count = session.max() + 1 if len(table) else 0
    if count < 2:
        return None
    row = _matching(counts, table)
    arm = raw[row]
    scale = (weight / counts["n"])[row]
    residual = scale * (table["y"] - table["n"] * level[arm])
    size = len(level)
    sums = sp.coo_array((residual, (session.ravel(), arm)), shape=(count, size)).tocsr()
    part = together(session, table["task"], table["item"])
    parts = sp.coo_array((residual, (part, arm)), shape=(part.max() + 1, size)).tocsr()
    between = (sums.T @ sums) * count / (count - 1)
    within = parts.T @ parts
    # Rows without item are items of their own: what is already counted is each row's square, not their sum's.
    spread = scale**2 * (table["yy"] - 2 * level[arm] * table["y"] + table["n"] * level[arm] ** 2)
    own = np.where(table["item"] < 0, spread - residual**2, 0.0)
    # A thinned table holds one in `every` sessions: sums over all of them are that many times as large.
    excess = cells.every("sessions") * (between - within - sp.diags_array(np.bincount(arm, own, size)))
    excess = sp.csr_array(excess - sp.diags_array(np.minimum(excess.diagonal(), 0.0)))
    return Sessions(excess, cells.every("sessions") * between.diagonal(), np.diff(sums.tocsc().indptr).astype(float))


def _matching(counts: Table, table: Table) -> np.ndarray:
    """The row of `counts` that each row of `table` belongs to."""
    code = together(*(np.concatenate([counts[k], table[k]]) for k in ROW))
    place = np.empty(code.max() + 1, dtype=np.int64)
    place[code[: len(counts)]] = np.arange(len(counts))
    return place[code[len(counts) :]]
