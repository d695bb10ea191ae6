"""Which lines of a journal are whole ones? Journals are JSON lines, appended while a run goes on.

A killed run leaves the half of a line, a full disk or a hand leaves anything. Such lines are counted and left out, and stay
where they are: nothing that was measured is thrown away by a reader. A line is whole where each value is of its column's
kind; what only that could tell later ends no run.
"""

from __future__ import annotations

import datetime
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from divergence.probe.reply_stream import DAMAGE

LARGEST = sys.float_info.max


def lines(journal: Path) -> Iterator[bytes]:
    """The lines that were written to their end, empty ones left out."""
    with journal.open("rb") as file:
        for line in file:
            if line.endswith(b"\n") and line != b"\n":
                yield line


def parsed(line: bytes) -> dict | None:
    """The JSON object of a line, None where it is none."""
    try:
        found = json.loads(line.decode())
    except DAMAGE:
        return None
    return found if isinstance(found, dict) else None


def fits(value: object, dtype: object) -> bool:
    """Can this JSON value stand in a column of this kind?"""
    if isinstance(value, str):
        return _is_text(value) and (dtype == pl.String or (dtype == pl.Datetime and _is_time(value)))
    if type(value) is int and dtype == pl.Int64:
        return value.bit_length() < 64
    return dtype == pl.Float64 and (type(value) is float or (type(value) is int and abs(value) <= LARGEST))


def _is_text(value: str) -> bool:
    """No half of a surrogate pair, which no file can hold."""
    return value.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in value)


def _is_time(value: str) -> bool:
    """An instant as the journal writes it, in UTC."""
    try:
        return datetime.datetime.fromisoformat(value).utcoffset() == datetime.timedelta(0)
    except ValueError:
        return False
