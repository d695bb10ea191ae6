"""Sums by group over the rows of a log: in one pass over all of its files, or each file by itself on a cluster.

Both give the same bytes: counts are whole numbers, and floats are added exactly (`exact_sums`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import polars as pl

from divergence.cells.exact_sums import PARTS, parts, total
from divergence.executions import Executions
from divergence.executions.on_cluster import collected


def row_frames(
    log: Executions, shaped: Callable[[pl.LazyFrame], pl.LazyFrame], distinct: bool = False
) -> list[pl.LazyFrame]:
    """The valid rows as `shaped` gives them: one frame, or one a file where a cluster sums them.

    `distinct`: combinations of labels with their number do, where the log is tallied. Rates over many items are compared
    with each other while they are shaped, so they stay together.
    """
    if distinct and log.tally is not None:
        return [shaped(log.distinct())]
    if log.ray is None or log.by_file is None or "score_n" in log.present:
        return [shaped(log.scan())]
    return [shaped(frame) for frame in log.by_file((), 1)]


def grouped(
    frames: Sequence[pl.LazyFrame],
    keys: Sequence[str],
    whole: Mapping[str, pl.Expr],
    exact: Mapping[str, pl.Expr],
    ray: str | None = None,
) -> pl.DataFrame:
    """One row a group of equal `keys`, over all frames: the aggregates `whole`, which are whole numbers, and the sums of
    `exact`, which are floats. Labels come back as texts."""
    asked = [*(value.alias(name) for name, value in whole.items())]
    asked += [part for name, value in exact.items() for part in parts(name, value)]
    plans = [frame.group_by(keys).agg(asked).with_columns(pl.col(pl.Categorical).cast(pl.String)) for frame in frames]
    tables = collected(plans, ray)
    table = tables[0]
    if len(tables) > 1:
        names = [*whole, *(name + part for name in exact for part in PARTS)]
        table = pl.concat(tables).group_by(keys).agg(pl.col(name).sum() for name in names)
    return table.select(*keys, *whole, *(total(name) for name in exact))
