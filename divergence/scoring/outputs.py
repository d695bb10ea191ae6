"""How does a partition's result appear? Whole or not at all, with the record of how it was made inside it.

Rows are gathered into row groups of a fixed size and written under a hidden name; the file is moved to its name when
complete and on disk. The record (what was read, which model, all counts) stands in the file's own
metadata, so a result and its record cannot disagree: `record` reads it back, and a run that goes on after a crash asks
nothing else. Batches are always cut alike, so the bytes depend on the partition and the model only, not on workers or time.
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import shutil
import tempfile
import uuid
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import fs

from divergence.errors import InputError
from divergence.scoring.filesystems import Filesystem, publish
from divergence.sealed import DAMAGE

ROWS = 2**18  # rows of a row group: about 30 MB before it is encoded
FEW = 2**14  # distinct numbers: a dictionary of twice as many no longer fits the processor's cache beside the others
FORMAT = 3  # 1 numbered the rows that `[where]` keeps, each batch anew, 2 had no evidence and no audit
KEY = b"divergence"
ASIDE = ".outdated"  # ends the name of a result whose partition could not be scored again
UNFINISHED = ".scoring"  # the folder of results that are made and not yet put in place, in that of the results
SCHEMA = pa.schema(
    [
        ("execution_id", pa.string()),
        ("risk", pa.float64()),
        ("excess", pa.float64()),
        ("lower", pa.float64()),
        ("upper", pa.float64()),
        ("novelty", pa.float64()),
        ("known", pa.bool_()),
        ("reason", pa.dictionary(pa.int32(), pa.string())),
        ("evidence", pa.dictionary(pa.int8(), pa.string())),
        ("audit", pa.float64()),
    ]
)
"""What a score has for each request."""
FURTHER = ("evidence", "audit")
"""What another model than ours may lack: null then."""


def plain(scores: pa.RecordBatch) -> pa.RecordBatch:
    """Scores in the order and types of `SCHEMA`, texts as texts: for engines that take no dictionaries."""
    schema = pa.schema([(f.name, pa.string() if pa.types.is_dictionary(f.type) else f.type) for f in SCHEMA])
    columns = [_column(scores, pa.field(f.name, f.type)).cast(f.type) for f in schema]
    return pa.record_batch(columns, schema=schema)


class Output:
    """The result of one partition, while it is written."""

    def __init__(self, target: Filesystem) -> None:
        """Raises OSError where nothing can be written."""
        self.target = target
        if target.local:
            folder = pathlib.Path(target.path).parent
            folder.mkdir(parents=True, exist_ok=True)
        else:
            folder = pathlib.Path(tempfile.gettempdir())
        self.part = folder / f".{pathlib.Path(target.path).name}.{os.getpid()}-{uuid.uuid4().hex[:8]}.part"
        self.file = open(self.part, "wb")  # noqa: SIM115  closed in `close`
        self.writer: pq.ParquetWriter | None = None
        self.held: list[pa.RecordBatch] = []
        self.count = self.rows = 0

    def write(self, scores: pa.RecordBatch, expected: int) -> None:
        """Add the scores of `expected` requests. Raises InputError for scores that are none."""
        names = [f.name for f in SCHEMA if f.name not in FURTHER]
        if scores.num_rows != expected or not set(names) <= set(scores.schema.names):
            raise InputError(
                f"the model gave {scores.num_rows} rows of {', '.join(scores.schema.names)} for {expected} "
                f"requests; a score has one row a request and the columns {', '.join(names)}"
            )
        columns = [_column(scores, f) for f in SCHEMA]
        self.held.append(pa.record_batch([c.cast(f.type) for c, f in zip(columns, SCHEMA, strict=True)], schema=SCHEMA))
        self.count += expected
        self.rows += expected
        if self.count >= ROWS:
            self._write_groups()

    def _write_groups(self, last: bool = False) -> None:
        table = pa.Table.from_batches(self.held, SCHEMA)
        whole = self.count if last else self.count // ROWS * ROWS
        for start in range(0, whole, ROWS):
            group = table.slice(start, min(ROWS, whole - start))
            group = group.unify_dictionaries()
            self.writer = self.writer or _writer(self.file, group)
            self.writer.write_table(group, row_group_size=ROWS)
        self.held = table.slice(whole).to_batches()
        self.count -= whole

    def finish(self, made: dict) -> None:
        """Write the record and let the result appear at its place."""
        self._write_groups(last=True)
        self.writer = self.writer or _writer(self.file, SCHEMA.empty_table())
        self.writer.add_key_value_metadata({KEY: json.dumps(made, sort_keys=True)})
        self.writer.close()
        self.file.close()
        publish(self.part, self.target)

    def close(self) -> None:
        """Leave nothing half-written behind."""
        if self.writer is not None and self.writer.is_open:
            with contextlib.suppress(OSError, ValueError):  # what stopped the writing stops its footer too
                self.writer.close()
        with contextlib.suppress(OSError):
            self.file.close()
        self.part.unlink(missing_ok=True)


def _column(scores: pa.RecordBatch, field: pa.Field) -> pa.Array:
    if field.name not in scores.schema.names:
        return pa.nulls(scores.num_rows, field.type)
    column, coded = scores.column(field.name), pa.types.is_dictionary(field.type)
    return column.dictionary_encode() if coded and not pa.types.is_dictionary(column.type) else column


def _writer(file, first: pa.Table) -> pq.ParquetWriter:
    """Numbers that come from few summaries are small as dictionaries; many distinct ones are faster, and no larger, as
    they are. The first row group decides."""
    numbers = [f.name for f in SCHEMA if pa.types.is_floating(f.type)]
    few = pc.call_function("count_distinct", [first["risk"]]).as_py() <= FEW
    by_column: dict[str, Any] = {  # pyarrow has no types, and its defaults are taken for all that it accepts
        "compression": {f.name: "none" if f.name in numbers else "zstd" for f in SCHEMA},
        "use_dictionary": ["known", "reason", "evidence", *(numbers if few else [])],
    }
    return pq.ParquetWriter(file, SCHEMA, write_statistics=False, **by_column)


def record(target: Filesystem) -> dict | None:
    """The record inside a finished result, empty where it is damaged; None where another file has its name, or none."""
    try:
        with target.files.open_input_file(target.path) as file:
            written = (pq.read_metadata(file).metadata or {})[KEY]
    except (OSError, ValueError, KeyError, pa.ArrowException):
        return None
    try:
        made = json.loads(written)
    except DAMAGE:
        return {}
    return made if isinstance(made, dict) else {}


def clear(folder: Filesystem) -> None:
    """Remove what an interrupted run left half-written. What it finished stays, for the next one."""
    if not folder.local:
        selector = fs.FileSelector(folder.path, allow_not_found=True, recursive=True)
        for about in folder.files.get_file_info(selector):
            if about.base_name.startswith(".") and about.base_name.endswith(".part"):
                folder.files.delete_file(about.path)
        return
    for path in pathlib.Path(folder.path).rglob(".*.part"):
        path.unlink(missing_ok=True)
    unfinished = pathlib.Path(folder.path) / UNFINISHED
    if unfinished.is_dir() and not any(path.is_file() for path in unfinished.rglob("*")):
        shutil.rmtree(unfinished)
