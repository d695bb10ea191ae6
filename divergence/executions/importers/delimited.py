"""Rows of delimited text as dictionaries: CSV, and PostgreSQL's COPY text with or without the dump around it.

Read row by row, so that a file of any size takes the memory of a row. Bytes that are no UTF-8 become the sign of
replacement, and how many rows have one is said.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from pathlib import Path

from divergence.errors import InputError
from divergence.executions.importers import convert
from divergence.executions.importers.foreign_files import DAMAGE, LINE_BYTES, opened
from divergence.executions.importers.mapping import Draft, Place

COPY = re.compile(r"COPY\s+\S+\s+\((.*)\)\s+FROM\s+stdin;", re.IGNORECASE)
ESCAPES = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
ESCAPED = re.compile(r"\\(.)", re.DOTALL)
REPLACED = "\ufffd"


def csv_rows(path: Path, draft: Draft, delimiter: str = ",") -> Iterator[tuple[int, dict[str, str]]]:
    """The rows of a CSV file by the names in its first line, with their line; rows of another width are set aside."""
    csv.field_size_limit(LINE_BYTES)
    try:
        with opened(path) as raw, io.TextIOWrapper(raw, encoding="utf-8-sig", errors="replace", newline="") as file:
            reader = csv.reader((line.replace("\0", REPLACED) for line in file), delimiter=delimiter)
            names = next(reader, [])
            while True:
                try:
                    cells = next(reader, None)
                except csv.Error as error:
                    draft.reject(
                        Place(convert.printable(path), reader.line_num), "record_readable", f"The row is no CSV: {error}."
                    )
                    continue
                if cells is None:
                    return
                yield from _row(path, reader.line_num, names, cells, draft)
    except DAMAGE as error:
        raise InputError(f"{path} cannot be read to its end: {error}.") from error


def copied_rows(path: Path, draft: Draft) -> Iterator[tuple[int, dict[str, str | None]]]:
    """The rows of COPY text: after a line of names, or of the first COPY in a dump; `\\N` is None."""
    names: list[str] | None = None
    try:
        with opened(path) as raw, io.TextIOWrapper(raw, encoding="utf-8", errors="replace", newline="\n") as file:
            for number, line in enumerate(file, start=1):
                text = line.rstrip("\n")
                if names is None:
                    copy = COPY.match(text)
                    if copy:
                        names = [name.strip().strip('"') for name in copy[1].split(",")]
                    elif number == 1 and "\t" in text:
                        names = text.split("\t")
                elif text == "\\.":
                    return
                else:
                    cells = [None if cell == "\\N" else _unescaped(cell) for cell in text.split("\t")]
                    yield from _row(path, number, names, cells, draft)
    except DAMAGE as error:
        raise InputError(f"{path} cannot be read to its end: {error}.") from error


def _row(path: Path, number: int, names: list[str], cells: list, draft: Draft) -> Iterator[tuple[int, dict]]:
    if len(cells) != len(names):
        sentence = f"The row has {len(cells)} cells, and the first line {len(names)} names."
        draft.reject(Place(convert.printable(path), number), "row_width", sentence)
        return
    if any(cell and REPLACED in cell for cell in cells):
        draft.count("A row has bytes that are no UTF-8")
    yield number, dict(zip(names, cells, strict=True))


def _unescaped(cell: str) -> str:
    return ESCAPED.sub(lambda found: ESCAPES.get(found[1], found[1]), cell) if "\\" in cell else cell
