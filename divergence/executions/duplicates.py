"""Rows whose given execution id an earlier row has.

Ids are compared by hash first, eight bytes a row, so that a log of many millions of ids fits in memory; only ids whose
hash repeats are compared as texts.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from divergence.executions.names import BROKEN, DUPLICATE, FILE_NUMBER

PLACE = {FILE_NUMBER: pl.UInt32, "row": pl.Int64}
ROWS_PER_FILE = 2**40  # makes one number of file and row; more rows than any file has


def duplicate_rows(checked: pl.LazyFrame) -> pl.DataFrame:
    """File number and row of all rows but the first of each id, among the rows that keep every other rule."""
    given = checked.filter(pl.col(BROKEN).is_null() & pl.col("execution_id").is_not_null())
    identity = pl.col("execution_id").hash()
    hashes = given.select(identity).collect(engine="streaming").to_series().to_numpy(writable=True)
    hashes.sort()
    repeated = np.unique(hashes[1:][hashes[1:] == hashes[:-1]])
    if not len(repeated):
        return pl.DataFrame(schema=PLACE)
    candidates = given.filter(identity.is_in(pl.Series(repeated).implode())).select(*PLACE, "execution_id")
    ordered = candidates.collect(engine="streaming").sort(*PLACE)
    return ordered.filter(~pl.col("execution_id").is_first_distinct()).select(*PLACE)


def with_duplicates(frame: pl.LazyFrame, duplicates: pl.DataFrame) -> pl.LazyFrame:
    """The frame with `DUPLICATE` set in these rows."""
    place = pl.col(FILE_NUMBER).cast(pl.UInt64) * ROWS_PER_FILE + pl.col("row").cast(pl.UInt64)
    places = duplicates.select(place.alias("place")).to_series()
    return frame.with_columns(place.is_in(places.implode()).alias(DUPLICATE))
