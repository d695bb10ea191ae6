"""The rows of some sessions of a large log, kept while its rows are counted: a sample of them is no pass of its own.

A session stays where its hash is a multiple of `every` (`random_groups.is_kept`), which doubles as often as more than
`ROWS_MAX` rows are held. So what is left does not depend on the order of rows, and any coarser sample is a part of it.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import polars as pl
import pyarrow as pa

from divergence.executions.arrow_numbers import taken
from divergence.executions.names import GROUP, TIMES

ROWS_MAX = 2**19  # twice what a collapse asks for at most, so that its sample is a part of this one
EVERY_MAX = 2**40  # one session has nearly all rows, and keeps them whatever is halved


@dataclasses.dataclass(frozen=True)
class SessionRows:
    """The rows of one in `every` sessions of files that have the same columns."""

    every: int
    """1 = all of them."""
    combination: np.ndarray
    """Of each row, its place among the distinct rows."""
    session: pl.Series
    """The raw name of its session, with the name of its column."""

    def of(self, combinations: pl.DataFrame) -> pl.DataFrame:
        """The rows in raw values, from the distinct rows of the files."""
        return combinations.drop(TIMES, GROUP)[self.combination].with_columns(self.session)


class Kept:
    """Rows of sessions, growing batch by batch."""

    def __init__(self) -> None:
        self.every, self.rows = 1, 0
        self.parts: list[tuple[np.ndarray, np.ndarray, pa.Array]] = []

    def add(self, combination: np.ndarray, hashes: np.ndarray, names: pa.Array) -> None:
        """Hold rows of sessions that are kept: the place of their distinct row, the hash and the name of their session."""
        self.parts.append((combination, hashes, names))
        self.rows += len(combination)
        while self.rows > ROWS_MAX and self.every < EVERY_MAX:
            self.every *= 2
            self.parts = [_multiples(part, self.every) for part in self.parts]
            self.rows = sum(len(part[0]) for part in self.parts)

    def found(self, column: str, dtype: pl.DataType) -> SessionRows | None:
        """What is held, None where it is more than can be held."""
        if self.rows > ROWS_MAX or not self.parts:
            return None
        names = pl.Series(pa.concat_arrays([names for _, _, names in self.parts]))
        return SessionRows(self.every, np.concatenate([rows for rows, _, _ in self.parts]), names.cast(dtype).alias(column))


def _multiples(part: tuple[np.ndarray, np.ndarray, pa.Array], every: int) -> tuple[np.ndarray, np.ndarray, pa.Array]:
    combination, hashes, names = part
    place = np.flatnonzero(hashes % np.uint64(every) == 0)
    return combination[place], hashes[place], taken(names, place)
