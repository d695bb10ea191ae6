"""JSON records as lazy frames of text: NDJSON (one record a line), and arrays of records.

Well-formed NDJSON streams through Polars. A file with lines that Polars refuses (a `NaN`, which Python writes but JSON
does not know, a line cut short by a crash, a byte-order mark) is read again line by line in Python, slower but still
streaming: lines that are no records come out with their text in `FAILED_RECORD` and null elsewhere, so that they are
rejected one by one instead of with their file.
"""

from __future__ import annotations

import decimal
import gzip
import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO, cast

import polars as pl

from divergence.errors import InputError
from divergence.executions import plain_lines
from divergence.executions.names import FAILED, ROW
from divergence.executions.text_tables import needs_care, record, records

LARGEST_DOCUMENT = 2**31  # bytes of one JSON array, which has to be in memory as a whole
SHOWN = 80  # characters of a bad line that are kept
FAILED_RECORD = FAILED + "record"
VECTOR = pl.List(pl.Float64)


def scan_ndjson(path: Path) -> pl.LazyFrame:
    """Every scalar as text; lists of numbers stay lists, other nested values become JSON text.

    All records are looked at to learn the column names, because rare ones (an error, a retry) may come late.
    """
    try:
        seen = _seen(path)
    except pl.exceptions.PolarsError:
        return scan_by_line(path)
    if seen is None:
        return scan_by_line(path)
    schema = {name: VECTOR if _is_vector(dtype) else pl.String for name, dtype in seen.items()}
    return pl.scan_ndjson(path, schema=schema, row_index_name=ROW, row_index_offset=1)


def _seen(path: Path) -> Mapping[str, pl.DataType] | None:
    """Names and types as Polars tells them; None where it would take what is no record. Raises what Polars raises."""
    seen = _seen_in_plain_lines(path)
    lines = pl.scan_lines(path, name="line")
    if seen is None:
        seen = pl.scan_ndjson(path, infer_schema_length=None).collect_schema()
        odd = lines
    else:
        seen, odd = seen
        odd = odd.to_frame("line").lazy()
    return None if needs_care(odd, seen, [name for name, dtype in seen.items() if _is_vector(dtype)]) else seen


def _seen_in_plain_lines(path: Path) -> tuple[Mapping[str, pl.DataType], pl.Series] | None:
    """The same told by the first lines and by those that are not plain, and these; None where they do not tell it."""
    first = plain_lines.first_lines(opened(path))
    records = [record(line) for line in first or ()]
    found = [one for one in records if one is not None]
    if first is None or len(found) < len(records) or not found:
        return None
    seen = plain_lines.schema_of(first)
    vectors = [name for name, dtype in seen.items() if _is_vector(dtype)]
    told_by_one = plain_lines.plain(found, vectors)
    odd = None if told_by_one is None else plain_lines.odd_lines(path, told_by_one)
    if odd is None:
        return None
    late = plain_lines.schema_of(odd)
    told = {**late, **seen}
    if any(dtype.is_nested() and name not in vectors for name, dtype in told.items()) or {*vectors} & {*late}:
        return None
    names = dict.fromkeys([*seen, *late])
    return {name: told[name] for name in names}, odd


def scan_by_line(path: Path) -> pl.LazyFrame:
    """The same, record by record in Python. Raises ValueError if no line is a record."""
    with opened(path) as file:
        schema = _schema(record(line.decode("utf-8", "replace")) or {} for line in file)
    if not schema:
        raise ValueError("none of its lines is a JSON record")
    lines = pl.scan_lines(path, name="line").filter(pl.col("line").str.contains(r"\S")).with_row_index(ROW, offset=1)
    full = {ROW: pl.UInt32, **schema, FAILED_RECORD: pl.String}

    def parsed(batch: pl.DataFrame) -> pl.DataFrame:
        found = [record(line) for line in batch["line"]]
        frame = _frame([one or {} for one in found], schema)
        judged = zip(found, batch["line"], strict=True)
        failed = [line[:SHOWN] if one is None else None for one, line in judged]
        return frame.select(batch[ROW].cast(pl.UInt32), *schema, pl.Series(FAILED_RECORD, failed, pl.String))

    return lines.map_batches(parsed, schema=full, streamable=True)


def scan_json(path: Path) -> pl.LazyFrame:
    """A JSON array of records, read whole (the format allows no other way), or NDJSON under the name `.json`."""
    with opened(path) as file:
        first = file.read(64).lstrip(b"\xef\xbb\xbf \t\r\n")[:1]
    if first != b"[":
        try:
            return scan_ndjson(path)
        except InputError:
            raise
        except ValueError as error:
            raise ValueError("it is neither an array of records nor one record a line") from error
    with opened(path) as file:
        content = file.read(LARGEST_DOCUMENT + 1)
    if len(content) > LARGEST_DOCUMENT:
        raise ValueError(f"it is larger than {LARGEST_DOCUMENT / 2**30:.0f} GiB: write one record a line")
    found = records(content.decode("utf-8-sig"))
    return _frame(found, _schema(found)).lazy().with_row_index(ROW, offset=1)


def head(path: Path, size: int) -> bytes:
    """The first bytes of a file, unpacked where it is gzip."""
    with opened(path) as file:
        return file.read(size)


def opened(path: Path) -> IO[bytes]:
    """A file for reading bytes, unpacked where it is gzip."""
    with open(path, "rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    return cast("IO[bytes]", gzip.open(path, "rb")) if packed else open(path, "rb")


def _schema(found: Iterable[dict]) -> dict[str, pl.DataType]:
    """The names in the order in which they appear; a name is a vector if its values are lists, of numbers if of anything."""
    vectors: dict[str, bool | None] = {}  # None: no value, or nothing but lists without one, until now
    for one in found:
        for name, value in one.items():
            if vectors.setdefault(name, None) is not False and value is not None:
                vectors[name] = (_numbers(value) or vectors[name]) if _list_of(value) else False
    return {name: VECTOR if vector else pl.String() for name, vector in vectors.items()}


def _frame(records: list[dict], schema: dict[str, pl.DataType]) -> pl.DataFrame:
    return pl.DataFrame(
        {
            name: [_vector(r.get(name)) if dtype == VECTOR else _text(r.get(name)) for r in records]
            for name, dtype in schema.items()
        },
        schema=schema,
    )


def _list_of(value: object) -> bool:
    """A list of numbers and nulls?"""
    return isinstance(value, list) and all(entry is None or type(entry) in (int, float) for entry in value)


def _numbers(value: list) -> bool | None:
    """Does the list hold a number? None where it does not."""
    return any(entry is not None for entry in value) or None


def _vector(value: object) -> list[float | None] | None:
    return [None if entry is None else float(entry) for entry in value] if isinstance(value, list) else None


def _text(value: object) -> str | None:
    """A value as the fast reader writes it: numbers without an exponent, whole ones without a point."""
    if value is None or isinstance(value, str):
        return _whole(value) if value else value
    return _written(value)


def _written(value: object) -> str:
    """A value that is no text, or lies within another one."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_written(name)}: {_written(inner)}" for name, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_written, value)) + "]"
    if isinstance(value, float) and math.isfinite(value):
        return format(decimal.Decimal(repr(value)), "f").removesuffix(".0")
    if isinstance(value, str):
        escaped = value.replace('"', '\\"').replace("\n", "\\n").replace("\r", "\\r")  # and no more, as Polars does
        return f'"{_whole(escaped)}"'
    return json.dumps(value)


def _whole(text: str) -> str:
    """A text with U+FFFD for half a surrogate pair."""
    return "".join("\ufffd" if "\ud800" <= letter <= "\udfff" else letter for letter in text) if _halved(text) else text


def _halved(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def _is_vector(dtype: pl.DataType) -> bool:
    return isinstance(dtype, pl.List) and dtype.inner is not None and dtype.inner.is_numeric()
