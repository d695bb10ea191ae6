"""Which random group a row's cluster falls into: a hash of the session, else of the item, else of the row's number.

The hash is of the text alone, so partitions, processes and machines agree on it (the tests pin some values).
"""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

BLOCKS = 128
"""Random groups of clusters."""


def block_of_text(name: str) -> pl.Expr:
    """The group of each text; null stays null, where a bare hash would put all missing ones into one group."""
    column = pl.col(name)
    return pl.when(column.is_not_null()).then(column.cast(pl.String).hash(seed=0) % BLOCKS)


def block_of_row(name: str = "row") -> pl.Expr:
    """The group of a row without session and item, by its number in its file."""
    return pl.col(name).cast(pl.Int64).hash(seed=0) % BLOCKS


def block(columns: list[str]) -> pl.Expr:
    """The group of each row of a canonical table with these columns, 0 to 127."""
    clusters = [block_of_text(name) for name in ("session", "item") if name in columns]
    return pl.coalesce(*clusters, block_of_row()).cast(pl.Int16)


def hash_of_text(text: pl.Expr) -> pl.Expr:
    """The number by which a sample of clusters is chosen; null for a missing text."""
    # Another seed than that of the groups, or a sample would hold some groups only.
    return pl.when(text.is_not_null()).then(text.cast(pl.String).hash(seed=1))


def is_kept(clusters: Iterable[pl.Expr], every: int) -> pl.Expr:
    """Does a sample of one in `every` clusters keep the row? Its cluster is the first of these texts that is given."""
    return pl.coalesce(*map(hash_of_text, clusters)) % every == 0
