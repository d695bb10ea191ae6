"""Which partitions does a log have, and how is one read? A partition is a file; its rows stream in record batches.

Parquet and Arrow are read by Arrow, with labels as dictionaries; CSV, NDJSON and JSON as `executions` reads them. What
a partition holds is pinned by its fingerprint: the SHA-256 of a local file; of an object in a store its size, its time
of change and the SHA-256 of its last 64 KiB (Parquet keeps sizes, places and extremes of all columns there), so that
checking a finished partition costs one request, not a download.
"""

from __future__ import annotations

import collections
import dataclasses
import glob
import hashlib
import os
import pathlib
import re
import shutil
from collections.abc import Iterable, Iterator

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from divergence.configuration import FILE_NAME, Configuration
from divergence.errors import InputError
from divergence.executions.files import EXTENSIONS, FORMATS, open_sources
from divergence.executions.names import FAILED
from divergence.executions.recognise import listed
from divergence.executions.schema import SERVING_FACTORS
from divergence.executions.shaped import reshapes, shaped
from divergence.plain_files import regular
from divergence.scoring.filesystems import CHUNK, Filesystem, place, sentence
from divergence.temporary_folders import TemporaryFolder

BATCH = 2**17  # rows: a few megabytes, small beside the processor's memory and large beside the cost of a call
VECTOR_BATCH = 2**13  # rows with an embedding each: of a thousand numbers they are 32 MB
TAIL = 2**16
OTHERS = {
    "a table of further outcomes": {"execution_id", "metric"},
    "a table of telemetry": {"window_start", "metric", "value"},
    "results of a report": {"question", "identified"},
    "results of an earlier score": {"risk", "excess", "novelty"},
}
"""Tables that lie beside logs, by columns that tell them apart."""
EXECUTED = ("regime", "execution_id", "score", "answer", "latency_s", "output_tokens", "finish_reason")
"""What only an execution leaves behind."""
REQUESTED = ("item", "task", "session", "time", "context", "prompt", "input_tokens")
"""What a request has; so have plans and streams of requests that were never sent."""
OLD = pl.CompatLevel.oldest()  # texts in the layout that every Arrow function knows
BUFFER = 2**20  # bytes read ahead a column: a row group of any size streams


@dataclasses.dataclass(frozen=True)
class Partition:
    """One file of a log."""

    name: str
    """Its name among the results: the path below the folder that was named."""
    address: str
    """Where it lies, as it can be opened."""
    bytes: int
    """Its size."""
    named: bool
    """Did the user name the file itself?"""


class NoLog(InputError):
    """A file that is no execution log."""


def partitions(logs: Iterable[str | os.PathLike]) -> tuple[tuple[Partition, ...], tuple[tuple[str, str], ...]]:
    """The partitions that paths, folders, globs and addresses name, in the order of their names, and the files of
    folders that are no tables, with the reason. Raises InputError where there is nothing."""
    found: dict[str, tuple[str, Filesystem, int, bool]] = {}
    skipped = []
    for log in [os.fspath(log) for log in logs]:
        for name, file, size, named in _expand(log):
            if _format(name) is None:
                if named:
                    raise InputError(f"the file {file} has no known format: its name must end like one of {FORMATS}")
                skipped.append((str(file), "no table by the ending of its name"))
            elif file.path not in found:
                found[file.path] = (name, file, size, named)
    if not found:
        raise InputError(
            f"there is no log in {', '.join(str(place(log)) for log in logs)}: name a file, a folder or a glob of {FORMATS}"
        )
    counts = collections.Counter(name for name, *_ in found.values())
    out = [
        Partition(name if counts[name] == 1 else file.path.strip("/"), file.address, size, named)
        for name, file, size, named in found.values()
    ]
    return tuple(sorted(out, key=lambda one: one.name)), tuple(skipped)


def _format(name: str) -> str | None:
    suffixes = [s.lower() for s in pathlib.PurePosixPath(name).suffixes]
    if suffixes[-1:] == [".gz"]:
        suffixes.pop()
    return EXTENSIONS.get(suffixes[-1]) if suffixes else None


def _expand(log: str) -> Iterator[tuple[str, Filesystem, int, bool]]:
    """Name, place and size of the files behind a path, and whether the user named the file itself."""
    root = place(log)
    if root.local:
        regular(root.path)
    try:
        about = root.files.get_file_info(root.path)
        if about.type == fs.FileType.File:
            yield root.path.rsplit("/", 1)[-1], root, about.size, True
            return
        if about.type == fs.FileType.Directory:
            yield from _below(root)
            return
        if not glob.has_magic(root.path):
            raise InputError(f"no file or folder is named {root}: check the path, or the pattern if it is one")
        magic = r"[*?\[]" if root.local else r"[*\[]"  # in an address ? begins the query
        base = place(re.split(magic, root.path if root.local else log, maxsplit=1)[0].rpartition("/")[0] or "/")
        pattern = re.compile(_pattern(root.path[len(base.path.rstrip("/")) + 1 :]))
        there = base.files.get_file_info(base.path).type == fs.FileType.Directory
        matches = [m for m in _below(base) if pattern.fullmatch(m[0])] if there else []
    except OSError as error:
        raise InputError(f"{root} cannot be read: {sentence(error, log)}") from None
    if not matches:
        raise InputError(f"no file is named {root}: check the pattern")
    yield from matches


def _below(folder: Filesystem) -> Iterator[tuple[str, Filesystem, int, bool]]:
    """The files below a folder without hidden ones and the configuration."""
    for name, size in sorted(_listed(folder)):
        hidden = any(part.startswith((".", "_")) for part in name.split("/"))
        if not hidden and name.rsplit("/", 1)[-1] != FILE_NAME:
            yield name, folder.child(name), size, False


def _listed(folder: Filesystem) -> Iterator[tuple[str, int]]:
    """Name and size of everything below a folder but folders."""
    if folder.local:  # Arrow's listing leaves out links to nowhere, which are partitions that have gone
        for path in pathlib.Path(folder.path).rglob("*"):
            if not path.is_dir() and (path.is_file() or not path.exists()):  # no pipes, no devices
                yield path.relative_to(folder.path).as_posix(), path.stat().st_size if path.exists() else 0
        return
    for about in folder.files.get_file_info(fs.FileSelector(folder.path, recursive=True)):
        if about.type == fs.FileType.File:
            yield about.path[len(folder.path.rstrip("/")) :].strip("/"), about.size


def _pattern(text: str) -> str:
    """A glob as a regular expression: `**` crosses folders, `*` and `?` do not."""
    parts = re.split(r"(\*\*/?|\*|\?|\[[^\]]*\])", text)
    known = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    return "".join(
        known[p] if p in known else p.replace("[!", "[^") if p.startswith("[") and p.endswith("]") else re.escape(p)
        for p in parts
    )


def fingerprint(partition: Partition) -> str:
    """What pins the content of a partition. Raises OSError where it cannot be read."""
    file = place(partition.address)
    if file.local:
        with open(file.path, "rb") as stream:
            return "sha256:" + hashlib.file_digest(stream, "sha256").hexdigest()
    about = file.files.get_file_info(file.path)
    if about.type != fs.FileType.File:
        raise FileNotFoundError(2, "no such object")
    with file.files.open_input_file(file.path) as stream:
        start = max(0, about.size - TAIL)
        tail = hashlib.sha256(stream.read_at(about.size - start, start)).hexdigest()
    return f"size:{about.size},changed:{about.mtime_ns},tail-sha256:{tail}"


def other_table(names: Iterable[str], configuration: Configuration) -> None:
    """Raises NoLog for the columns of something else that lies beside logs.

    A log of requests has a model and one thing more that a request has. Without a model it is a damaged log where it has
    what only an execution leaves behind: items, plans and streams have tasks, sessions and contexts too.
    """
    names = {*names}
    mapped = {n for n, raw in configuration.columns.items() if raw in names}
    given = {*names, *mapped, *configuration.constants}
    for what, signs in OTHERS.items():
        if signs <= names:
            raise NoLog(f"no execution log but {what}")
    executed = {*EXECUTED, configuration.outcome}
    if "model" not in given and not given & executed:
        raise NoLog(f"no execution log: it has no column model, only {listed(sorted(names))}")
    if "model" in names | mapped and not given & {*REQUESTED, *executed, *SERVING_FACTORS}:
        raise NoLog(
            f"no execution log: beside model it has no {', '.join(REQUESTED)} or other column of a request, only "
            f"{listed(sorted(names))}"
        )


class Reader:
    """An open partition: the names of its columns, then its rows in batches of at most `BATCH`, always cut alike.

    Names that lead into records, and wide tables, are read as `executions` reads them.
    """

    def __init__(self, partition: Partition, configuration: Configuration) -> None:
        """Raises OSError, ValueError or a Polars error for a file that is damaged or not what its name says."""
        self.file = place(partition.address)
        self.kind = _format(partition.name)
        self.stack: list = []
        self.rows: int | None = None
        """Rows of the file where its header tells."""
        if self.kind == "parquet":
            self._parquet = pq.ParquetFile(self._stream(), buffer_size=BUFFER, pre_buffer=False)
            self.schema = self._parquet.schema_arrow
            self.rows = self._parquet.metadata.num_rows
            self.names = self.schema.names
        elif self.kind == "arrow":
            stream = self._stream()
            magic = stream.read(6)
            stream.seek(0)
            self._arrow = (pa.ipc.open_file if magic == b"ARROW1" else pa.ipc.open_stream)(stream)
            self.names = self._arrow.schema.names
        if self.kind not in ("parquet", "arrow") or reshapes(self.names, configuration):
            self.close()
            self.kind, self.rows = ("table" if self.kind in ("parquet", "arrow") else self.kind), None
            try:
                self.source = shaped(open_sources([self._fetched()])[0][0], configuration)
            except InputError as error:
                self.close()
                raise (NoLog if self.kind == "json" else InputError)(str(error)) from None
            self.names = list(self.source.columns)

    def _stream(self):
        stream = self.file.files.open_input_file(self.file.path)
        self.stack.append(stream.close)
        return stream

    def _fetched(self) -> pathlib.Path:
        """A text format as a local file: it is read from its start more than once."""
        if self.file.local:
            return pathlib.Path(self.file.path)
        folder = TemporaryFolder("score")
        self.stack.append(folder.remove)
        target = folder.path / self.file.path.rsplit("/", 1)[-1]
        with self.file.files.open_input_stream(self.file.path) as stream, open(target, "wb") as copy:
            shutil.copyfileobj(stream, copy, CHUNK)
        return target

    def batches(self, columns: list[str], labels: list[str], rows: int = BATCH) -> Iterator[pa.RecordBatch]:
        """These columns of all rows, `rows` at a time; those in `labels` as dictionaries where the format has them so."""
        if self.kind == "parquet":
            texts = [n for n in labels if _is_text(self.schema.field(n).type)]
            with pq.ParquetFile(self._stream(), buffer_size=BUFFER, pre_buffer=False, read_dictionary=texts) as file:
                yield from map(_without_views, file.iter_batches(rows, columns=columns, use_threads=False))
        elif self.kind == "arrow":
            count = getattr(self._arrow, "num_record_batches", None)
            groups = iter(self._arrow) if count is None else map(self._arrow.get_batch, range(count))
            yield from recut((_without_views(group.select(columns)) for group in groups), rows)
        else:
            record = [name for name in self.source.schema if name.startswith(FAILED)]
            frames = self.source.frame.select(*columns, *record).collect_batches(maintain_order=True, chunk_size=rows)
            yield from recut((batch for frame in frames for batch in frame.to_arrow(compat_level=OLD).to_batches()), rows)

    def close(self) -> None:
        """Close the file and remove what was fetched."""
        while self.stack:
            self.stack.pop()()


def recut(batches: Iterable[pa.RecordBatch], rows: int = BATCH) -> Iterator[pa.RecordBatch]:
    """The same rows in batches of exactly `rows`, the last one shorter, however they came."""
    held: list[pa.RecordBatch] = []
    count = 0
    for batch in batches:
        held.append(batch)
        count += batch.num_rows
        while count >= rows:
            table = pa.Table.from_batches(held)
            yield _one(table.slice(0, rows))
            held = [b for b in table.slice(rows).to_batches() if b.num_rows]
            count -= rows
    if count or held:
        yield _one(pa.Table.from_batches(held))


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


def _without_views(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Texts in the layout that every Arrow function knows."""
    arrays = [c.cast(known) if (known := _known_layout(c.type)) else c for c in batch.columns]
    return pa.record_batch(arrays, names=batch.schema.names)


def _known_layout(kind: pa.DataType) -> pa.DataType | None:
    """What a column of this type is cast to; None where it stays. Polars writes the names of categories as views."""
    if pa.types.is_dictionary(kind) and pa.types.is_string_view(kind.value_type):
        return pa.dictionary(kind.index_type, pa.string())
    return pa.large_string() if pa.types.is_string_view(kind) else None


def _one(table: pa.Table) -> pa.RecordBatch:
    table = table.unify_dictionaries().combine_chunks()
    parts = table.to_batches()
    return parts[0] if parts else pa.RecordBatch.from_pylist([], schema=table.schema)
