"""One group of files drafted, wherever that happens: in this process, in one of its own, or on a node of a cluster.

The draft leaves its rows as Parquet in a folder and says everything else in plain data, so that it can travel and be put
together with others (`joined`). What cannot be read comes back as a sentence.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from divergence.errors import InputError
from divergence.executions.importers.mapping import Draft
from divergence.executions.importers.privacy import Privacy
from divergence.executions.importers.registry import ADDRESS, module
from divergence.temporary_folders import TemporaryFolder

TABLES = ("executions", "outcomes")
ALIVE = 1.0  # seconds between two looks at whether the parent still lives


@dataclasses.dataclass(frozen=True)
class Reading:
    """What an import is asked to do with the files of one format."""

    format: str
    """Name of the format."""
    primary: str | None
    """Metric of the score column."""
    constants: Mapping[str, str]
    """Canonical columns that the caller sets."""
    privacy: Privacy
    """What may be kept, and the salt."""

    def draft(self, progress: Callable[[str], None] | None, apart: bool = False) -> Draft:
        """An empty draft."""
        format = module(self.format).FORMAT
        draft = Draft(format.fields, format.reads, self.constants, self.privacy)
        draft.progress, draft.apart = progress, apart
        return draft

    def read(self, files: list[Path], draft: Draft) -> None:
        """Read files into a draft. Raises InputError for what cannot be read at all."""
        with _without_collector():
            module(self.format).read(files, self.primary, draft)


@dataclasses.dataclass(frozen=True)
class FileGroup:
    """Files that are read together, apart from those of other groups."""

    number: int
    """Place among all groups of the import, from 0."""
    files: tuple[Path, ...]
    """The files, in the order given."""
    reading: Reading
    """What is asked."""
    folder: Path | None
    """Where the tables of all groups are left; None where they come back as bytes."""
    parent: int = dataclasses.field(default_factory=os.getpid)
    """The process that asks."""
    home: str = dataclasses.field(default_factory=os.getcwd)
    """The folder that relative paths start from."""


@dataclasses.dataclass(frozen=True)
class Drafted:
    """A group that was read."""

    number: int
    """Place of the group, from 0."""
    said: dict[str, Any] = dataclasses.field(default_factory=dict)
    """Everything but the rows (`Draft.said`)."""
    problem: str = ""
    """Why the group cannot be read apart, a sentence."""
    lost: str = ""
    """What happened to the process or node that read it, a sentence; empty where it finished."""
    tables: Mapping[str, bytes] = dataclasses.field(default_factory=dict)
    """The tables as Parquet, where they come back as bytes."""


def place_of(folder: Path, number: int, table: str) -> Path:
    """Where a table of a group lies."""
    return folder / f"{number:06d}.{table}.parquet"


def in_a_process(group: FileGroup, tell: Callable[..., None]) -> Drafted:
    """Draft a group in a worker process, which ends with its parent and then takes the tables with it."""
    assert group.folder is not None
    tempfile.tempdir = str(group.folder)
    _end_with_parent(group.parent, group.folder)
    return drafted(group, lambda sentence: tell(group.number, sentence))


def on_a_node(group: FileGroup) -> Drafted:
    """Draft a group on a node of a cluster, which needs the files in a place that all nodes share."""
    with contextlib.suppress(OSError):  # relative paths are then not found, which the next line says
        os.chdir(group.home)
    absent = [file for file in group.files if not ADDRESS.match(str(file)) and not file.exists()]
    if absent:
        return Drafted(group.number, lost=f"{absent[0]} is not on every node: name a folder that all nodes share")
    with TemporaryFolder("import") as folder:
        part = drafted(dataclasses.replace(group, folder=folder), None)
        if part.problem or part.lost:
            return part
        tables = {name: place_of(folder, group.number, name).read_bytes() for name in TABLES}
        return dataclasses.replace(part, tables=tables)


def drafted(group: FileGroup, progress: Callable[[str], None] | None) -> Drafted:
    """Draft a group and leave its tables in the folder."""
    draft = group.reading.draft(progress, apart=True)
    try:
        group.reading.read(list(group.files), draft)
    except InputError as error:
        return Drafted(group.number, problem=str(error))
    except MemoryError:
        return Drafted(group.number, lost="there is not enough memory")
    draft.settle()
    assert group.folder is not None
    for name, table in zip(TABLES, draft.rows.frames(), strict=True):
        table.sink_parquet(place_of(group.folder, group.number, name), compression="lz4", maintain_order=True)
    return Drafted(group.number, draft.said())


_watched: set[int] = set()


def _end_with_parent(parent: int, folder: Path) -> None:
    """End this process once its parent has ended, which may be in the middle of a group, and remove what it made."""
    if parent in _watched:
        return
    _watched.add(parent)

    def watch() -> None:
        while os.getppid() == parent:
            ended.wait(ALIVE)
        shutil.rmtree(folder, ignore_errors=True)
        os._exit(1)

    ended = threading.Event()
    threading.Thread(target=watch, daemon=True).start()


@contextlib.contextmanager
def _without_collector() -> Iterator[None]:
    """Python's collector of cycles pauses: parsed documents hold none, and it would look at all of them again and again."""
    running = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if running:
            gc.enable()
