"""Factors that have several levels within one context: sums of the outcome by level, for contrasts within contexts.

A context label stands for a mix of levels then, and contexts that are mixed alike tell nothing of the factor. Its rows do:
those of one model, context and task differ in the level alone, as far as it was dealt without regard to what is hard.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from divergence.cells.cells import TABLES, Cells, Table
from divergence.cells.trials import trial_sums
from divergence.executions import Executions
from divergence.executions.random_groups import block


def mixed_factors(designs: pl.DataFrame) -> list:
    """Factors with two levels in one context, from (regime, context, factor, level) rows, sorted."""
    several = designs.group_by("regime", "context", "factor").agg(pl.col("level").n_unique())
    return sorted(several.filter(pl.col("level") > 1)["factor"].unique().to_list())


def mixed_of(cells: Cells) -> list[str]:
    """The same from cells."""
    keys = ("regime", "context", "factor", "level")
    found = mixed_factors(pl.DataFrame({key: cells.designs[key] for key in keys}))
    names = cells.levels["factor"]
    return sorted(names[int(code)] for code in found)


def mixed_sums(log: Executions, factors: list[str]) -> dict[str, pl.DataFrame]:
    """The table `mixed` of a log's own rows, for these factors; nothing where there is none."""
    if not factors:
        return {}
    frame = log.scan()
    keys, sums = TABLES["mixed"]
    place = [pl.col(key).cast(pl.String) for key in keys[:4]]
    levels = [pl.col(f).cast(pl.String).fill_null("(not logged)").alias(f"factor:{f}") for f in factors]
    number = block(frame.collect_schema().names()).alias("block")
    rows = frame.select(*place, number, *levels, *trial_sums(log)).filter(pl.col("n") > 0)
    wide = rows.group_by(*keys[:5], *(f"factor:{f}" for f in factors)).agg(pl.col(s).sum() for s in sums)
    found = wide.collect(engine="streaming")
    parts = [
        found.group_by(*keys[:5], pl.col(f"factor:{f}").alias("level"))
        .agg(pl.col(s).sum() for s in sums)
        .select(*keys[:5], pl.lit(f).alias("factor"), "level", *sums)
        for f in factors
    ]
    return {"mixed": pl.concat(parts)}


def without_partly_known(table: Table, designs: Table) -> Table:
    """The table of merged logs without factors that one of them did not keep: its rows would be missing from one level."""
    gone = [f for f in np.unique(table["factor"]) if len(_places(designs, f)) > len(_places(table, f))]
    return table.take(~np.isin(table["factor"], gone)) if gone else table


def _places(table: Table, factor: int) -> np.ndarray:
    """The (regime, context, level) combinations of a factor, one a row."""
    mine = table["factor"] == factor
    return np.unique(np.stack([table[key][mine] for key in ("regime", "context", "level")], 1), axis=0)
