"""Rules about what a mean weighs: tasks count by their share of the log, which may decide who is first."""

from __future__ import annotations

import numpy as np

from divergence.cells.measures import PRIMARY
from divergence.cells.overlap import in_regime
from divergence.cells.random_blocks import BLOCKS, block_numbers, rows_of
from divergence.identification.finding import Finding
from divergence.identification.log_design import REGIMES, LogDesign

TOLD = 3  # tasks whose shares are told
LEAST = 0.01  # of a lead: a point
NOISE = 1.64  # standard errors, over whole items or sessions, that a lead has to exceed


def weights_decide(design: LogDesign) -> Finding | None:
    """Tasks of unequal size where another model leads, by more than chance, when each task counts alike."""
    cells = design.cells
    counts, names = cells.counts, cells.levels
    shape = len(names["model"]), len(names["task"])
    if shape[1] < 2 or cells.kind == "positive":
        return None
    for regime in REGIMES:
        mine = counts.take(in_regime(cells, regime) & (counts["n"] > 0) & (counts["task"] >= 0))
        at = mine["model"] * shape[1] + mine["task"]
        n, y = (np.bincount(at, mine[part], shape[0] * shape[1]).reshape(shape) for part in ("n", "y"))
        models = np.flatnonzero((n > 0).all(1))  # the others' means are over other tasks
        if len(models) < 2:
            continue
        share, equal = n.sum(0) / n.sum(), np.full(shape[1], 1 / shape[1])
        level = y[models] / n[models]
        moved, end = _influence(design, regime, models, level), _at_the_end(y[models], n[models])
        first, other = (int(np.argmax(level @ weight)) for weight in (share, equal))
        if first == other or not all(
            _leads(level[a] - level[b], moved[:, a] - moved[:, b], end[a] + end[b], weight)
            for a, b, weight in ((first, other, share), (other, first, equal))
        ):
            continue
        order = np.argsort(-share)
        told = ", ".join(f"{names['task'][t]} {share[t]:.0%}" for t in order[:TOLD])
        more = f" and {len(order) - TOLD} more" if len(order) > TOLD else ""
        first, other = (names["model"][models[k]] for k in (first, other))
        return Finding(
            "weights_decide",
            "caution",
            f"A level weighs tasks by their share of the {regime} rows ({told}{more}), and so {first} has the best mean; "
            f"were each task to count alike, {other} had.",
            "Read the rows of each task.",
            ("leaderboard", "bench_level", "deployed_level"),
        )
    return None


def _influence(design: LogDesign, regime: str, models: np.ndarray, level: np.ndarray) -> np.ndarray:
    """What each block of whole items or sessions moves the levels (models, tasks) by, shape (blocks, models, tasks).

    Rows of one item or session are alike, and models that answered the same ones err together.
    """
    cells = design.cells
    table = rows_of(cells, cells.measures, PRIMARY, regime)
    table = table.take(np.isin(table["model"], models) & (table["task"] >= 0))
    shape = (BLOCKS, *level.shape)
    place = (block_numbers(cells)[table["block"]], np.searchsorted(models, table["model"]), table["task"])
    where = np.ravel_multi_index(place, shape)
    n, y = (np.bincount(where, table[name], int(np.prod(shape))).reshape(shape) for name in ("n", "y"))
    blocks = np.maximum((n.sum(1) > 0).sum(0), 2)  # of each task
    return (y - level * n) / np.maximum(n.sum(0), 1) * np.sqrt(blocks / (blocks - 1))


def _at_the_end(y: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Variance of levels of 0 and 1, which no block moves, with half a success and half a failure more; else 0."""
    smooth = (y + 0.5) / (n + 1)
    return np.where((y <= 0) | (y >= n), smooth * (1 - smooth) / n, 0.0)


def _leads(difference: np.ndarray, moved: np.ndarray, end: np.ndarray, weight: np.ndarray) -> bool:
    """Is a weighted difference of tasks larger than a point, and than its noise over blocks (blocks, tasks)?"""
    noise = np.sqrt(np.square(moved @ weight).sum() + weight**2 @ end)
    return float(weight @ difference) > max(LEAST, NOISE * float(noise))
