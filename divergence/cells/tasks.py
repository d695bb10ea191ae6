"""An item whose task is logged in one regime only has that task in the other one too."""

from __future__ import annotations

import dataclasses

import numpy as np

from divergence.cells.cells import MISSING, TABLES, Cells, Table
from divergence.cells.merge import summed
from divergence.numerics import combinations


def resolve_tasks(cells: Cells) -> Cells:
    """Give rows without a task the one task that their item has elsewhere in the log; others stay as they are.

    Benchmarks name their suite, traffic often does not: without this the same item would count as two.
    """
    counts = cells.counts
    known = (counts["task"] != MISSING) & (counts["item"] != MISSING)
    pairs = combinations(counts["item"][known], counts["task"][known])[0]
    items, first, times = np.unique(pairs[0], return_index=True, return_counts=True)
    lookup = np.full(len(cells.levels["item"]) + 1, MISSING)
    lookup[items[times == 1]] = pairs[1][first[times == 1]]
    if not ((counts["task"] == MISSING) & (lookup[counts["item"]] != MISSING)).any():
        return cells
    both = [name for name, (keys, _) in TABLES.items() if {"task", "item"} <= {*keys}]
    tables = {name: _resolved(name, getattr(cells, name), lookup) for name in both}
    return dataclasses.replace(cells, **tables)


def _resolved(name: str, table: Table, lookup: np.ndarray) -> Table:
    task = np.where(table["task"] == MISSING, lookup[table["item"]], table["task"])  # item -1 takes the last, missing
    return summed(name, table.keys | {"task": task}, table.sums)
