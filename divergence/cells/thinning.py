"""Tables that would grow with the rows are kept for a share of the clusters, chosen by a hash; the rest is arithmetic.

`sessions` and `answers` have about one entry a row, because a session spreads over items. Above `ROWS_MAX` rows of
either kind the table keeps whole sessions only (for answers without a session: whole items), those whose hash is a
multiple of 2^k, with the smallest k that leaves about `ROWS_MAX` rows. What is kept is exact and what is estimated from
it stays unbiased: a sum over sessions is multiplied by 2^k (Horvitz and Thompson 1952), pairs of replicates are taken
among the rows that are kept. 250,000 rows in sessions of twenty are 12,500 sessions: the between-session variance has a
relative error of about sqrt(2 / 12500), 1.3 %.

k depends on the number of rows alone, which adds up, and the hash on the name alone. So thinning commutes with merging:
the parts of a log, each thinned by its own k, merge to exactly the table of the whole.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from divergence.cells.cells import MISSING, Table
from divergence.executions.random_groups import is_kept


def thinned(table: Table, levels: dict[str, tuple[str, ...]], every: int) -> Table:
    """The rows of `sessions` or `answers` that a log of more rows would have kept."""
    if every == 1 or not len(table):
        return table
    kept = {key: _kept(levels[key], every) for key in ("session", "item")}
    session, item = table["session"], table["item"]
    return table.take(np.where(session != MISSING, kept["session"][session], kept["item"][item]))


def _kept(names: tuple[str, ...], every: int) -> np.ndarray:
    """Which level names are kept, and False for a missing one, which code -1 takes."""
    column = pl.DataFrame({"name": names}, schema={"name": pl.String})
    return np.append(column.select(is_kept([pl.col("name")], every)).to_series().to_numpy(), False)
