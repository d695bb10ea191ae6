"""JSON records as lazy frames of text: NDJSON (one record a line), and arrays of records.

Well-formed NDJSON streams through Polars. A file with lines that Polars refuses (a `NaN`, which Python writes but JSON
does not know, a line cut short by a crash, a byte-order mark) is read again line by line in Python, slower but still
streaming: lines that are no records come out with their text in `FAILED_RECORD` and null elsewhere, so that they are
rejected one by one instead of with their file.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable
from pathlib import Path

import polars as pl

from divergence.executions.names import FAILED, ROW

SHOWN = 80  # characters of a bad line that are kept
FAILED_RECORD = FAILED + "record"
VECTOR = pl.List(pl.Float64)


def scan_ndjson(path: Path) -> pl.LazyFrame:
    """Every scalar as text; lists of numbers stay lists, other nested values become JSON text.

    All records are looked at to learn the column names, because rare ones (an error, a retry) may come late.
    """
    try:
        seen = pl.scan_ndjson(path, infer_schema_length=None).collect_schema()
    except pl.exceptions.PolarsError:
        return _scan_by_line(path)
    schema = {name: VECTOR if _is_vector(dtype) else pl.String for name, dtype in seen.items()}
    return pl.scan_ndjson(path, schema=schema, row_index_name=ROW, row_index_offset=1)


def _scan_by_line(path: Path) -> pl.LazyFrame:
    """The same, record by record in Python. Raises ValueError if no line is a record."""
    with _opened(path) as file:
        schema = _schema(_record(line.decode("utf-8", "replace")) or {} for line in file)
    if not schema:
        raise ValueError("none of its lines is a JSON record")
    lines = pl.scan_lines(path, name="line").filter(pl.col("line").str.contains(r"\S")).with_row_index(ROW, offset=1)
    full = {ROW: pl.UInt32, **schema, FAILED_RECORD: pl.String}

    def parsed(batch: pl.DataFrame) -> pl.DataFrame:
        records = [_record(line) for line in batch["line"]]
        frame = _frame([record or {} for record in records], schema)
        judged = zip(records, batch["line"], strict=True)
        failed = [line[:SHOWN] if record is None else None for record, line in judged]
        return frame.select(batch[ROW].cast(pl.UInt32), *schema, pl.Series(FAILED_RECORD, failed, pl.String))

    return lines.map_batches(parsed, schema=full, streamable=True)


def scan_json(path: Path) -> pl.LazyFrame:
    """A JSON array of records, read whole (the format allows no other way), or NDJSON under the name `.json`."""
    with _opened(path) as file:
        first = file.read(64).lstrip(b"\xef\xbb\xbf \t\r\n")[:1]
    if first != b"[":
        try:
            return scan_ndjson(path)
        except ValueError as error:
            raise ValueError("it is neither an array of records nor one record a line") from error
    with _opened(path) as file:
        records = json.loads(file.read().decode("utf-8-sig"))
    if not records or not all(isinstance(record, dict) for record in records):
        raise ValueError("it is not an array of records")
    return _frame(records, _schema(records)).lazy().with_row_index(ROW, offset=1)


def _opened(path: Path):
    with open(path, "rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    return gzip.open(path, "rb") if packed else open(path, "rb")


def _record(line: str) -> dict | None:
    try:
        record = json.loads(line.lstrip("\ufeff"))
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def _schema(records: Iterable[dict]) -> dict[str, pl.DataType]:
    """The names in the order in which they appear; a name is a vector if its first value is a list of numbers."""
    schema: dict[str, pl.DataType] = {}
    for record in records:
        for name, value in record.items():
            if value is not None and name not in schema:
                schema[name] = VECTOR if _numbers(value) else pl.String()
    return schema


def _frame(records: list[dict], schema: dict[str, pl.DataType]) -> pl.DataFrame:
    return pl.DataFrame(
        {
            name: [_vector(r.get(name)) if dtype == VECTOR else _text(r.get(name)) for r in records]
            for name, dtype in schema.items()
        },
        schema=schema,
    )


def _numbers(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(type(entry) in (int, float) for entry in value)


def _vector(value: object) -> list[float] | None:
    return [float(entry) for entry in value] if _numbers(value) else None  # type: ignore[union-attr]


def _text(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)


def _is_vector(dtype: pl.DataType) -> bool:
    return isinstance(dtype, pl.List) and dtype.inner is not None and dtype.inner.is_numeric()
