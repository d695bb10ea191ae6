"""The rows of an import while it is read: kept in columns, each execution once, and on disk where they are many.

Rows arrive one by one as dictionaries. Every `CHUNK` rows they are turned into columns; above `IN_MEMORY` rows the
columns wait in a temporary folder, so that memory is bounded by a chunk and by 8 bytes an execution, which tell whether
an execution was seen before.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import polars as pl

from divergence.executions import schema
from divergence.executions.importers.held_tables import HeldTables
from divergence.executions.importers.kept_values import kept
from divergence.executions.importers.privacy import Privacy
from divergence.executions.importers.seen_hashes import SeenHashes

CHUNK = 50_000  # rows that are held as dictionaries: about 50 MB
IN_MEMORY = 100_000  # rows that are held as columns: about 40 MB
BESIDE = {"__file": pl.String(), "__row": pl.Int64(), "__counted": pl.String(), "__response": pl.String()}
ROWS = pl.Schema({**schema.polars_schema(), **BESIDE})
OUTCOMES = schema.polars_schema("outcomes")
RESPONSE = "__response"  # the id that the server gave to its answer, where that is not the id of the row
COUNTED = "__counted"  # what the trial of a row was counted for, in a draft that is read apart from others


class DraftedRows:
    """Rows and their outcomes in the order in which they came; of answers and sessions what `privacy` lets stay."""

    def __init__(self, privacy: Privacy | None = None) -> None:
        self.height = 0
        self._privacy = privacy or Privacy()
        self._rows: list[dict[str, Any]] = []
        self._judged: list[tuple[Any, ...]] = []
        self._tables = {"executions": HeldTables(IN_MEMORY), "outcomes": HeldTables(IN_MEMORY)}
        self._seen = SeenHashes()

    def add(self, row: dict[str, Any], judged: list[tuple[Any, ...]], file: str, number: int | None) -> None:
        """Take a row (canonical column -> value) and its outcomes (metric, value, label, scorer), from a line of a file."""
        row["__file"], row["__row"], row["__judged"] = file, number, judged
        self._rows.append(row)

    @property
    def full(self) -> bool:
        """Is it time to `settle`?"""
        return len(self._rows) >= CHUNK

    def judge(self, identity: str, metric: str, value: float | None, label: str | None, scorer: str | None) -> None:
        """Take an outcome that stands apart from its execution."""
        self._judged.append((identity, metric, value, label, scorer))

    def settle(self) -> Iterator[tuple[str, int, str]]:
        """Turn the rows at hand into columns; gives file, line and id of those whose execution was seen before."""
        rows, self._rows = self._rows, []
        fresh = self._fresh(pl.Series([row["execution_id"] for row in rows], dtype=pl.String))
        again = [(row["__file"], row["__row"], row["execution_id"]) for row, new in zip(rows, fresh, strict=True) if not new]
        rows = rows if not again else [row for row, new in zip(rows, fresh, strict=True) if new]
        judged, self._judged = self._judged, []
        judged += [(row["execution_id"], *outcome) for row in rows for outcome in row["__judged"]]
        present = set(itertools.chain.from_iterable(rows))
        names = [name for name in ROWS if name in present]
        table = pl.DataFrame({name: pl.Series(name, [row.get(name) for row in rows], ROWS[name]) for name in names})
        self._keep("executions", table)
        columns = zip(OUTCOMES.items(), zip(*judged, strict=True), strict=True) if judged else ()  # faster than row by row
        self._keep("outcomes", pl.DataFrame([pl.Series(name, values, dtype) for (name, dtype), values in columns]))
        self.height += len(rows)
        yield from again

    def extend(self, table: pl.DataFrame, judged: pl.DataFrame | None = None) -> Iterator[tuple[str, int, str]]:
        """Take many rows that are in columns already, `__file` and `__row` among them; gives those seen before, as `settle`.

        `judged` are their outcomes in canonical columns, with `__place`, the place in `table` of the row that is judged.
        Rows that came one by one before them are settled first by the caller.
        """
        table = table.select(name for name in ROWS if name in table.columns)
        fresh = self._fresh(table["execution_id"])
        again = table.filter(~fresh).select("__file", "__row", "execution_id")
        kept = table.filter(fresh) if again.height else table
        self._keep("executions", kept)
        self.height += kept.height
        if judged is not None:
            judged = judged.filter(fresh.gather(judged["__place"])) if again.height else judged
            self._keep("outcomes", judged.select(OUTCOMES.names()))
        yield from again.iter_rows()

    def extend_outcomes(self, table: pl.DataFrame) -> None:
        """Take many outcomes that are in columns already."""
        self._keep("outcomes", table)

    def frames(self) -> tuple[pl.LazyFrame, pl.LazyFrame]:
        """All settled rows and outcomes. What is on disk lies there as long as this object lives."""
        return self._all("executions", ROWS), self._all("outcomes", OUTCOMES)

    def _fresh(self, identities: pl.Series) -> pl.Series:
        """For each execution, is it seen for the first time in this import?"""
        return pl.Series(self._seen.first(identities.hash().to_numpy()), dtype=pl.Boolean)

    def _keep(self, name: str, table: pl.DataFrame) -> None:
        self._tables[name].keep(kept(table, self._privacy) if name == "executions" and table.height else table)

    def _all(self, name: str, whole: pl.Schema) -> pl.LazyFrame:
        parts = self._tables[name].lazy()
        if not parts:
            return pl.LazyFrame(schema=whole)
        frame = pl.concat(parts, how="diagonal")
        absent = [
            pl.lit(None, dtype).alias(column) for column, dtype in whole.items() if column not in frame.collect_schema()
        ]
        return frame.with_columns(*absent).select(whole.names())
