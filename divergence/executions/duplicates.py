"""Rows that are there twice: those whose given execution id an earlier row has, and copies of whole rows.

Ids are compared by hash first, eight bytes a row, so that a log of many millions of ids fits in memory; only ids whose
hash repeats are compared as texts.

Without ids, a row that is equal to an earlier one in every column is a copy where rows are numbered (`trial`, or `session`
and `turn`): the same run cannot have been logged twice with one number. Where nothing numbers them, two runs of one item
with one outcome are equal too; but if *every* row of the log is there 2 (or k) times, it looks like a log that was given
twice: then one of two (of k) counts. Repeated greedy runs that agree on every item look the same until they are numbered.
Where only a part is there twice, a measured time tells: two runs seldom take the same time to its last digit, and if they
did, others of them would differ in the last digit only. So it does where ids differ: such rows count, as their ids say that
they are runs, and it is said.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from divergence.executions.files import Source
from divergence.executions.names import BROKEN, COPY, DUPLICATE, FILE_NUMBER, ROW

PLACE = {FILE_NUMBER: pl.UInt32, "row": pl.Int64}
ROWS_PER_FILE = 2**40  # makes one number of file and row; more rows than any file has
COPIES_ROWS_MAX = 2_000_000  # of a log that is searched for copies: 40 MB of places and hashes
COPIES_BYTES_MAX = 2**30  # of its files, which are read once more for it
SAME_MIN = 5  # rows with an equal time beyond those with nearly equal ones: fewer are accidents
NEAR = 3.5  # last digits: of times that are rounded three are nearly equal for each that is equal
COPIES_OF = 20  # distinct rows from which on "every row twice" is no accident


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


def copied_rows(sources: Sequence[Source], numbered: bool, times: Sequence[str] = ()) -> tuple[pl.DataFrame, str]:
    """File number and row of the copies, and a sentence about them; none and '' where there are none.

    Rows are compared in all the columns that their files have, those that no question uses included. `numbered`: does one
    of them number the runs? `times`: the files' names of columns that hold measured times.
    """
    keyed, measured = _keyed(sources, times)
    if keyed is None or keyed["key"].n_unique() == keyed.height:
        return pl.DataFrame(schema=PLACE), ""
    keyed = keyed.sort(*PLACE).with_columns(place=pl.int_range(pl.len()).over("key"), times=pl.len().over("key"))
    if numbered:
        copies = keyed.filter(pl.col("place") > 0)
        told = f"{copies.height} of {keyed.height} rows are equal to an earlier row in every column, its number included"
        return copies.select(*PLACE), f"{told}: each counts once."
    divisor = int(np.gcd.reduce(keyed["times"].to_numpy()))
    if (divisor < 2 or keyed["key"].n_unique() < COPIES_OF) and measured and _timed_alike(keyed):
        copies = keyed.filter(pl.col("place") > 0, pl.col("time").is_not_null())
        told = f"{copies.height} of {keyed.height} rows are equal to an earlier row in every column, {measured} to its last"
        return copies.select(*PLACE), f"{told} digit: each counts once. If they are runs, number them in a column trial."
    if divisor < 2 or keyed["key"].n_unique() < COPIES_OF:
        return pl.DataFrame(schema=PLACE), ""
    copies = keyed.filter(pl.col("place") >= pl.col("times") // divisor)
    return copies.select(*PLACE), (
        f"Every row of this log is there {divisor} times (or a multiple of it): one of {divisor} counts, {copies.height} of "
        f"{keyed.height} rows are copies. If they are runs, number them in a column trial."
    )


def copies_under_ids(sources: Sequence[Source], times: Sequence[str], identity: str) -> tuple[str, ...]:
    """A sentence on rows that have ids of their own and are otherwise equal, a measured time included; none where none are.

    `times`: the files' names of columns that hold measured times; `identity`: of that of ids.
    """
    keyed, measured = _keyed(sources, times, identity)
    if keyed is None or not measured:
        return ()
    keyed = keyed.drop_nulls("id").unique("id")  # an id that is there twice is a duplicate, which another rule sets aside
    if not _timed_alike(keyed):
        return ()
    timed = keyed.filter(pl.col("time").is_not_null())["key"]
    copies = f"{timed.len() - timed.n_unique():,} of {keyed.height:,} rows"
    return (
        f"{copies} have an id of their own and are equal to another row in every other column, {measured} to its last "
        "digit. They count as runs; if they are copies, intervals are too narrow: keep one of each, or give copies one id "
        f"in {identity}.",
    )


def _keyed(
    sources: Sequence[Source], times: Sequence[str], identity: str | None = None
) -> tuple[pl.DataFrame | None, str | None]:
    """The places of all rows with the hash of their columns (`key`), and where a measured time is there, the time and the
    hash of the others (`rest`); and its name. `identity` is left out of both, and stands by itself, hashed (`id`). None
    where a column that no question reads holds what is no text."""
    parts, measured = [], [name for name in times if all(name in source.columns for source in sources)][:1]
    for number, source in enumerate(sources):
        flat = sorted(name for name in source.columns if name != identity and not source.schema[name].is_nested())
        place = (pl.lit(number, pl.UInt32).alias(FILE_NUMBER), pl.col(ROW).cast(pl.Int64).alias("row"))
        rest = [pl.struct([name for name in flat if name not in measured]).hash().alias("rest")] if measured else []
        time = [pl.col(name).cast(pl.Float64, strict=False).alias("time") for name in measured]
        given = pl.col(identity).cast(pl.String) if identity in source.columns else pl.lit(None, pl.String)
        own = [pl.when(given.is_not_null()).then(given.hash()).alias("id")] if identity else []
        parts.append(source.frame.select(*place, *rest, *time, *own, key=pl.struct(flat).hash()))
    try:
        return pl.concat(parts).collect(engine="streaming"), measured[0] if measured else None
    except pl.exceptions.PolarsError:
        return None, None


def _timed_alike(keyed: pl.DataFrame) -> bool:
    """Do rows that are equal in all else have the same time far more often than times that differ in the last digits?"""
    alike = keyed.filter(pl.col("rest").is_duplicated())
    if alike.height <= SAME_MIN:
        return False
    times = np.unique(keyed["time"].drop_nulls().drop_nans().to_numpy())
    if len(times) < COPIES_OF:
        return False
    last_digit = np.diff(times).min()
    beside = pl.when(pl.col("rest") == pl.col("rest").shift()).then(pl.col("time").diff())
    gaps = alike.sort("rest", "time").select(gap=beside)["gap"].drop_nulls().to_numpy()
    same, near = int((gaps == 0).sum()), int(((gaps > 0) & (gaps < NEAR * last_digit)).sum())
    return same >= SAME_MIN and same > near + SAME_MIN


def with_copies(frame: pl.LazyFrame, copies: pl.DataFrame) -> pl.LazyFrame:
    """The frame with `COPY` set in these rows."""
    return _marked(frame, copies, COPY)


def with_duplicates(frame: pl.LazyFrame, duplicates: pl.DataFrame) -> pl.LazyFrame:
    """The frame with `DUPLICATE` set in these rows."""
    return _marked(frame, duplicates, DUPLICATE)


def _marked(frame: pl.LazyFrame, rows: pl.DataFrame, name: str) -> pl.LazyFrame:
    place = pl.col(FILE_NUMBER).cast(pl.UInt64) * ROWS_PER_FILE + pl.col("row").cast(pl.UInt64)
    places = rows.select(place.alias("place")).to_series()
    return frame.with_columns(place.is_in(places.implode()).alias(name))
