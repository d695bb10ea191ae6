"""Results are made beside their place and moved there when complete: nobody ever reads half of one."""

from __future__ import annotations

import contextlib
import os
import pathlib
import shutil
import tempfile
from collections.abc import Iterator
from typing import IO

from divergence.errors import InputError

_open: set[pathlib.Path] = set()


@contextlib.contextmanager
def staging(folder: pathlib.Path) -> Iterator[pathlib.Path]:
    """A fresh folder beside `folder`, removed at the end whatever happens. Raises InputError when none can be made."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        fresh = pathlib.Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    except OSError as error:
        raise InputError(f"{folder} cannot be written: {error.strerror}") from None
    fresh.chmod(0o755)
    _open.add(fresh)
    try:
        yield fresh
    except OSError as error:
        raise InputError(f"{folder} cannot be written: {error.strerror or error}") from None
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
        _open.discard(fresh)


@contextlib.contextmanager
def whole(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """A file beside `path` to write into; it takes its place when the block ends well, and is removed when not."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    _open.add(part)
    try:
        yield part
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
        _open.discard(part)


def hold(file: IO) -> None:
    """Keep other processes out of an open file until this one ends or closes it. Raises BlockingIOError where one has it.

    Where the system has no such lock (Windows) nothing is held.
    """
    with contextlib.suppress(ImportError):
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def abandon() -> None:
    """Remove everything that is still being made: for a process that ends now."""
    for fresh in tuple(_open):
        if fresh.is_dir():
            shutil.rmtree(fresh, ignore_errors=True)
        else:
            fresh.unlink(missing_ok=True)


def move_into(fresh: pathlib.Path, folder: pathlib.Path) -> None:
    """Move each part of `fresh` into `folder`; an older part of the same name is replaced, others stay."""
    folder.mkdir(exist_ok=True)
    for part in sorted(fresh.iterdir()):
        target = folder / part.name
        if target.is_dir() and not target.is_symlink():
            shutil.rmtree(target)
        os.replace(part, target)
