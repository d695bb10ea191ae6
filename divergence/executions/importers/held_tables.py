"""Tables of one kind in the order in which they come: in memory while they are few rows, on disk where they are many."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl

from divergence.temporary_folders import TemporaryFolder


class HeldTables:
    """`limit` is the number of rows that are held in memory."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.folder: TemporaryFolder | None = None
        self._held: list[pl.DataFrame] = []
        self._files: list[Path] = []

    def keep(self, table: pl.DataFrame) -> None:
        """Take a table, whose columns may be others than those before it."""
        if not table.height:
            return
        self._held.append(table)
        if sum(part.height for part in self._held) > self.limit:
            path = self._temporary() / f"{len(self._files):06d}.parquet"
            pl.concat(self._held, how="diagonal").write_parquet(path, compression="lz4")
            self._files.append(path)
            self._held = []

    def lazy(self) -> list[pl.LazyFrame]:
        """All tables, for a scan. What is on disk lies there as long as this object lives."""
        return [pl.scan_parquet(path) for path in self._files] + [table.lazy() for table in self._held]

    def tables(self) -> Iterator[pl.DataFrame]:
        """All tables one after another, at most one of those on disk in memory at a time."""
        yield from (pl.read_parquet(path) for path in self._files)
        yield from self._held

    def _temporary(self) -> Path:
        if self.folder is None:
            self.folder = TemporaryFolder("import")
        return self.folder.path
