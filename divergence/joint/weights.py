"""The item law of an arm: how much each of its items weighs in its level.

Bench items weigh the same within their task, tasks by their share of the bench. Traffic is weighted by what was logged,
unless the traffic replays bench items: then both regimes have the bench's law, so that their gap is the context's doing.
"""

from __future__ import annotations

import numpy as np

from divergence.cells import Cells, Table
from divergence.cells.overlap import replays


def item_weights(cells: Cells, counts: Table, raw: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    """Weights of the rows of `counts`, shape (rows,), summing to one within each raw arm, and sentences on them."""
    deployed = np.array([name == "deployment" for name in cells.levels["regime"]], bool)[counts["regime"]]
    replayed = replays(cells)
    by_logged = (deployed & (not replayed)) | (counts["item"] < 0)
    mass = np.where(by_logged, counts["n"], 1.0)
    notes = []
    if deployed.any() and (~deployed).any():
        notes.append(
            "The traffic replays bench items: both regimes weigh items alike." if replayed else
            "The traffic has items of its own: deployed levels weigh items by their logged share.")
    share = np.zeros(len(raw))
    for regime in (False, True):
        mine = (deployed == regime) if not replayed else np.ones(len(raw), bool)
        if mine.any():
            share = np.where(mine, _task_mass(counts, mass, mine)[counts["task"]], share)
    _, cell = np.unique(np.stack([raw, counts["task"]]), axis=1, return_inverse=True)
    cell = cell.ravel()
    within = mass / np.bincount(cell, mass)[cell]
    weight = within * share
    weight /= np.bincount(raw, weight)[raw]
    tasks = np.unique(np.stack([raw, counts["task"]]), axis=1)[0]
    if len(np.unique(np.bincount(tasks))) > 1:
        notes.append("Some model-context combinations lack rows of some tasks: their level is over the tasks they have.")
    return weight, tuple(notes)


def _task_mass(counts: Table, mass: np.ndarray, mine: np.ndarray) -> np.ndarray:
    """Mass of each task (last entry: rows without a task) in these rows, each item once."""
    size = counts["task"].max() + 2
    keys = np.stack([counts["task"], counts["item"]])[:, mine]
    pairs, inverse = np.unique(keys, axis=1, return_inverse=True)
    inverse = inverse.ravel()
    total = np.bincount(inverse, mass[mine])
    arms = np.maximum(np.bincount(inverse), 1)
    per_item = np.where((pairs[1] >= 0) & (total == arms), 1.0, total)  # equal-weight items count once
    out = np.zeros(size)
    np.add.at(out, pairs[0], per_item)
    return out
