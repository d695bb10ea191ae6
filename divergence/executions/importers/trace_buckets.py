"""The narrow rows of calls and spans, cut by trace: what a trace says is worked out bucket by bucket, the rest on disk.

A call and all that lies above it stand in one trace, so a bucket that holds whole traces can be worked on alone. Few rows
are one bucket, in memory; many are cut by the hash of their trace into `BUCKETS`, whose rows wait on disk.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import polars as pl

from divergence.executions.importers.held_tables import HeldTables
from divergence.executions.importers.span_tree import PLACE, TRACE

IN_MEMORY = 250_000
"""Rows of calls and spans together that are one bucket in memory, some 20 MB."""
BUCKETS = 16  # 10 GB of spans make buckets of half a million spans
HELD = 10_000  # rows of a bucket that wait in memory to be written together

CALLS, SPANS = "calls", "spans"


class TraceBuckets:
    """Tables of calls and of spans, both with the key `span.trace`, in the order in which they came."""

    def __init__(self, calls: pl.DataFrame, spans: pl.DataFrame):
        """The heads of both kinds: tables without a row."""
        self._heads = {CALLS: calls, SPANS: spans}
        self._whole: list[tuple[str, pl.DataFrame]] = []
        self._rows = 0
        self._cut: dict[str, list[HeldTables]] = {}

    def keep(self, kind: str, table: pl.DataFrame) -> None:
        """Take a table of `CALLS` or of `SPANS`."""
        self._whole.append((kind, table))
        self._rows += table.height
        if self._rows > IN_MEMORY:
            self._cut = self._cut or {name: [HeldTables(HELD) for _ in range(BUCKETS)] for name in self._heads}
            for name, one in self._whole:
                number = one[TRACE] % BUCKETS
                for bucket, held in enumerate(self._cut[name]):
                    held.keep(one.filter(number == bucket))
            self._whole = []

    def cut(self) -> Iterator[tuple[pl.DataFrame, pl.DataFrame]]:
        """(calls, spans) of one bucket after the other, each in the order in which it came."""
        if not self._cut:
            yield self._together(CALLS, self._of(CALLS)), self._together(SPANS, self._of(SPANS))
            return
        for bucket in range(BUCKETS):
            yield tuple(self._together(name, self._cut[name][bucket].tables()) for name in (CALLS, SPANS))  # type: ignore[misc]

    def _of(self, kind: str) -> list[pl.DataFrame]:
        return [table for name, table in self._whole if name == kind]

    def _together(self, kind: str, tables: Iterator[pl.DataFrame] | list[pl.DataFrame]) -> pl.DataFrame:
        return pl.concat([self._heads[kind], *tables], rechunk=True)


def in_places(parts: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """The rows of all buckets in the order of their places.

    The parts are used up, column by column, so that no column is there three times. One without values takes no memory.
    """
    order = pl.concat([part[PLACE] for part in parts]).arg_sort()
    schema, columns = parts[0].schema, []
    for name in schema:
        column = pl.concat([part.drop_in_place(name) for part in parts])
        if column.null_count() < len(column):
            columns.append(column.gather(order))
    empty = [pl.lit(None, dtype).alias(name) for name, dtype in schema.items() if all(c.name != name for c in columns)]
    return pl.DataFrame(columns).with_columns(empty).select(schema.names()) if columns else pl.DataFrame(schema=schema)
