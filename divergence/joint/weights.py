"""The item law of an arm: how much each of its items weighs in its level.

Bench items weigh the same within their task, tasks by their share of the bench. Traffic is weighted by what was logged,
unless the traffic replays bench items: then both regimes have the bench's law, so that their gap is the context's doing, but
for a twentieth of items that one side may lack.
"""

from __future__ import annotations

import numpy as np

from divergence.cells import Cells, Table
from divergence.cells.overlap import REPLAYED_MIN, deployed_regimes, replays
from divergence.numerics import combinations


def item_weights(
    cells: Cells, counts: Table, raw: np.ndarray, design_weights: np.ndarray
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Weights of the rows of `counts`, shape (rows,), summing to one within each raw arm, and sentences on them."""
    deployed = deployed_regimes(cells)[counts["regime"]]
    replayed = replays(cells)
    # What a row stands for: its trials over the chance with which it was logged (Hajek's weights).
    mass = counts["n"] * design_weights
    bench_law = ~((deployed & (not replayed)) | (counts["item"] < 0))
    _, unit = combinations(raw, counts["task"], counts["item"])
    mass = np.where(bench_law, mass / np.bincount(unit, mass)[unit], mass)  # an item counts once, by whomever judged
    notes = []
    if deployed.any() and (~deployed).any():
        notes.append(
            f"The traffic replays bench items (at least {REPLAYED_MIN:.0%} of its own): both regimes weigh items alike."
            if replayed
            else "The traffic has items of its own: deployed levels weigh items by their logged share."
        )
    share = np.zeros(len(raw))
    for regime in (False, True):
        mine = (deployed == regime) if not replayed else np.ones(len(raw), bool)
        if mine.any():
            share = np.where(mine, _task_mass(counts, mass, bench_law, mine)[counts["task"]], share)
    _, cell = combinations(raw, counts["task"])
    within = mass / np.bincount(cell, mass)[cell]
    weight = within * share
    weight /= np.bincount(raw, weight)[raw]
    tasks = combinations(raw, counts["task"])[0][0]
    if len(np.unique(np.bincount(tasks))) > 1:
        notes.append("Some model-context combinations lack rows of some tasks: their level is over the tasks they have.")
    return weight, tuple(notes)


def _task_mass(counts: Table, mass: np.ndarray, bench_law: np.ndarray, mine: np.ndarray) -> np.ndarray:
    """Mass of each task (last entry: rows without a task) in these rows; items under the bench's law count once."""
    total = np.zeros(counts["task"].max() + 2)
    logged = mine & ~bench_law
    np.add.at(total, counts["task"][logged], mass[logged])
    items = combinations(counts["task"][mine & bench_law], counts["item"][mine & bench_law])[0]
    np.add.at(total, items[0], 1.0)
    return total
