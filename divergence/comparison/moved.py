"""Which items moved, the largest losses first."""

from __future__ import annotations

import polars as pl

SAME = 1e-9  # scores that differ by less are the same number, added up in another order


def moved_items(table: pl.DataFrame) -> pl.DataFrame:
    """The rows of a comparison's table whose score moved, worst first, ties by task and item."""
    moved = table.filter(pl.col("difference").abs() > SAME)
    return moved.sort("difference", "task", "item", nulls_last=True)


def names_beside(table: pl.DataFrame) -> tuple[str, ...]:
    """Columns that stand before an item's id to tell pairs apart: models, contexts and tasks, where there are several.

    They are the columns of a comparison's table up to `item`; in a table of one model and one task there are none.
    """
    keys = table.columns[: table.columns.index("item")]
    return tuple(name for name in keys if table[name].n_unique() > 1)
