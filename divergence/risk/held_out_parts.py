"""Which rows of a log are held out? Whole sessions, else items, else rows, dealt into parts by what they hold, not by their
names.

Clusters are put in an order that a hash of their contents decides (models, contexts, strata, outcomes), and dealt in turn.
Renaming items or sessions moves none but among those that hold the same, which are exchangeable; clusters that hold the
same (all right everywhere) are spread evenly over the parts. Rows that name neither session nor item are dealt by a hash of
their number. Unit: none.
"""

from __future__ import annotations

import polars as pl

from divergence.executions import Executions

PARTS = 10
HOLDS = ("regime", "model", "context", "task", "outcome", "score_n")
MASK = 2**40  # of a row's hash: the sum over 2^24 rows of a cluster still fits


def with_parts(log: Executions, frame: pl.LazyFrame) -> pl.LazyFrame:
    """The frame of this log's rows with `cluster`, a number, and `part`, 0 to `PARTS` - 1."""
    key = pl.coalesce(*(pl.col(name).cast(pl.String) for name in ("session", "item", "row"))).hash(seed=2)
    content = pl.concat_str(*(pl.col(name).cast(pl.String) for name in HOLDS), separator="|", ignore_nulls=True)
    named = log.scan().filter(pl.col("session").is_not_null() | pl.col("item").is_not_null())
    held = named.group_by(key=key).agg(content=(content.hash(seed=3) % MASK).sum()).collect(engine="streaming")
    held = held.sort(pl.col("content").hash(seed=4), "content", "key").with_row_index("place")
    dealt = held.select("key", "place").lazy()
    return (
        frame.with_columns(key=key)
        .join(dealt, on="key", how="left", maintain_order="left")
        .with_columns(
            cluster=pl.coalesce(pl.col("place").cast(pl.UInt64), "key"),
            part=(pl.coalesce(pl.col("place").cast(pl.UInt64), pl.col("key") // 7) % PARTS).cast(pl.Int64),
        )
        .drop("key", "place")
    )
