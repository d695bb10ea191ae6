"""Which files of an import belong together, whenever its run was killed?

The tables of an import have names of their own in a folder of the user, so no one step of the file system can exchange
them all. One renaming decides instead. The metadata of every file name the import (`TOGETHER`) and its tables (`LISTED`),
and the files take their places in this order: tables that had no file before, the executions, the other tables; at last go
those of the earlier import that this one has not. A reader takes what the executions name:

| a table beside the executions | is |
|---|---|
| of their import | read |
| of another, and a part of theirs lies complete beside it | of the earlier import: the part is read in its place |
| of another, and the executions name no such table | of the other import: passed over |
| of another, and named by the executions | put there by somebody: refused |

So one reads the old import before the executions take their place, and the new one from then on. An import of windows alone
has no executions: where its table lies beside other ones, these are of the other import.
"""

from __future__ import annotations

import contextlib
import glob
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import polars as pl

from divergence.errors import InputError
from divergence.executions.files import Source
from divergence.executions.names import ROW
from divergence.executions.unchanged import stamp_of

METADATA = "divergence.import"  # the key in the Parquet metadata: format and sources as JSON
TOGETHER = "together"  # the files of one import have the same value
LISTED = "tables"  # names of the tables of an import that has several, or has no executions
EXECUTIONS, BESIDE = "executions", ("outcomes", "telemetry", "texts")


def said(path: Path) -> dict:
    """What an import says of itself in the metadata of a file; empty for other files."""
    try:
        found = json.loads(pl.read_parquet_metadata(path).get(METADATA, "{}")) if path.is_file() else {}
    except (pl.exceptions.PolarsError, OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def beside(executions: Path) -> dict[str, Path]:
    """The places of the further tables of an import."""
    return {name: executions.with_name(f"{executions.stem}.{name}.parquet") for name in BESIDE}


def in_order(paths: Iterable[Path], executions: Path) -> list[Path]:
    """Files of an import from the one that takes its place last to the first one; what stands where no file can take its
    place (a folder) fails first."""
    late = {path: 1 if path == executions else 0 if path.is_file() else 2 for path in paths}
    return sorted(late, key=lambda path: late[path])


def finish(executions: Path) -> None:
    """Put what a run that was killed after its executions took their place left as parts into their places."""
    own = said(executions)
    for name, path in beside(executions).items():
        part = _part(path, own) if name in _listed(own, ()) and said(path).get(TOGETHER) != own.get(TOGETHER) else None
        if part is not None:
            with contextlib.suppress(FileNotFoundError):  # its own run is just doing it
                os.replace(part, path)


def of_one_import(sources: Sequence[Source]) -> tuple[list[Source], list[tuple[str, str]]]:
    """The sources that belong together, and those that are passed over, with the reason.

    Raises InputError where a further table lies beside executions that name it, and is of another import.
    """
    known = {source.path: source for source in sources if source.path is not None and source.path.suffix == ".parquet"}
    stems = {path.with_name(f"{path.stem.rpartition('.')[0]}.parquet") for path in known if path.stem.endswith(BESIDE)}
    kept: dict[Path, Source] = {}
    passed: dict[Path, Path] = {}
    for executions in stems:
        tables = {name: path for name, path in beside(executions).items() if path in known}
        alone = next((path for path in tables.values() if EXECUTIONS not in _listed(said(path), (EXECUTIONS,))), None)
        if alone is not None:
            others = {path for path in (executions, *tables.values()) if path in known and said(path)} - {alone}
            passed |= dict.fromkeys(others, alone)
        elif executions in known:
            for name, path in tables.items():
                _settle(name, path, executions, known, kept, passed)
    why = "it is of another import than {}, one that was killed or is being put in place; the next import removes it"
    left = [(str(path), why.format(other.name)) for path, other in sorted(passed.items())]
    return [kept.get(s.path, s) if s.path else s for s in sources if s.path not in passed], left


def _settle(
    name: str, path: Path, executions: Path, known: dict[Path, Source], kept: dict[Path, Source], passed: dict[Path, Path]
) -> None:
    """One table beside executions: read as it is, read from its part, passed over, or refused."""
    theirs, own = said(path), said(executions)
    if theirs.get(TOGETHER) == own.get(TOGETHER):
        return
    part = _part(path, own)
    if part is not None:
        stamp = stamp_of(part)
        frame = pl.scan_parquet(part, row_index_name=ROW, row_index_offset=1, hive_partitioning=False, glob=False)
        kept[path] = Source(str(path), frame, known[path].regime, part, stamp[0], stamp=stamp)
    elif theirs and name not in _listed(own, () if own and TOGETHER not in own else BESIDE):
        passed[path] = executions
    else:
        raise InputError(f"{path.name} and {executions.name} are of two imports ({path.parent}): import the logs again.")


def _listed(own: dict, otherwise: Sequence[str]) -> Sequence[str]:
    """The tables that a file names; those of an import by an earlier version are not known."""
    found = own.get(LISTED, otherwise)
    return found if isinstance(found, list | tuple) else otherwise


def _part(path: Path, own: dict) -> Path | None:
    """The complete part of a table, of the import of these executions, that did not take its place."""
    if TOGETHER not in own:
        return None
    parts = path.parent.glob(f".{glob.escape(path.name)}.*.part")
    return next((part for part in parts if said(part).get(TOGETHER) == own[TOGETHER]), None)
