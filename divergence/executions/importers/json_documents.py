"""JSON documents of a file of any size: one a line, one alone or in a list, or several written over lines one after another.

A line is held in memory alone, and one longer than `LONGEST` is passed over in pieces and set aside; so is a line that
is no JSON. A file whose first line is no document by itself (it is written over several lines) is read as a whole, up to
the same length.
"""

from __future__ import annotations

import gc
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from divergence.errors import InputError
from divergence.executions.importers import convert
from divergence.executions.importers.foreign_files import DAMAGE, opened, parsed
from divergence.executions.importers.mapping import Place

LONGEST = 256 * 2**20
"""Bytes of the longest line that is read: parsed JSON takes some five times as much memory."""

DECODER, BLANK = json.JSONDecoder(), re.compile(r"[ \t\r\n]*")

Reject = Callable[[Place, str, str], None]
Taken = Callable[[bytes], bool]
"""Takes a line as it is, or says that it is to be parsed."""


def documents(
    path: Path, reject: Reject, longest: int = LONGEST, taken: Taken = lambda _: False
) -> Iterator[tuple[int, Any]]:
    """The documents of a file, each with its line from 1; what cannot be parsed is handed to `reject`.

    The members of a list are documents. What `taken` takes is not given here. Raises InputError
    where the file cannot be read, or holds no JSON document at all. The collector of reference cycles rests meanwhile:
    documents have none, and it would walk through them again and again.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        with opened(path) as file:
            yield from _documents(file, path, reject, longest, taken)
    except DAMAGE as error:
        raise InputError(f"{path} cannot be read to its end: {error}.") from error
    finally:
        if collecting:
            gc.enable()


def json_or_text(value: Any) -> Any:
    """What a text holds as JSON; a text that is none, and any other value, as it is. json_or_text("[1]") = [1]."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value


def objects(value: Any) -> list[dict[str, Any]]:
    """The objects of a list, and none of anything else. objects([{"a": 1}, 2]) = [{"a": 1}]."""
    return [part for part in value if isinstance(part, dict)] if isinstance(value, list) else []


def _documents(file: IO[bytes], path: Path, reject: Reject, longest: int, taken: Taken) -> Iterator[tuple[int, Any]]:
    name, found, row = convert.printable(path), False, 0
    while line := file.readline(longest + 1):
        row += 1
        if len(line) > longest:
            _skip(file, longest)
            reject(Place(name, row), "line_length", f"The line has more than {longest // 2**20} MiB.")
            continue
        if line.isspace():
            continue
        if taken(line):
            found = True
            continue
        try:
            document = parsed(line)
        except ValueError as error:
            if not found and row == 1 and line.lstrip()[:1] in (b"{", b"["):
                yield from _whole(line, file, path, longest)
                return
            reject(Place(name, row), "record_readable", f"The line {convert.printable(error)}.")
            continue
        found = True
        yield from _members(row, document)


def _members(row: int, document: Any) -> Iterator[tuple[int, Any]]:
    """A document with its line, or the members of a list with theirs; of a list that begins the file with their places."""
    if not isinstance(document, list):
        yield row, document
    elif row == 1:
        yield from enumerate(document, start=1)
    else:
        yield from ((row, member) for member in document)


def _whole(first: bytes, file: IO[bytes], path: Path, longest: int) -> Iterator[tuple[int, Any]]:
    rest = file.read(longest + 1 - len(first))
    if len(first) + len(rest) > longest:
        raise InputError(f"{path} is one JSON document of more than {longest // 2**20} MiB: write one document a line.")
    try:
        document = parsed(first + rest)
    except ValueError as error:
        if isinstance(error, InputError):
            raise
        documents = _one_after_another(first + rest)
        if documents is None:
            raise InputError(f"{path} {convert.printable(error)}.") from error
        yield from enumerate(documents, start=1)
        return
    yield from _members(1, document)


def _one_after_another(data: bytes) -> list[Any] | None:
    """Documents that are written over several lines each; None where what follows the first is none."""
    found, place = [], 0
    try:
        text = data.decode()
        while place < len(text):
            document, place = DECODER.raw_decode(text, place)
            found.append(document)
            place = BLANK.match(text, place).end()  # type: ignore[union-attr]
    except (ValueError, RecursionError):
        return None
    return found


def _skip(file: IO[bytes], piece: int) -> None:
    while (rest := file.readline(piece)) and not rest.endswith(b"\n"):
        pass
