"""From what a user names (files, folders, globs, addresses, frames) to lazy frames with raw columns and row numbers.

Nothing is read here beyond headers: every frame stays lazy, so that a log larger than memory streams. Text formats
(CSV, NDJSON) are read as text, because a type guessed from the first lines would refuse a whole file for one bad value.

Rows are numbered from 1, header lines and blank lines not counted.
"""

from __future__ import annotations

import dataclasses
import functools
import glob
import hashlib
import importlib.util
import os
import re
import zlib
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

import narwhals as nw
import polars as pl
import pyarrow as pa

from divergence.addresses import scrubbed, shown
from divergence.configuration import FILE_NAME
from divergence.errors import InputError
from divergence.executions import json_records
from divergence.executions.json_records import scan_json, scan_ndjson
from divergence.executions.names import FAILED, ROW
from divergence.executions.text_tables import HEAD, check_encoding, check_header, check_packing, first_ragged
from divergence.executions.unchanged import Stamp, stamp_of, unchanged
from divergence.plain_files import regular

EXTENSIONS = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".arrow": "arrow",
    ".feather": "arrow",
    ".ipc": "arrow",
    ".csv": "csv",
    ".tsv": "csv",
    ".jsonl": "ndjson",
    ".ndjson": "ndjson",
    ".json": "json",
}
DAMAGED = (
    OSError,
    EOFError,
    zlib.error,
    RecursionError,
    ValueError,
    pl.exceptions.PolarsError,
    pl.exceptions.PanicException,
)
"""What readers raise for files that are damaged or not what their name says; a panic is one inside Polars."""
FORMATS = "Parquet, Arrow, Feather, CSV, NDJSON (.jsonl) and JSON, the text ones also as .gz"


@dataclasses.dataclass(frozen=True, eq=False)
class Source:
    """One file (or frame) of a log."""

    file: str
    """Its name, as every result gives it."""
    frame: pl.LazyFrame
    """Raw columns, and the row number as `ROW`."""
    regime: str | None = None
    """The regime that the user gave to the whole file, if any."""
    path: Path | None = None
    """Where it lies; None for frames and remote addresses."""
    bytes: int | None = None
    """Size in bytes; None for frames and remote addresses."""
    holds: object = dataclasses.field(default=None, repr=False)
    """What must live as long as the frame does: the files of an import."""
    beside: bool = False
    """Does it lie in a folder with logs of other tools, and did nobody name it?"""
    reshaped: bool = False
    """Does the frame have rows or columns that the file has in another shape (`shaped`)?"""
    address: str | None = dataclasses.field(default=None, repr=False)
    """Its whole address, which may hold what is not shown; None for files and frames."""
    stamp: Stamp | None = dataclasses.field(default=None, repr=False)
    """What was seen of the file before it was opened; None for frames and remote addresses."""

    @functools.cached_property
    def columns(self) -> tuple[str, ...]:
        """Names of the raw columns."""
        return tuple(name for name in self.schema if name != ROW and not name.startswith(FAILED))

    @functools.cached_property
    def schema(self) -> pl.Schema:
        """Names and types of the raw columns."""
        return self.frame.collect_schema()

    @functools.cached_property
    def sha256(self) -> str | None:
        """SHA-256 of the file, read when asked for; None for frames and remote addresses."""
        if self.path is None:
            return None
        with unchanged([self]), open(self.path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()


def open_sources(
    source: object, regime: str | None = None, without: Collection[str | Path] = ()
) -> tuple[list[Source], list[tuple[str, str]]]:
    """Everything that a user named, opened lazily, and the files of folders that are no tables, with the reason.

    Files in `without`, logs of other tools, are passed over.
    """
    sources: list[Source] = []
    skipped: list[tuple[str, str]] = []
    seen: set[Path] = set()
    for entry in source if isinstance(source, (list, tuple)) else [source]:
        if not isinstance(entry, (str, Path)):
            sources.append(_frame_source(entry, f"{regime or ''} frame {len(sources) + 1}".strip(), regime))
        elif "://" in str(entry):
            if entry in without or str(entry) in without:
                continue
            sources.append(_remote_source(str(entry), regime))
        elif kind := table_kind(entry):
            sources.append(_table_source(str(entry), kind, regime))
        else:
            found = expanded(str(entry))
            beside = any(path in without for path, _ in found)
            for path, named in found:
                if path.resolve() in seen or path in without:
                    continue
                seen.add(path.resolve())
                opened = _open_beside(path, regime) if beside and not named else _open(path, named, regime)
                if isinstance(opened, Source):
                    sources.append(opened)
                else:
                    skipped.append((str(path), opened))
    return sources, skipped


def local_paths(sources: Iterable[object]) -> list[Path]:
    """The files and folders among what the user named, for finding the configuration beside them."""
    found: list[Path] = []
    for source in sources:
        for entry in source if isinstance(source, (list, tuple)) else [source]:
            if isinstance(entry, (str, Path)) and "://" not in str(entry):
                path = Path(entry)
                found += [path] if path.exists() else map(Path, sorted(glob.glob(str(entry), recursive=True))[:1])
    return found


def table_kind(path: str | Path) -> str | None:
    """`delta` or `iceberg` where a folder is a table of that kind, None for everything else."""
    if "://" in str(path):
        return None
    folder = Path(path)
    if (folder / "_delta_log").is_dir():
        return "delta"
    return "iceberg" if next(folder.glob("metadata/*.metadata.json"), None) is not None else None


def _table_source(path: str, kind: str, regime: str | None) -> Source:
    """A Delta or an Iceberg table as it is now, through Polars."""
    needs = {"delta": "deltalake", "iceberg": "pyiceberg"}[kind]
    try:
        if kind == "delta":
            frame = pl.scan_delta(path)
        else:
            if importlib.util.find_spec("polars_iceberg") is None:  # else Polars warns of its absence at each pass
                os.environ.setdefault("POLARS_ICEBERG_PLANNER", "pyiceberg")
            frame = pl.scan_iceberg(str(max(Path(path).glob("metadata/*.metadata.json"), key=_version)))
        source = Source(path, frame.with_row_index(ROW, offset=1), regime)
        source.schema  # noqa: B018  opens the table now, so that a damaged one is named here
    except ImportError as error:
        raise InputError(f"{path} is a table of {kind}, which needs the package {needs}: pip install {needs}.") from error
    except (*DAMAGED, KeyError, RuntimeError, *_delta_errors()) as error:
        raise unreadable(path, error) from error
    return source


def _version(file: Path) -> tuple[int, float]:
    """The number in the name of an Iceberg table's metadata (`00012-...`, `v12...`), then its time: a copy has new times."""
    digits = re.match(r"v?(\d+)", file.name)
    return int(digits[1]) if digits else 0, file.stat().st_mtime


def _delta_errors() -> tuple[type[Exception], ...]:
    try:
        return (importlib.import_module("deltalake.exceptions").DeltaError,)
    except ImportError:
        return ()


def expanded(entry: str) -> list[tuple[Path, bool]]:
    """The files behind a path, a folder or a glob; True where the user named the file itself."""
    path = Path(entry)
    if path.is_dir():
        return [(file, False) for file in _files_of(path)]
    regular(path)
    if path.exists():
        return [(path, True)]
    matches = sorted(glob.glob(entry, recursive=True)) if glob.has_magic(entry) else []
    if not matches:
        raise InputError(f"No file or folder is named {entry}: check the path, or the pattern if it is one.")
    files: list[tuple[Path, bool]] = []
    for match in map(Path, matches):
        regular(match)
        files += [(file, False) for file in _files_of(match)] if match.is_dir() else [(match, False)]
    return files


def _files_of(folder: Path) -> list[Path]:
    """The files of a folder and its folders in the order of their names, without hidden ones and the configuration."""
    try:
        paths = sorted(p for p in folder.rglob("*") if p.is_file() and p.name != FILE_NAME)
    except OSError as error:
        raise InputError(f"The folder {folder} cannot be read: {error.strerror}.") from error
    return [p for p in paths if not any(part.startswith((".", "_")) for part in p.relative_to(folder).parts)]


def format_of(name: str) -> str | None:
    """The kind of table that a file holds by the end of its name; None for other files."""
    suffixes = [s.lower() for s in Path(name).suffixes]
    if suffixes and suffixes[-1] == ".gz":
        suffixes = suffixes[:-1]
    return EXTENSIONS.get(suffixes[-1]) if suffixes else None


def _open(path: Path, named: bool, regime: str | None) -> Source | str:
    """A file as a source, or the sentence why it is none. Raises InputError for a file that is broken."""
    kind = format_of(path.name)
    if kind is None:
        if named:
            raise InputError(f"The file {path} has no known format: its name must end like one of {FORMATS}.")
        if path.suffix == ".journal":
            return "no table: the journal of a probe, which a run that ends turns into executions.parquet; run it again"
        return f"no table: its name ends in {path.suffix or 'nothing'}"
    try:
        stamp = stamp_of(path)
        size, _ = stamp
        if size == 0:
            if named:
                raise InputError(f"The file {path} is empty.")
            return "empty file"
        frame = _scan(path, kind)
        source = Source(str(path), frame, regime, path, size, stamp=stamp)
        if not source.columns:
            raise InputError(f"The file {path} has no columns.")
    except DAMAGED as error:
        if isinstance(error, InputError):
            raise
        if kind == "json" and not named:
            return f"no table: {_one_line(error)}"
        raise unreadable(str(path), error) from error
    if len(source.columns) == 1 and kind == "csv" and any(mark in source.columns[0] for mark in ";\t|"):
        mark = next(mark for mark in ";\t|" if mark in source.columns[0])
        raise InputError(
            f"The file {path} has one column named {source.columns[0]!r}: its fields seem to be separated by {mark!r}; "
            "write it with commas (or tabs in a .tsv)."
        )
    return source


def _open_beside(path: Path, regime: str | None) -> Source | str:
    """A file of a folder that another tool filled: what cannot be read of it is that tool's own, and is named."""
    try:
        opened = _open(path, False, regime)
    except InputError as error:
        return f"no table: {error}"
    return opened if isinstance(opened, str) else dataclasses.replace(opened, beside=True)


def unreadable(file: str, error: BaseException, *addresses: str | None) -> InputError:
    """The sentence for a file that cannot be read, without the secrets of its addresses."""
    if format_of(file) == "csv" and "more fields" in str(error) and Path(file).is_file():
        where = first_ragged(json_records.opened(Path(file)), _separator(file))
        if where:
            return InputError(f"The file {file} cannot be read: {where}; quote fields that hold the separator.")
    known = [address for address in addresses if address]
    said = _one_line(error)
    return InputError(f"The file {file} cannot be read: {scrubbed(said, *known) if known else said}")


def _separator(name: str) -> str:
    return "\t" if ".tsv" in Path(name).name.lower() else ","


def _one_line(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror.lower()}."
    text = " ".join(str(error).split("\n\n")[0].split())
    return text.rstrip(".") + "."


def _scan(path: Path, kind: str) -> pl.LazyFrame:
    with open(path, "rb") as file:  # asks for the permission to read before any library does
        head = file.read(8)
    if kind == "parquet":
        if not head.startswith((b"PAR1", b"PARE")):
            raise ValueError("it is not a Parquet file, whatever its name says")
        return pl.scan_parquet(path, row_index_name=ROW, row_index_offset=1, hive_partitioning=False, glob=False)
    if kind == "arrow":
        if head.startswith(b"ARROW1"):
            return pl.scan_ipc(path, row_index_name=ROW, row_index_offset=1, hive_partitioning=False)
        return pl.read_ipc_stream(path).lazy().with_row_index(ROW, offset=1)
    check_packing(path)
    check_encoding(path, start := json_records.head(path, HEAD), lines=kind != "json")
    if kind == "csv":
        separator = _separator(path.name)
        check_header(path, start, separator)
        return pl.scan_csv(path, infer_schema=False, separator=separator, row_index_name=ROW, row_index_offset=1, glob=False)
    if kind == "json":
        return scan_json(path)
    return scan_ndjson(path)


def _remote_source(address: str, regime: str | None) -> Source:
    """An object store or web address, left to Polars."""
    kind = format_of(address)
    scans = {"parquet": pl.scan_parquet, "arrow": pl.scan_ipc, "csv": pl.scan_csv, "ndjson": pl.scan_ndjson}
    if kind not in scans:
        raise InputError(f"The address {shown(address)} has no known format: its name must end like one of {FORMATS}.")
    options = {"infer_schema": False} if kind == "csv" else {}
    try:
        frame = scans[kind](address, **options).with_row_index(ROW, offset=1)
        source = Source(shown(address), frame, regime, address=address)
        source.schema  # noqa: B018  asks the remote end now, so that a wrong address is named here
    except (OSError, pl.exceptions.PolarsError) as error:
        raise unreadable(shown(address), error, address) from None  # what others say may hold the whole address
    return source


def _frame_source(frame: Any, name: str, regime: str | None) -> Source:
    """A data frame of any library that narwhals knows."""
    try:
        native = nw.from_native(frame)
        if isinstance(frame, pl.LazyFrame):
            lazy = frame
        elif isinstance(native, nw.LazyFrame):
            lazy = native.collect("polars").to_native().lazy()
        else:
            lazy = _to_polars(native).lazy()
    except nw.exceptions.NarwhalsError as error:
        raise InputError(f"The {name} cannot be read: {_one_line(error)}") from error
    except TypeError as error:
        raise InputError(
            f"A log is a path, a folder, a glob, an address or a data frame, seen {type(frame).__name__}."
        ) from error
    if not len(lazy.collect_schema()):
        raise InputError(f"The {name} has no columns.")
    return Source(name, lazy.with_row_index(ROW, offset=1), regime)


def _to_polars(frame: nw.DataFrame) -> pl.DataFrame:
    """An eager frame as Polars; columns of mixed Python objects become text, so that rows can be judged one by one."""
    try:
        return frame.to_polars()
    except (pa.ArrowInvalid, pa.ArrowTypeError, pl.exceptions.PolarsError, TypeError):
        columns = {}
        for name in frame.columns:
            values = frame[name].to_list()
            try:
                columns[str(name)] = pl.Series(str(name), values)
            except (pl.exceptions.PolarsError, TypeError):
                columns[str(name)] = pl.Series(str(name), [None if v is None or v != v else str(v) for v in values])
        return pl.DataFrame(columns)
