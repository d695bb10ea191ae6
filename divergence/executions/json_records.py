"""JSON records as lazy frames of text: NDJSON (one record a line), and arrays of records.

Well-formed NDJSON streams through Polars. A file with lines that Polars refuses (a `NaN`, which Python writes but JSON
does not know, a line cut short by a crash, a byte-order mark) is read again line by line in Python, slower but still
streaming: lines that are no records come out with their text in `FAILED_RECORD` and null elsewhere, so that they are
rejected one by one instead of with their file.
"""

from __future__ import annotations

import dataclasses
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
from divergence.executions.text_tables import is_gzip, needs_care, read_alike, record, records

LARGEST_DOCUMENT = 2**31  # bytes of one JSON array, which has to be in memory as a whole
HEAD = 2**19  # bytes of lines that tell whether a file is a table
SHOWN = 80  # characters of a bad line that are kept
FAILED_RECORD = FAILED + "record"
VECTOR = pl.List(pl.Float64)


def scan_ndjson(path: Path) -> pl.LazyFrame:
    """Every scalar as text; lists of numbers stay lists, other nested values become JSON text.

    All records are looked at to learn the column names, because rare ones (an error, a retry) may come late.
    """
    told = _told(path)
    if told is not None:
        return _scan_told(path, told)
    try:
        seen = pl.scan_ndjson(path, infer_schema_length=None).collect_schema()
    except pl.exceptions.PolarsError:
        return scan_by_line(path)
    if needs_care(pl.scan_lines(path, name="line"), seen, [name for name, dtype in seen.items() if _is_vector(dtype)]):
        return scan_by_line(path)
    return _scan(path, {name: VECTOR if _is_vector(dtype) else pl.String() for name, dtype in seen.items()})


def _scan(path: Path, schema: Mapping[str, pl.DataType]) -> pl.LazyFrame:
    return pl.scan_ndjson(path, schema=dict(schema), row_index_name=ROW, row_index_offset=1)


@dataclasses.dataclass(frozen=True)
class _Told:
    """What the first lines and the odd ones say of a file, all others being plain (`plain_lines`)."""

    plain: pl.Expr
    schema: dict[str, pl.DataType]
    odd: pl.Series


def _told(path: Path) -> _Told | None:
    """None where there are many odd lines, or where these give a name another kind of value than the plain ones may have."""
    first = plain_lines.first_lines(opened(path))
    records = [found for line in first or () if (found := record(line)) is not None]
    vectors = [name for name, dtype in _schema(records).items() if dtype == VECTOR]
    plain = plain_lines.plain(records, vectors) if records else None
    try:
        odd = None if plain is None else plain_lines.odd_lines(path, plain)
    except pl.exceptions.PolarsError:  # what is wrong is said by who reads the file
        return None
    if plain is None or odd is None:
        return None
    late = [found for line in odd if (found := record(line)) is not None]
    if any(isinstance(value, list) != (name in vectors) for one in late for name, value in one.items() if value is not None):
        return None
    return _Told(plain, _schema([*records, *late]), odd)


def _scan_told(path: Path, told: _Told) -> pl.LazyFrame:
    """The whole file through Polars where it may have the odd lines, too, else those in Python."""
    vectors = [name for name, dtype in told.schema.items() if dtype == VECTOR]
    try:
        plain_lines.parse(told.odd, told.schema)
        fast = all(read_alike(line, vectors) for line in told.odd)
    except pl.exceptions.PolarsError:
        fast = False
    return _scan(path, told.schema) if fast else _scan_lines(path, told.schema, told.plain)


def first_records(path: Path) -> pl.LazyFrame | None:
    """The records of the first lines, as a whole file gives them; None where there are none."""
    found = [one for line in plain_lines.first_lines(opened(path), HEAD) or () if (one := record(line)) is not None]
    return _frame(found, _schema(found)).lazy().with_row_index(ROW, offset=1) if found else None


def scan_by_line(path: Path) -> pl.LazyFrame:
    """The same, record by record in Python. Raises ValueError if no line is a record."""
    with opened(path) as file:
        schema = _schema(record(line.decode("utf-8", "replace")) or {} for line in file)
    if not schema:
        raise ValueError("none of its lines is a JSON record")
    return _scan_lines(path, schema)


def _scan_lines(path: Path, schema: dict[str, pl.DataType], plain: pl.Expr | None = None) -> pl.LazyFrame:
    """The records, those of `plain` lines through Polars and the others in Python."""
    lines = pl.scan_lines(path, name="line").filter(pl.col("line").str.contains(r"\S")).with_row_index(ROW, offset=1)
    full = {ROW: pl.UInt32, **schema, FAILED_RECORD: pl.String}

    def in_python(batch: pl.DataFrame) -> pl.DataFrame:
        found = [record(line) for line in batch["line"]]
        frame = _frame([one or {} for one in found], schema)
        judged = zip(found, batch["line"], strict=True)
        failed = [line[:SHOWN] if one is None else None for one, line in judged]
        return frame.select(batch[ROW].cast(pl.UInt32), *schema, pl.Series(FAILED_RECORD, failed, pl.String))

    def parsed(batch: pl.DataFrame) -> pl.DataFrame:
        if plain is None:
            return in_python(batch)
        one, other = batch.filter(plain), in_python(batch.filter(~plain))
        fast = plain_lines.parse(one["line"], schema)
        fast = fast.select(one[ROW].cast(pl.UInt32), *schema, pl.lit(None, pl.String).alias(FAILED_RECORD))
        return pl.concat([fast, other]).sort(ROW)

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
    return cast("IO[bytes]", gzip.open(path, "rb")) if is_gzip(path) else open(path, "rb")


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
    return [None if entry is None else _float(entry) for entry in value] if isinstance(value, list) else None


def _float(number: float) -> float:
    try:
        return float(number)
    except OverflowError:  # a whole number beyond them all
        return math.inf if number > 0 else -math.inf


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
