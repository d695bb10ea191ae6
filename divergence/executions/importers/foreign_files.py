"""Opening foreign files: JSON, JSON lines, and ZIP archives with Zstandard members.

Whatever is wrong with a file comes out as one InputError with the file's name and the reason, and whatever is wrong
with one member or line as a ValueError, for the caller to set that row aside.
"""

from __future__ import annotations

import gzip
import importlib
import json
import lzma
import struct
import sys
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from divergence.errors import InputError

HEAD_BYTES = 65536  # enough for the first keys of every format known here
ZIP_ZSTANDARD = 93  # compression method of the ZIP specification; the standard library knows it from Python 3.14 on
BAD_ZIP = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    OSError,
    RuntimeError,
    ValueError,
    KeyError,
    IndexError,
    OverflowError,
    struct.error,
)
"""What `zipfile` raises on damaged archives: RuntimeError for members marked as encrypted, NotImplementedError (one of
its kinds) for unknown methods, the others for damaged structures."""


def head(path: Path) -> bytes:
    """The first bytes of a file, decompressed where it is gzip; empty where it cannot be read."""
    try:
        with _opened(path) as file:
            return file.read(HEAD_BYTES)
    except (OSError, EOFError, zlib.error):
        return b""


def parsed(data: bytes) -> Any:
    """JSON as Inspect and lm-eval write it (NaN and Infinity allowed); ValueError with the end of a sentence."""
    try:
        return json.loads(data)
    except RecursionError as error:
        raise ValueError("is JSON nested too deeply") from error
    except ValueError as error:
        raise ValueError(f"is not valid JSON: {error}") from error


def read_json(path: Path) -> Any:
    """A whole JSON file; InputError where it cannot be read or parsed."""
    try:
        with _opened(path) as file:
            return parsed(file.read())
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path} cannot be read: {error}.") from error
    except ValueError as error:
        raise InputError(f"{path} {error}.") from error


def read_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """The lines of a text file with their numbers from 1, empty ones left out; InputError where it cannot be read."""
    try:
        with _opened(path) as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield number, line
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path} cannot be read to its end: {error}.") from error


class Archive:
    """A ZIP archive of JSON members, open for reading."""

    def __init__(self, path: Path):
        self.path = path
        try:
            self._zip = zipfile.ZipFile(path)
        except BAD_ZIP as error:
            raise InputError(f"{path} is not a whole ZIP archive, as .eval files are: {error}.") from error
        self.names = tuple(dict.fromkeys(self._zip.namelist()))
        methods = {info.compress_type for info in self._zip.infolist()}
        self._damage = (*BAD_ZIP, *(_zstandard_errors(path) if ZIP_ZSTANDARD in methods else ()))

    def member(self, name: str) -> Any:
        """One member, parsed; ValueError with the end of a sentence where it is damaged."""
        try:
            data = self._zip.read(name)
        except self._damage as error:
            raise ValueError(f"is damaged: {error}") from error
        return parsed(data)

    def close(self) -> None:
        """Release the file."""
        self._zip.close()


def _zstandard_errors(path: Path) -> tuple[type[Exception], ...]:
    """Make `zipfile` read Zstandard members, and name what it then raises on damage."""
    if sys.version_info < (3, 14):
        try:
            importlib.import_module("zipfile_zstd")  # adds the method to the standard zipfile module
        except ImportError as error:
            raise InputError(
                f"{path} has Zstandard members, which Python before 3.14 cannot read: install eval-divergence[inspect]."
            ) from error
    errors = []
    for module in ("zstandard", "compression.zstd"):
        try:
            errors.append(importlib.import_module(module).ZstdError)
        except ImportError:
            continue
    return tuple(errors)


def _opened(path: Path):
    return gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")
