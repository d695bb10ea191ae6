"""Does `item` tell executions apart? A name that all rows share, or that goes with the arm, is no item.

Where every row names one and the same item, or each (model, regime, context) has a single one of its own with several
rows, nothing was replayed: the rows are draws of their own, as those that name no item are. Taken at its word such a log
would have one item, and no interval could be narrow.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from divergence.cells.cells import MISSING, TABLES, Cells
from divergence.cells.merge import summed
from divergence.cells.tasks import resolve_tasks
from divergence.numerics import combinations

CONSTANT = "Every row that names an item names {what}, so items tell nothing apart: each row counts as a draw of its own."


def telling_items(cells: Cells) -> Cells:
    """The cells with `item` left out where it tells nothing apart, and a note that says so; else as they are."""
    counts = cells.counts.take((cells.counts["n"] > 0) & (cells.counts["item"] != MISSING))
    if not len(counts) or cells.kind != "binary":  # a fraction under one name is a whole test that was run again
        return cells
    arms, arm = combinations(*(counts[k] for k in ("model", "regime", "context")))
    pairs, _ = combinations(arm, counts["item"])
    single = pairs.shape[1] == arms.shape[1]  # one item an arm
    items = len(np.unique(counts["item"]))
    # Several rows an arm: a rate a row, or one row an arm, says nothing about how items were named.
    if not single or (items > 1 and items < arms.shape[1]) or counts["rows"].sum() < 2 * arms.shape[1]:
        return cells
    what = "the same one" if items == 1 else "one that no other context has"
    tables = {}
    for name, (keys, _) in TABLES.items():
        if "item" in keys:
            table = getattr(cells, name)
            tables[name] = summed(name, table.keys | {"item": np.full(len(table), MISSING)}, table.sums)
    return dataclasses.replace(cells, **tables, notes=(*cells.notes, CONSTANT.format(what=what)))


def prepared(cells: Cells) -> Cells:
    """What a fit and an audit begin with: items that tell something apart, each with the one task that it has."""
    return resolve_tasks(telling_items(cells))
