"""The rows of a Parquet file one by one, in the memory of a batch: row groups of any size are read page by page.

Columns whose names are passed over are not read at all, so that prompts and answers cost neither time nor memory.
Decimal numbers of a fixed number of digits, in which databases keep money, are read as floats, wherever they stand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from divergence.errors import InputError
from divergence.executions.importers import convert

BATCH = 2_000  # rows in memory at a time: a row of a trace may hold a whole conversation of some 100 kB
BUFFER = 2**20  # bytes of each column that are read from the file at a time
DAMAGED = (pa.ArrowException, pl.exceptions.PolarsError, OSError, ValueError, KeyError)
"""What the reader raises on damaged files."""
MAPS: Any = getattr(pl, "Map", ())
"""The type of maps, which Polars has since 2.1; before that they are lists of keys and values."""


def names(path: Path) -> set[str] | None:
    """The names of the columns; None where the file is no Parquet that can be read."""
    try:
        return set(pq.read_schema(path).names)
    except DAMAGED:
        return None


def records(path: Path, wanted: Callable[[str], bool] = lambda _name: True) -> Iterator[tuple[int, dict[str, Any]]]:
    """(row from 1, its wanted columns) of a file. Raises InputError where it is damaged."""
    row = 0
    try:
        with pq.ParquetFile(path, buffer_size=BUFFER, pre_buffer=False) as file:
            columns = [name for name in file.schema_arrow.names if wanted(name)]
            for batch in file.iter_batches(BATCH, columns=columns, use_threads=False):
                table = pl.DataFrame(pl.from_arrow(pa.Table.from_batches([batch])))
                table = table.cast({name: _floating(dtype) for name, dtype in table.schema.items()})
                for record in table.iter_rows(named=True):
                    row += 1
                    yield row, record
    except DAMAGED as error:
        raise InputError(f"{path} is no readable Parquet file: {convert.reason(error)}.") from error


def _floating(dtype: Any) -> Any:
    """A type with floats for decimal numbers, those within lists and structures too."""
    if isinstance(dtype, pl.Decimal):
        return pl.Float64()
    if isinstance(dtype, pl.List):
        return pl.List(_floating(dtype.inner))
    if isinstance(dtype, MAPS):
        return type(dtype)(_floating(dtype.key), _floating(dtype.value))
    if isinstance(dtype, pl.Struct):
        return pl.Struct([pl.Field(field.name, _floating(field.dtype)) for field in dtype.fields])
    return dtype
