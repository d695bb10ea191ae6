"""Large Parquet files counted by their distinct rows: what a hundred million rows say fits into a small table.

The labels of a log (model, context, item, score, ...) take few values, so its rows repeat. One pass over the dictionary
codes of a file gives every distinct combination of raw labels with the number of rows that have it, by direct
addressing: `place = sum_c stride_c index_c`, and counting is adding one there. What reading checks and collapsing sums is
then asked of the combinations, weighted by `TIMES`. Of a session and of an answer only their presence is a label; the
session's block (a hash, see `clusters`) is counted beside, for every group of combinations that differ in the item alone,
and the rows of a sample of sessions are held (`session_rows`).

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

from divergence.executions.arrow_numbers import at, taken
from divergence.executions.files import Source
from divergence.executions.labels import Label, Uncountable
from divergence.executions.names import GROUP, ROW, TIMES
from divergence.executions.on_cluster import on_cluster
from divergence.executions.random_groups import BLOCKS, block_of_row
from divergence.executions.session_rows import Kept, SessionRows

PLACES_MAX = 2**25  # places of the array of codes, 4 bytes each
COMBINATIONS_MAX = 2**22  # distinct rows that are still a summary
GROUPS_MAX = 2**17  # combinations without their items, each with a count for every block
BATCH = 2**20  # rows looked at together
TOGETHER_MAX = 2**12  # combinations of values that are looked up at once: more of them do not stay in the nearest cache


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
    sessions: SessionRows | None = None
    """The rows of some sessions; None where they are not held, as on a cluster, whose nodes would have to send them."""


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
    sessions = None
    if ray is None:
        counts = _tallied(paths, wanted, counted)
        made = None if counts is None else (counts.frame(schema), counts.in_block)
        if counts is not None and counts.kept is not None and wanted.session is not None:
            sessions = counts.kept.found(wanted.session, schema[wanted.session])
    else:
        made = merged(on_cluster(_one_file, [(path, dict(schema), wanted) for path in paths], ray), wanted)
    if made is None:
        return None
    frame = made[0].with_columns((pl.col(GROUP) + first_group).alias(GROUP), pl.lit(0, pl.UInt32).alias(ROW))
    return Tally(dataclasses.replace(sources[0], frame=frame.lazy()), made[1], sessions)


def _one_file(job: tuple[Path, dict, Wanted]) -> Counts | None:
    path, schema, wanted = job
    counts = _tallied([path], wanted, None, keep=False)
    return None if counts is None else (counts.frame(pl.Schema(schema)), counts.in_block)


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


def _tallied(paths: list[Path], wanted: Wanted, counted: Callable[[int], None] | None, keep: bool = True) -> _Counts | None:
    """The counts of all rows; `keep`: and the rows of some sessions."""
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
        counts = _Counts(labels, wanted, Kept() if keep and wanted.session is not None else None)
        plain = [label.name for label in labels if label.plain]
        for path, about in zip(paths, metadata, strict=True):
            counts.rows = 0
            # Without a buffer ahead: of files on this machine it is copying alone, a seventh of the decoding.
            with pq.ParquetFile(path, metadata=about, read_dictionary=plain, pre_buffer=False) as file:
                for batch in file.iter_batches(BATCH, columns=names):
                    counts.add(batch)
                    if counted is not None:
                        counted(batch.num_rows)
        counts.count()
    except Uncountable:
        return None
    return counts


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

    def __init__(self, labels: list[Label], wanted: Wanted, kept: Kept | None) -> None:
        self.labels, self.wanted, self.kept = labels, wanted, kept
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
        code = self._codes(rows, batch.num_rows)
        combination = at(self.place, code)
        if combination.min(initial=0) < 0:
            self._meet(np.unique(code[combination < 0]))
            combination = at(self.place, code)
        self.waiting.append((combination, self._blocks(rows, batch.num_rows, combination)))
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
        place = at(self.group * np.int32(BLOCKS), combination) + block
        self.in_block += np.bincount(place, minlength=size * BLOCKS).reshape(size, BLOCKS)

    def _codes(self, rows: list[np.ndarray], count: int) -> np.ndarray:
        """The place of each row's combination: the sum over columns of a number that its value has.

        Columns of few values are looked up together, by one number for the values of all of them.
        """
        code, table, index = np.zeros(count, np.int32), np.zeros(1, np.int32), None
        for label, row, stride in zip(self.labels, rows, self._strides(), strict=True):
            own = (label.numbers * stride).astype(np.int32)
            own = own if label.missing else own[:-1]
            if len(own) and (own == own[0]).all():  # one value in all rows, as of sessions that all rows have
                code += own[0]
                continue
            if index is not None and len(table) * len(own) <= TOGETHER_MAX:
                table = (table[:, None] + own).ravel()
                index *= np.int32(len(own))
                index += row
                continue
            if index is not None:
                code += at(table, index)
            table, index = own, row.copy()
        return code if index is None else code + at(table, index)

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

    def _blocks(self, rows: list[np.ndarray], count: int, combination: np.ndarray) -> np.ndarray:
        """The block of each row: of its session, else of its item, else of the row itself."""
        block = np.full(count, -1, np.int16)
        for label, row in zip(self.labels, rows, strict=True):
            if label.name == self.wanted.session:
                block = self._of_session(label, row, combination)
        if self.wanted.item and block.min(initial=0) < 0:
            block = np.where(block < 0, at(self.labels[-1].blocks, rows[-1]), block)
        alone = np.flatnonzero(block < 0)
        if len(alone):
            block = block.copy()
            numbers = pl.DataFrame({"row": alone + self.rows + 1})
            block[alone] = numbers.select(block_of_row()).to_series().to_numpy()
        return block

    def _of_session(self, label: Label, row: np.ndarray, combination: np.ndarray) -> np.ndarray:
        """The block of each row's session; the rows of sessions that are kept are held."""
        blocks = label.blocks
        if self.kept is None or label.dictionary is None:
            return at(blocks, row)
        keep = label.hashes % np.uint64(self.kept.every) == 0
        keep &= blocks >= 0
        block = at(blocks + keep * np.int16(BLOCKS), row)  # one look at each row for both
        place = np.flatnonzero(block >= BLOCKS)
        if len(place):
            chosen = row[place]
            self.kept.add(combination[place], label.hashes[chosen], taken(label.dictionary, chosen))
            block = block & np.int16(~BLOCKS)  # as it was; what is missing stays below 0
        return block

    def frame(self, schema: pl.Schema) -> pl.DataFrame:
        """The combinations in raw values, with their times and groups."""
        columns = [label.column(self.combinations[:, k], schema[label.name]) for k, label in enumerate(self.labels)]
        return pl.DataFrame([*columns, pl.Series(TIMES, self.times), pl.Series(GROUP, self.group.astype(np.int64))])
