"""Are the files of a log still those that were read? Each is looked at when a pass over them begins, and when it ends.

The rows stay on disk, so that a log is read again for every count: a file that was cut, replaced or appended to in between
would give numbers of two logs, or an error of a library. Size and time of the last change say so, for the price of a call a
file. Files at remote addresses have neither for that price, and are not looked at again; frames in memory need not be.
"""

from __future__ import annotations

import contextlib
import functools
import os
import shlex
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import ParamSpec, Protocol, TypeVar, runtime_checkable

import polars as pl

from divergence.errors import InputError

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")
Stamp = tuple[int, int]
"""Size in bytes, and time of the last change in nanoseconds."""


class Stamped(Protocol):
    """A file that was read."""

    @property
    def path(self) -> Path | None:
        """Where it lies; None for what is no file of this machine."""

    @property
    def stamp(self) -> Stamp | None:
        """What was seen of it before it was read; None where nothing was looked at."""


@runtime_checkable
class Log(Protocol):
    """What knows its files."""

    def unchanged(self) -> AbstractContextManager[None]:
        """A block in which they are read."""
        ...


def stamp_of(path: str | os.PathLike) -> Stamp:
    """What changes when somebody writes to a file. Raises OSError where there is none."""
    about = os.stat(path)
    return about.st_size, about.st_mtime_ns


def check(files: Iterable[Stamped]) -> None:
    """Raise InputError where a file is no longer the one that was read."""
    for file in files:
        if file.path is None or file.stamp is None:
            continue
        try:
            now = stamp_of(file.path)
        except OSError:
            now = None
        if now != file.stamp:
            copy = shlex.join(["cp", str(file.path), f"copy{''.join(file.path.suffixes[-2:])}"])
            raise InputError(
                f"{file.path} changed while it was being read{'' if now else ', and is gone'}; read it again. Where "
                f"something still writes to it, copy or import it first, and read that: {copy}"
            )


@contextlib.contextmanager
def unchanged(files: Iterable[Stamped]) -> Iterator[None]:
    """A block in which files are read: InputError where one is changed before it, in it, or made it fail."""
    files = list(files)
    check(files)
    try:
        yield
    except (Exception, pl.exceptions.PanicException):
        check(files)
        raise
    check(files)


def check_log(log: Log | None) -> None:
    """Raise InputError where a file of a log is no longer the one that was read: asked before results take their places."""
    if log is not None:
        with log.unchanged():
            pass


def one_pass(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """A function that reads the files of the log that it is given: they are looked at when it begins and when it ends."""

    @functools.wraps(function)
    def passing(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        with contextlib.ExitStack() as stack:
            for log in (*args, *kwargs.values()):
                if isinstance(log, Log):
                    stack.enter_context(log.unchanged())
            return function(*args, **kwargs)

    return passing
