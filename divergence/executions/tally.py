"""Large Parquet files counted by their distinct rows: what a hundred million rows say fits into a small table.

The labels of a log (model, context, item, score, ...) take few values, so its rows repeat. One pass over the dictionary
codes of a file gives every distinct combination of raw labels with the number of rows that have it, by direct
addressing: `place = sum_c stride_c index_c`, and counting is adding one there. What reading checks and collapsing sums is
then asked of the combinations, weighted by `TIMES`. Of a session and of an answer only their presence is a label; the
session's block (a hash, see `clusters`) is counted beside, for every group of combinations that differ in the item alone.

This is a faster way to the same numbers, never to others: a file whose labels are too many, or of a kind that is not
counted here, gives None and is read row by row.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from divergence.executions.files import Source
from divergence.executions.labels import Label, Uncountable
from divergence.executions.names import GROUP, ROW, TIMES
from divergence.executions.on_cluster import on_cluster
from divergence.executions.random_groups import BLOCKS, block_of_row

PLACES_MAX = 2**25  # places of the array of codes, 4 bytes each
COMBINATIONS_MAX = 2**22  # distinct rows that are still a summary
GROUPS_MAX = 2**17  # combinations without their items, each with a count for every block
BATCH = 2**20  # rows looked at together


Counts = tuple[pl.DataFrame, np.ndarray]
"""Combinations of raw labels with `TIMES` and `GROUP`, and the rows by group and block."""


@dataclasses.dataclass(frozen=True)
class Tally:
    """The distinct rows of files that have the same columns."""

    source: Source
    """The files as one with its distinct rows: raw labels, `TIMES`, and `GROUP`, whose rows differ in the item alone.
    A session or an answer that is there is an example of its column."""
    blocks: np.ndarray
    """Rows by group and block, shape (groups, 128)."""


@dataclasses.dataclass(frozen=True)
class Wanted:
    """Which raw columns of a file are counted, and how."""

    labels: tuple[str, ...]
    """Columns whose values are told apart."""
    item: str | None = None
    """The column of the items, if the file has one."""
    session: str | None = None
    """The column of the sessions."""
    answer: str | None = None
    """The column of the answers."""

    @property
    def names(self) -> list[str]:
        """All of them, the item last."""
        return [*self.labels, *(name for name in (self.session, self.answer, self.item) if name is not None)]


def tally(
    sources: list[Source],
    wanted: Wanted,
    first_group: int = 0,
    counted: Callable[[int], None] | None = None,
    ray: str | None = None,
) -> Tally | None:
    """Count Parquet files of one schema; None where they cannot be counted. Groups are numbered from `first_group`.

    `counted` is told the number of rows of each batch; with `ray`, the address of a cluster, each file is a task there.
    """
    paths, schema = [source.path for source in sources if source.path is not None], sources[0].schema
    if ray is None:
        made = _tallied(paths, schema, wanted, counted)
    else:
        made = merged(on_cluster(_one_file, [(path, dict(schema), wanted) for path in paths], ray), wanted)
    if made is None:
        return None
    frame = made[0].with_columns((pl.col(GROUP) + first_group).alias(GROUP), pl.lit(0, pl.UInt32).alias(ROW))
    return Tally(dataclasses.replace(sources[0], frame=frame.lazy()), made[1])


def _one_file(job: tuple[Path, dict, Wanted]) -> Counts | None:
    path, schema, wanted = job
    return _tallied([path], pl.Schema(schema), wanted, None)


def merged(parts: list[Counts | None], wanted: Wanted) -> Counts | None:
    """The counts of all files from those of each: the same combinations and groups, in another order."""
    known = [part for part in parts if part is not None]
    if len(known) < len(parts):
        return None
    first = np.cumsum([0, *(len(blocks) for _, blocks in known)])
    frame = pl.concat(
        frame.with_columns(pl.col(GROUP) + begin) for (frame, _), begin in zip(known, first[:-1].tolist(), strict=True)
    )
    examples = [name for name in (wanted.session, wanted.answer) if name is not None]
    frame = frame.with_columns(
        pl.when(pl.col(name).is_not_null()).then(pl.col(name).drop_nulls().first()).alias(name) for name in examples
    )
    kinds = [name for name in wanted.names if name != wanted.item]
    missing = pl.col(wanted.item).is_null() if wanted.item else pl.lit(False)
    groups = frame.group_by(*kinds, missing.alias("missing"), maintain_order=True).agg(pl.col(GROUP).unique())
    if len(groups) > GROUPS_MAX:
        return None
    number = np.empty(first[-1], np.int64)
    for place, old in enumerate(groups[GROUP]):
        number[old.to_numpy()] = place
    blocks = np.zeros((len(groups), BLOCKS), np.int64)
    np.add.at(blocks, number, np.concatenate([each for _, each in known]))
    renumbered = frame.with_columns(pl.Series(GROUP, number[frame[GROUP].to_numpy()]))
    whole = renumbered.group_by(*wanted.names, GROUP, maintain_order=True).agg(pl.col(TIMES).sum())
    return None if len(whole) > COMBINATIONS_MAX else (whole.select(*wanted.names, TIMES, GROUP), blocks)


def _tallied(paths: list[Path], schema: pl.Schema, wanted: Wanted, counted: Callable[[int], None] | None) -> Counts | None:
    """The combinations in raw values, with their times and groups, and the rows by group and block."""
    roles = {wanted.session: "session", wanted.answer: "answer", wanted.item: "item"}
    names = wanted.names
    metadata = [pq.read_metadata(path) for path in paths]
    nulls = set().union(*map(_with_nulls, metadata))
    fields = metadata[0].schema.to_arrow_schema()
    try:
        labels = [
            Label(fields.field(name), name in nulls, roles.get(name), roles.get(name) in ("session", "answer"))
            for name in names
        ]
        counts = _Counts(labels, wanted)
        for path in paths:
            counts.rows = 0
            with pq.ParquetFile(path, read_dictionary=[label.name for label in labels if label.plain]) as file:
                for batch in file.iter_batches(BATCH, columns=names):
                    counts.add(batch)
                    if counted is not None:
                        counted(batch.num_rows)
        counts.count()
    except Uncountable:
        return None
    return counts.frame(schema), counts.in_block


def _with_nulls(metadata: pq.FileMetaData) -> set[str]:
    """Columns of which some row group has a null, or does not say."""
    found = set()
    for k in range(metadata.num_row_groups):
        group = metadata.row_group(k)
        for j in range(group.num_columns):
            column = group.column(j)
            seen = column.statistics
            if seen is None or not seen.has_null_count or seen.null_count:
                found.add(column.path_in_schema)
    return found


class _Counts:
    """Rows by combination, and by group and block, growing batch by batch."""

    def __init__(self, labels: list[Label], wanted: Wanted) -> None:
        self.labels, self.wanted = labels, wanted
        self.place = np.full(1, -1, np.int32)
        self.capacity = np.ones(len(labels), np.int64)
        self.combinations = np.zeros((0, len(labels)), np.int32)
        self.times = np.zeros(0, np.int64)
        self.group = np.zeros(0, np.int32)
        self.groups: dict[tuple[int, ...], int] = {}
        self.in_block = np.zeros((0, BLOCKS), np.int64)
        self.rows = 0
        self.waiting: list[tuple[np.ndarray, np.ndarray]] = []

    def add(self, batch: pa.RecordBatch) -> None:
        """Count the rows of a batch."""
        rows = [label.index(batch.column(label.name)) for label in self.labels]
        if any(label.size > size for label, size in zip(self.labels, self.capacity, strict=True)):
            self._make_room()
        code = np.zeros(batch.num_rows, np.int32)
        for label, row, stride in zip(self.labels, rows, self._strides(), strict=True):
            code += (label.numbers * stride).astype(np.int32)[row]
        combination = self.place[code]
        if (combination < 0).any():
            self._meet(np.unique(code[combination < 0]))
            combination = self.place[code]
        self.waiting.append((combination, self._blocks(rows, batch.num_rows)))
        self.rows += batch.num_rows
        if sum(len(waiting) for waiting, _ in self.waiting) >= BATCH:
            self.count()

    def count(self) -> None:
        """Add up what waits: an addition is as long as the combinations are many, so small batches are put together."""
        if not self.waiting:
            return
        combination, block = (np.concatenate(part) for part in zip(*self.waiting, strict=True))
        self.waiting = []
        self.times += np.bincount(combination, minlength=len(self.times))
        size = len(self.in_block)
        place = self.group[combination] * BLOCKS + block
        self.in_block += np.bincount(place, minlength=size * BLOCKS).reshape(size, BLOCKS)

    def _strides(self) -> np.ndarray:
        """The last column, the item's, varies fastest."""
        return np.append(np.cumprod(self.capacity[:0:-1])[::-1], 1)

    def _make_room(self) -> None:
        """A column has more values than places: lay the array out anew, with some to spare."""
        for k, label in enumerate(self.labels):
            if label.size > self.capacity[k]:
                self.capacity[k] = label.size if self.capacity[k] == 1 else label.size * 5 // 4 + 1
        places = int(np.prod(self.capacity.astype(float)))
        if places > PLACES_MAX:
            raise Uncountable
        self.place = np.full(places, -1, np.int32)
        self.place[self.combinations @ self._strides()] = np.arange(len(self.combinations))

    def _meet(self, codes: np.ndarray) -> None:
        """Give numbers to combinations that were not met before."""
        new = np.stack(np.unravel_index(codes, tuple(self.capacity)), axis=1).astype(np.int32)
        self.place[codes] = np.arange(len(self.combinations), len(self.combinations) + len(codes))
        self.combinations = np.concatenate([self.combinations, new])
        self.times = np.concatenate([self.times, np.zeros(len(codes), np.int64)])
        if len(self.combinations) > COMBINATIONS_MAX:
            raise Uncountable
        kind = codes
        if self.wanted.item:  # of the item, a group only knows whether there is one
            missing = new[:, -1] < self.labels[-1].first
            new[:, -1] = missing
            kind = codes // self.capacity[-1] * 2 + missing
        _, first, group = np.unique(kind, return_index=True, return_inverse=True)
        numbers = np.array([self.groups.setdefault(tuple(row), len(self.groups)) for row in new[first].tolist()], np.int32)
        self.group = np.concatenate([self.group, numbers[group]])
        if len(self.groups) > GROUPS_MAX:
            raise Uncountable
        extra = np.zeros((len(self.groups) - len(self.in_block), BLOCKS), np.int64)
        self.in_block = np.concatenate([self.in_block, extra])

    def _blocks(self, rows: list[np.ndarray], count: int) -> np.ndarray:
        """The block of each row: of its session, else of its item, else of the row itself."""
        block = np.full(count, -1)
        for label, row in zip(self.labels, rows, strict=True):
            if label.name == self.wanted.session:
                block = label.blocks[row]
        if self.wanted.item and (block < 0).any():
            block = np.where(block < 0, self.labels[-1].blocks[rows[-1]], block)
        alone = np.flatnonzero(block < 0)
        if len(alone):
            numbers = pl.DataFrame({"row": alone + self.rows + 1})
            block[alone] = numbers.select(block_of_row()).to_series().to_numpy()
        return block

    def frame(self, schema: pl.Schema) -> pl.DataFrame:
        """The combinations in raw values, with their times and groups."""
        columns = [label.column(self.combinations[:, k], schema[label.name]) for k, label in enumerate(self.labels)]
        return pl.DataFrame([*columns, pl.Series(TIMES, self.times), pl.Series(GROUP, self.group.astype(np.int64))])
