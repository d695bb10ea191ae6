"""What a CSV or NDJSON file must be before a fast reader may have it: what that reader would take without a word.

| file | rule |
|---|---|
| CSV whose header names a column twice | refused, with the name |
| CSV or NDJSON whose lines end in carriage returns alone, or in UTF-16 or UTF-32 | refused |
| CSV with a line of more fields than the header | refused, with the line |
| NDJSON record that names a key twice, or is nested more than `DEPTH` deep | no record: the row is rejected |
| NDJSON text with half a surrogate pair | read with U+FFFD in its place |
| NDJSON list of numbers with a boolean among them | read as text |

The last three are decided by the reader that goes line by line; `needs_care` says whether a file has such a line.
"""

from __future__ import annotations

import codecs
import contextlib
import csv
import gzip
import io
import json
import shlex
import zlib
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import IO

import polars as pl

from divergence.errors import InputError

HEAD = 1 << 20  # bytes in which the header of a CSV file ends
UNPACKED_RATIO = 100  # unpacked bytes a packed byte; logs of text pack 5 to 30 fold, and bombs a thousandfold
UNPACKED_FLOOR = 2**30  # unpacked bytes that every file may have, however well it is packed
DEPTH = 64  # levels of a record; logs have fewer than ten
SURROGATE = r"\\u[dD][89a-fA-F]"
BOOLEAN_IN_A_LIST = r"[\[,]\s*(true|false)"
UNPACK = {".gz": ("gzip", "-dc"), ".zst": ("zstd", "-dc")}
WIDE_MARKS = (  # the mark of UTF-32 begins as that of UTF-16 does
    (codecs.BOM_UTF32_LE, "UTF-32"),
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
)
WIDE_SEEN, WIDE_MIN = 64, 8  # bytes that are looked at where there is no mark, and letters that there must be
ESCAPED_LETTER = r"\\u00[2-7]"  # an escaped ASCII letter may hide a key


def is_gzip(path: Path) -> bool:
    """Is a file packed with gzip, whatever its name says?"""
    with open(path, "rb") as file:
        return file.read(2) == b"\x1f\x8b"


def check_packing(path: Path) -> None:
    """InputError for a gzip file that unpacks to more than a log does; damage is left to who reads it."""
    if not is_gzip(path):
        return
    left = max(UNPACKED_FLOOR, UNPACKED_RATIO * path.stat().st_size)
    try:
        with gzip.open(path, "rb") as file:
            while left >= 0 and (piece := file.read(HEAD)):
                left -= len(piece)
    except (OSError, EOFError, zlib.error):
        return
    if left < 0:
        raise InputError(f"The file {path} unpacks to more than {UNPACKED_RATIO} times its size: it is no log.")


def check_encoding(path: Path, head: bytes, lines: bool = True) -> None:
    """InputError for UTF-16 and UTF-32, and for `lines` that end in carriage returns alone; `head` is the unpacked start."""
    if wide := wide_text(head):
        raise InputError(f"The file {path} is {wide}: write it as UTF-8 ({as_utf8(path, wide)}).")
    if lines and b"\r" in head and b"\n" not in head and head.count(b"\r") > 1:
        raise InputError(f"The file {path} ends its lines with carriage returns alone: write it with line feeds.")


def wide_text(head: bytes) -> str | None:
    """`UTF-16` or `UTF-32` where a text begins as such, with its mark or without one; None for everything else.

    Without a mark: each letter of a log's beginning is one of ASCII, and every second byte (or three of four) is 0.
    """
    for mark, name in WIDE_MARKS:
        if head.startswith(mark):
            return name
    begin = head[:WIDE_SEEN]
    for name, width in (("UTF-32", 4), ("UTF-16", 2)):
        begin = begin[: len(begin) // width * width]
        for place, order in ((0, "LE"), (width - 1, "BE")):
            letters, zeros = begin[place::width], begin.translate(None, b"\0")
            if len(letters) >= WIDE_MIN and letters.isascii() and b"\0" not in letters and letters == zeros:
                return name + order
    return None


def as_utf8(path: Path, encoding: str) -> str:
    """The command that writes a file anew in UTF-8."""
    change = ["iconv", "-f", encoding, "-t", "UTF-8"]
    if unpack := UNPACK.get(path.suffix):
        return f"{shlex.join([*unpack, str(path)])} | {shlex.join(change)} > {shlex.quote(f'utf8-{path.stem}')}"
    return f"{shlex.join([*change, str(path)])} > {shlex.quote(f'utf8-{path.name}')}"


def check_header(path: Path, head: bytes, separator: str) -> None:
    """InputError where the header of a CSV file names a column twice."""
    text = io.StringIO(head.decode("utf-8-sig", "replace"), newline="")
    try:
        header = next(csv.reader(text, delimiter=separator), [])
    except csv.Error:
        return  # whoever reads it has a sentence for that
    for name in dict.fromkeys(header):
        if header.count(name) > 1:
            raise InputError(f"The file {path} names the column {name!r} {header.count(name)} times in line 1: rename one.")


def first_ragged(file: IO[bytes], separator: str) -> str:
    """Where a CSV file has more fields than its header, as the end of a sentence; empty where it has not. Closes it."""
    with contextlib.suppress(csv.Error, OSError, EOFError), io.TextIOWrapper(file, "utf-8", "replace", newline="") as text:
        reader = csv.reader(text, delimiter=separator)
        width = len(next(reader, []))
        for fields in reader:
            if len(fields) > width:
                return f"line {reader.line_num} has {len(fields)} fields, the header {width}"
    return ""


def _parsed(text: str) -> tuple[object, list[dict]]:
    """What a text says, and the objects in it that name a key twice."""
    twice: list[dict] = []

    def made(pairs: list[tuple[str, object]]) -> dict:
        found = dict(pairs)
        if len(found) < len(pairs):
            twice.append(found)
        return found

    return json.loads(text, object_pairs_hook=made), twice


def record(line: str) -> dict | None:
    """The record of a line; None where it is none, names a key twice, or is nested too deeply. What its values name twice is
    their text, which no column is made of."""
    try:
        found, twice = _parsed(line.lstrip("\ufeff"))
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) and not any(one is found for one in twice) and _shallow(found) else None


def records(text: str) -> list:
    """A JSON document under the same rules. Raises ValueError, with the end of a sentence."""
    try:
        found, twice = _parsed(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if not isinstance(found, list) or not found or not all(isinstance(one, dict) for one in found):
        raise ValueError("it is not an array of records")
    if {*map(id, twice)} & {*map(id, found)}:
        raise ValueError("a record names a key twice")
    if not all(map(_shallow, found)):
        raise ValueError("it is nested too deeply")
    return found


def _shallow(value: object) -> bool:
    """Is it nested at most `DEPTH` deep? Level by level, as a recursion would end where it matters."""
    level = [value]
    for _ in range(DEPTH + 1):
        level = [
            inner
            for outer in level
            if isinstance(outer, (dict, list))
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, (dict, list))
        ]
        if not level:
            return True
    return False


def needs_care(lines: pl.LazyFrame, names: Iterable[str], vectors: Collection[str] = ()) -> bool:
    """Must an NDJSON file with such lines (`line`) and these columns be read line by line? See the table above. `vectors`:
    names of those that Polars takes for lists of numbers, which it does where a list holds a boolean, too, and then fails
    at it."""
    line = pl.col("line")
    brackets = line.str.count_matches("[", literal=True) + line.str.count_matches("{", literal=True)
    suspicious = [line.str.contains(SURROGATE), line.str.contains(ESCAPED_LETTER), brackets > DEPTH]
    suspicious.append(line.str.contains(r"^\s*[^{\s]"))  # no object: Polars looks at some of these only when it reads
    if vectors:
        suspicious.append(line.str.contains(BOOLEAN_IN_A_LIST))
    for name in names:
        key = json.dumps(name, ensure_ascii=False)
        suspicious.append(line.str.count_matches(key, literal=True) > 1)
    found = lines.filter(pl.any_horizontal(suspicious)).collect(engine="streaming")["line"]
    return any(not read_alike(text, vectors) for text in found if text.strip())


def read_alike(line: str, vectors: Collection[str]) -> bool:
    """Is a line a record, and one of which Polars makes what this module says? `vectors` as in `needs_care`."""
    found = record(line)
    if found is None:
        return False
    lists = [found[name] for name in vectors if isinstance(found.get(name), list)]
    if any(isinstance(entry, bool) for entries in lists for entry in entries):
        return False
    try:
        json.dumps(found, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True
