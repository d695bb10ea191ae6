"""Chunk summaries that merge: the same answer from one machine and from many.

A partition of the stream (rows in order of time, each once, with the number of its first row) becomes the summaries of the
chunks that lie inside it and the loose rows at its ends. Merging joins loose ends into chunks. Because a chunk's summary is
made of the same rows in the same order wherever that happens, the merged result has the same bytes as that of one pass: a
monoid (associative, with the empty summary as its unit). Unit: rows and chunks of the stream, numbered from 0.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np
import polars as pl

from divergence.drift.monitor import Monitor
from divergence.drift.reference import Chunk, Reference
from divergence.drift.rows import Rows, concat, from_frame
from divergence.errors import InputError


@dataclasses.dataclass(frozen=True)
class Summary:
    """Part of a stream."""

    chunks: tuple[tuple[int, Chunk], ...] = ()
    """Number and summary of each chunk that is complete, in order."""
    loose: tuple[tuple[int, Rows], ...] = ()
    """Number of the first row and the rows of each piece that is not, in order."""


def summarise(frame: pl.DataFrame, first: int, reference: Reference) -> Summary:
    """The summary of rows `first`, `first + 1`, ... of a stream; they must be in order of time."""
    rows = from_frame(frame, reference.layout, reference.baseline)
    if (np.diff(rows.time) < 0).any():
        raise InputError(f"The partition that begins with row {first} is not in order of time: sort the stream first.")
    return _joined((), ((first, rows),) if len(rows) else (), reference)


def merge(parts: Sequence[Summary], reference: Reference) -> Summary:
    """The summary of several parts together, in any order."""
    chunks = sorted((one for part in parts for one in part.chunks), key=lambda one: one[0])
    loose = sorted((one for part in parts for one in part.loose), key=lambda one: one[0])
    return _joined(tuple(chunks), tuple(loose), reference)


def _joined(chunks: tuple[tuple[int, Chunk], ...], loose: tuple[tuple[int, Rows], ...], reference: Reference) -> Summary:
    length, made, left, piece, begin = reference.chunking.rows, list(chunks), [], [], 0
    for number, (first, rows) in enumerate(loose):
        piece, begin = [*piece, rows], first if not piece else begin
        following = loose[number + 1][0] if number + 1 < len(loose) else None
        if following is not None and following < first + len(rows):
            raise InputError(_overlap(following))
        if following != first + len(rows):  # the piece ends here
            new, rest = _cut(begin, concat(piece), length, reference)
            made, left, piece = made + new, left + rest, []
    made.sort(key=lambda one: one[0])
    twice = [second for (one, _), (second, _) in itertools.pairwise(made) if one == second]
    inside = [first for first, _ in left if first // length in {number for number, _ in made}]
    if twice or inside:
        raise InputError(_overlap(twice[0] * length if twice else inside[0]))
    return Summary(tuple(made), tuple(left))


def _overlap(row: int) -> str:
    return f"Row {row} of the stream is given twice: merge each part once."


def _cut(begin: int, rows: Rows, length: int, reference: Reference) -> tuple[list, list]:
    """Complete chunks of one contiguous piece, and what is left at its ends."""
    lead = min(-begin % length, len(rows))
    full = (len(rows) - lead) // length
    chunks = [
        ((begin + lead) // length + n, reference.summary(rows[lead + n * length : lead + (n + 1) * length]))
        for n in range(full)
    ]
    tail = lead + full * length
    ends = [(begin, rows[:lead]), (begin + tail, rows[tail:])]
    return chunks, [(first, part) for first, part in ends if len(part)]


def take(monitor: Monitor, summary: Summary) -> None:
    """Give a merged summary of the whole stream to a monitor that has seen nothing of it yet."""
    numbers = [number for number, _ in summary.chunks]
    if monitor.evidence.chunks or numbers != list(range(len(numbers))):
        raise InputError(
            "A monitor takes the summary of a whole stream once, from its first chunk on: merge all parts first."
        )
    for _, chunk in summary.chunks:
        monitor.add(chunk)
    monitor.rows = len(numbers) * monitor.length
    monitor.pending = concat([rows for _, rows in summary.loose]) if summary.loose else None
    if numbers:
        monitor.counted_to = summary.chunks[-1][1].end
