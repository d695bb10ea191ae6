"""The rows of a stream as arrays: what a chunk is cut from, and what a monitor keeps of a chunk that is not full yet."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import polars as pl

from divergence.drift.baseline import Baseline
from divergence.drift.layout import OTHER, Layout
from divergence.errors import InputError

TIME_FORMS = "an instant with its zone, for example 2026-11-25T02:37:25Z"


@dataclasses.dataclass(frozen=True)
class Rows:
    """Rows in order of time; every field has one entry a row."""

    time: np.ndarray
    """Microseconds since 1970, UTC, shape (n,)."""
    identity: np.ndarray
    """64-bit hash of the row (of its execution_id where it has one), shape (n,)."""
    numeric: np.ndarray
    """Numeric signals, NaN where missing, shape (n, p)."""
    classes: np.ndarray
    """Level numbers of the class signals, -1 where missing, shape (n, c)."""
    embedding: np.ndarray
    """Embedding in the reference's directions, then the squared length outside them; shape (n, dimensions + 1) or (n, 0)."""
    flip: np.ndarray
    """1: right now and wrong before, -1: the reverse, 0: as before, NaN: the item's past is unknown; shape (n,)."""
    answer: np.ndarray
    """2 x (answer is the first class) + (right answer is the first class), -1 where unknown; shape (n,)."""

    def __len__(self) -> int:
        return len(self.time)

    def __getitem__(self, part: slice | np.ndarray) -> Rows:
        return Rows(*(getattr(self, field.name)[part] for field in dataclasses.fields(self)))


def concat(parts: Sequence[Rows]) -> Rows:
    """The rows of several parts, one after the other."""
    return Rows(*(np.concatenate([getattr(part, f.name) for part in parts]) for f in dataclasses.fields(Rows)))


def instants(frame: pl.DataFrame) -> np.ndarray:
    """The time of every row in microseconds. Raises InputError, with a sentence, where there is none."""
    if "time" not in frame.columns:
        raise InputError(
            f"The stream has no column time, only {', '.join(frame.columns[:20])}: drift is a matter of order; name its "
            "column with --map time=NAME."
        )
    column = frame["time"]
    if not isinstance(column.dtype, pl.Datetime) or column.dtype.time_zone is None:
        raise InputError(
            f"The times of the stream are {column.dtype} (seen {column.drop_nulls().head(1).to_list()}), which is not "
            f"{TIME_FORMS}: say their zone with --zone UTC."
        )
    if column.null_count():
        raise InputError(f"{column.null_count()} of {len(column)} rows have no time: leave them out or give it.")
    return column.dt.cast_time_unit("us").to_physical().to_numpy().astype(np.int64)


def from_frame(frame: pl.DataFrame, layout: Layout, baseline: Baseline) -> Rows:
    """Arrays of a frame with the columns of the layout, in the order of the frame; a column that vanished is missing."""
    n = len(frame)
    numeric = np.full((n, len(layout.numeric)), np.nan)
    for place, name in enumerate(layout.numeric):
        if name in frame.columns and (frame[name].dtype.is_numeric() or frame[name].dtype == pl.Boolean):
            values = frame[name].cast(pl.Float64).to_numpy()
            numeric[:, place] = np.where(np.isfinite(values), values, np.nan)
    classes = np.full((n, len(layout.classes)), -1, np.int16)
    for place, (name, levels) in enumerate(layout.classes):
        if name in frame.columns:
            classes[:, place] = _codes(frame[name].cast(pl.String), levels)
    return Rows(
        instants(frame),
        identities(frame),
        numeric,
        classes,
        baseline.embedding.project(frame) if baseline.embedding else np.zeros((n, 0), np.float32),
        baseline.items.flips(frame) if baseline.items else np.full(n, np.nan),
        baseline.answers.cells(frame) if baseline.answers else np.full(n, -1, np.int8),
    )


def _codes(column: pl.Series, levels: tuple[str, ...]) -> np.ndarray:
    """Level numbers; what the reference did not tell apart is `OTHER` (or missing, where it had no other level)."""
    other = levels.index(OTHER) if OTHER in levels else -1
    known = {level: number for number, level in enumerate(levels) if level != OTHER}
    codes = column.replace_strict(known, default=other, return_dtype=pl.Int16)
    return np.where(column.is_null().to_numpy(), -1, codes.to_numpy()).astype(np.int16)


def identities(frame: pl.DataFrame) -> np.ndarray:
    """A 64-bit hash of each row, the same on every machine: of its execution_id where all are given, else of all values."""
    if "execution_id" in frame.columns and frame["execution_id"].null_count() == 0:
        frame = frame.select("execution_id")
    kept = [
        c for c in frame.columns if not frame[c].dtype.is_nested() and not c.startswith("__") and c not in ("file", "row")
    ]
    mixed = np.zeros(len(frame), np.uint64)
    for name in sorted(kept):
        mixed = (mixed ^ _hashed(frame[name])) * np.uint64(0x100000001B3)  # FNV prime: order of columns counts
    return mixed


def _hashed(column: pl.Series) -> np.ndarray:
    if column.dtype.is_numeric() or column.dtype == pl.Boolean:
        bits = column.cast(pl.Float64).fill_null(float("nan")).to_numpy().copy().view(np.uint64)
    elif column.dtype.is_temporal():
        bits = column.to_physical().cast(pl.Int64).fill_null(-1).to_numpy().copy().view(np.uint64)
    else:
        texts = column.cast(pl.String)
        levels = texts.unique().to_list()
        table = {level: _text_hash(level) for level in levels}
        return texts.replace_strict(table, return_dtype=pl.UInt64).to_numpy()
    bits = (bits ^ (bits >> np.uint64(33))) * np.uint64(0xFF51AFD7ED558CCD)
    return bits ^ (bits >> np.uint64(33))


def _text_hash(text: str | None) -> int:
    import hashlib

    return int.from_bytes(hashlib.blake2b((text or "\0").encode(), digest_size=8).digest(), "little")
