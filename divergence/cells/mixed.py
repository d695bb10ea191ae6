"""Factors that have several levels within one context: sums of the outcome by level, for contrasts within contexts.

A context label stands for a mix of levels then, and contexts that are mixed alike tell nothing of the factor. Its rows do:
those of one model, context and task differ in the level alone, as far as it was dealt without regard to what is hard.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from divergence.cells.cells import TABLES, Cells, Table
from divergence.cells.grouped import grouped, row_frames
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
    keys, sums = TABLES["mixed"]
    place = [pl.col(key).cast(pl.String) for key in keys[:4]]
    levels = {f"factor:{f}": pl.col(f).cast(pl.String).fill_null("(not logged)") for f in factors}

    def rows(frame: pl.LazyFrame) -> pl.LazyFrame:
        number = block(frame.collect_schema().names()).alias("block")
        return frame.select(*place, number, *trial_sums(log), **levels).filter(pl.col("n") > 0)

    exact = {name: pl.col(name) for name in sums}
    wide = grouped(row_frames(log, rows), [*keys[:5], *levels], {}, exact, log.ray).lazy()
    parts = [
        grouped([wide.with_columns(level=f"factor:{f}")], [*keys[:5], "level"], {}, exact).select(
            *keys[:5], pl.lit(f).alias("factor"), "level", *sums
        )
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
