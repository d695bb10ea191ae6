"""What the matrix of evaluation and deployment counts over items and waves: pure functions of counts.

Units: shares (probability), points. Nulls by relabelling: rows of one item keep their item and change their regime; values
of one item keep their item and change their wave.
"""

from __future__ import annotations

import numpy as np

from divergence.cells import Cells
from divergence.numerics import combinations

ITEMS_MIN = 10


def outside(mass: np.ndarray, present: np.ndarray | None = None) -> np.ndarray:
    """Share of deployment's mass on what evaluation does not have; `mass` (2, ..., kinds), evaluation first.

    `present` (2, kinds) says what a regime has, where the mass was weighted.
    """
    known = (mass > 0 if present is None else present)[0]
    return (mass[1] * ~known).sum(-1) / np.maximum(mass[1].sum(-1), 1e-300)


def relabelled(mass: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Rows dealt to regimes anew, items and totals of regimes kept in expectation; shape (count, 2, items)."""
    rows = np.round(mass.sum(0)).astype(int)
    first = rng.binomial(rows, mass[0].sum() / mass.sum(), (count, len(rows)))
    return np.stack([first, rows - first], 1).astype(float)


def between_waves(
    cells: Cells, draws: int, permutations: int, rng: np.random.Generator
) -> tuple[np.ndarray, float, np.ndarray] | str:
    """Draws (2, S) of the sd between waves of each regime's level, the contrast, its null; or why there is none."""
    counts = cells.counts.take((cells.counts["item"] >= 0) & (cells.counts["n"] > 0) & (cells.counts["wave"] >= 0))
    live = np.array([name == "deployment" for name in cells.levels["regime"]])[counts["regime"]]
    waves, wave = np.unique(counts["wave"], return_inverse=True)
    items, item = combinations(counts["task"], counts["item"])
    shape = (2, len(waves), items.shape[1])
    if len(waves) < 2:
        return f"the log has {len(waves)} waves; how the level moves between them needs two"
    where = np.ravel_multi_index((live.astype(int), wave.ravel(), item), shape)
    total, rows = np.zeros(shape), np.zeros(shape)
    np.add.at(total.reshape(-1), where, counts["y"] / counts["n"])
    np.add.at(rows.reshape(-1), where, 1.0)
    known = (rows > 0).all((0, 1))
    if known.sum() < ITEMS_MIN:
        return f"{int(known.sum())} items were judged in every wave of both regimes; the axis needs {ITEMS_MIN}"
    mean = total[:, :, known] / rows[:, :, known]
    weight = rng.standard_exponential((draws, mean.shape[2]))
    values = _spread(np.einsum("rwi,si->rsw", mean, weight / weight.sum(1, keepdims=True)))
    plain = _spread(mean.mean(2)[:, None])[:, 0]
    null = []
    for _ in range(permutations):
        order = rng.permuted(np.tile(np.arange(len(waves)), (mean.shape[2], 1)), axis=1).T
        null.append(_spread(np.take_along_axis(mean, order[None], 1).mean(2)[:, None])[:, 0])
    return values, float(plain[1] - plain[0]), np.diff(np.array(null), axis=1)[:, 0]


def _spread(levels: np.ndarray) -> np.ndarray:
    """Standard deviation over waves, the last axis."""
    return levels.std(-1, ddof=1)
