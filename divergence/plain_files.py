"""Files that a user names: regular ones only, since a pipe hangs and a device never ends; none written over that is read;
and TOML, bounded, as a table."""

from __future__ import annotations

import os
import stat
import tomllib
from collections.abc import Iterable

from divergence.errors import InputError

LARGEST_TOML = 1 << 24  # bytes; a configuration of thousands of prices has some 100 kB
BROKEN_TOML = (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError, ValueError)
"""What parsing raises: also for tables nested too deeply, and for numbers of thousands of digits."""


def regular(path: str | os.PathLike) -> None:
    """InputError where a path is neither a regular file nor a folder; what is not there is left to who opens it.

    >>> regular("/dev/null")
    Traceback (most recent call last):
    divergence.errors.InputError: /dev/null is no regular file (a pipe or a device, say): write it to a file and name that.
    """
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):
        return
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise InputError(
            f"{os.fspath(path)} is no regular file (a pipe or a device, say): write it to a file and name that."
        )


def not_read(written: str | os.PathLike, read: Iterable[str | os.PathLike | None]) -> None:
    """InputError where a file that is to be written is, by whatever link, one of those that are read.

    >>> not_read("new.parquet", ["log.parquet", None])
    """
    for one in read:
        if one is not None and os.path.exists(written) and os.path.exists(one) and os.path.samefile(written, one):
            raise InputError(f"{os.fspath(written)} is one of the logs that are read ({os.fspath(one)}): write elsewhere.")


def toml(path: str | os.PathLike, what: str) -> dict:
    """The table in a TOML file, which is called `what` in the sentence of an InputError."""
    said = f"{what} {os.fspath(path)}"
    try:
        regular(path)
        with open(path, "rb") as file:
            content = file.read(LARGEST_TOML + 1)
        if len(content) > LARGEST_TOML:
            raise InputError(f"{said} is larger than {LARGEST_TOML / 2**20:.0f} MiB: name the TOML file.")
        return tomllib.loads(content.decode().removeprefix("\ufeff"))
    except OSError as error:
        raise InputError(f"{said} cannot be read: {error.strerror or error}; name a TOML file.") from error
    except InputError:
        raise
    except RecursionError as error:
        raise InputError(f"{said} is not valid TOML: it is nested too deeply.") from error
    except BROKEN_TOML as error:
        raise InputError(f"{said} is not valid TOML: {error}.") from error
