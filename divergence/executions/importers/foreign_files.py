"""Opening foreign files: JSON, JSON lines, gzip and Zstandard of both, and ZIP archives with Zstandard members.

Whatever is wrong with a file comes out as one InputError with the file's name and the reason, and whatever is wrong
with one member or line as a ValueError, for the caller to set that row aside. Nothing is unpacked without a bound: a
document, a line and an archive each have one, and what exceeds it is refused like any other damage.
"""

from __future__ import annotations

import codecs
import contextlib
import functools
import gzip
import hashlib
import importlib
import io
import json.scanner
import lzma
import struct
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from divergence.errors import InputError
from divergence.executions.text_tables import as_utf8, wide_text
from divergence.temporary_folders import TemporaryFolder

HEAD_BYTES = 65536  # enough for the first keys of every format known here
LINE_BYTES = 64 * 2**20  # one record of JSON lines; the longest genuine ones (long agents) have a few megabytes
DOCUMENT_BYTES = 2**31  # one JSON file, which has to be in memory as a whole
MEMBER_BYTES = 256 * 2**20  # one member of an archive
ARCHIVE_RATIO = 100  # unpacked bytes a packed byte; logs of text pack 5 to 30 fold, and bombs a thousandfold
ARCHIVE_FLOOR = 2**28  # unpacked bytes that every archive may have, however well it is packed
PIECE = 2**20  # bytes that are unpacked at a time
ZIP_ZSTANDARD = 93  # compression method of the ZIP specification; the standard library knows it from Python 3.14 on
LINE_TOO_LONG = b"\0line too long"
"""What stands for a line above `LINE_BYTES`; `parsed` raises for it."""
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


_SCAN: Callable[[str, int], tuple[Any, int]] = json.scanner.make_scanner(json.JSONDecoder())  # type: ignore[attr-defined]
"""What `json.loads` calls in the end: it saves a third of the time of short documents to call it directly."""


def _fast_decoder() -> tuple[Callable[[bytes], Any] | None, tuple[type[Exception], ...]]:
    """What parses JSON twice as fast, where it is installed, and what it raises; it refuses more than `json` does."""
    try:
        msgspec = importlib.import_module("msgspec")
    except ImportError:
        return None, ()
    return msgspec.json.decode, (msgspec.DecodeError, ValueError, RecursionError)


_FAST, _FAST_ERRORS = _fast_decoder()


class _Damaged(Exception):
    """A compressed file that cannot be unpacked to its end."""


def head(path: Path) -> bytes:
    """The first bytes of a file, unpacked where it is gzip or Zstandard; empty where it cannot be read."""
    try:
        with opened(path) as file:
            return file.read(HEAD_BYTES).removeprefix(codecs.BOM_UTF8)
    except (*DAMAGE, InputError):
        return b""


def unreadable(path: Path) -> str | None:
    """What is wrong with a file of which not even the first bytes can be read as text; None where they can."""
    try:
        with opened(path) as file:
            wide = wide_text(file.read(HEAD_BYTES))
    except DAMAGE as error:
        return str(getattr(error, "strerror", None) or error)
    return f"it is {wide}, and logs are read in UTF-8 ({as_utf8(path, wide)})" if wide else None


@functools.lru_cache(maxsize=4096)
def _sha256(path: Path, size: int, modified: int) -> str:  # noqa: ARG001  the two tell versions of a file apart
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256(path: Path) -> str:
    """The SHA-256 of a file, read once as long as it does not change."""
    status = path.stat()
    return _sha256(path, status.st_size, status.st_mtime_ns)


def bare_suffix(path: Path) -> str:
    """The end of a file's name without that of its compression: `.jsonl` of `a.jsonl.gz`."""
    return (path.with_suffix("") if path.suffix in (".gz", ".zst") else path).suffix


def parsed(data: bytes) -> Any:
    """JSON as Inspect and lm-eval write it (NaN and Infinity allowed); ValueError with the end of a sentence."""
    if data is LINE_TOO_LONG:
        raise ValueError(f"is longer than {LINE_BYTES / 2**20:.0f} MiB")
    if _FAST is not None:
        with contextlib.suppress(*_FAST_ERRORS):
            return _FAST(data)
    elif data[:1] == b"{":
        try:
            text = data.decode()
            found, end = _SCAN(text, 0)
            if not text[end:].strip(" \t\n\r"):
                return found
        except (ValueError, RecursionError, StopIteration):
            pass  # `json.loads` has the last word, and the reason
    try:
        return json.loads(data)
    except RecursionError as error:
        raise ValueError("is JSON nested too deeply") from error
    except ValueError as error:
        raise ValueError(f"is not valid JSON: {error}") from error


def fast() -> bool:
    """Does msgspec (the extra `fast`) parse JSON here?"""
    return _FAST is not None


def read_json(path: Path) -> Any:
    """A whole JSON file; InputError where it cannot be read or parsed."""
    try:
        with opened(path) as file:
            data = file.read(DOCUMENT_BYTES + 1)
        if len(data) > DOCUMENT_BYTES:
            raise InputError(f"{path} is larger than {DOCUMENT_BYTES / 2**30:.0f} GiB, which one JSON document may have.")
        return parsed(data)
    except DAMAGE as error:
        raise InputError(f"{path} cannot be read: {error}.") from error
    except InputError:
        raise
    except ValueError as error:
        raise InputError(f"{path} {error}.") from error


def read_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """The lines of a text file with their numbers from 1, empty ones left out; InputError where it cannot be read.

    A line above `LINE_BYTES` is `LINE_TOO_LONG`, which `parsed` refuses.
    """
    try:
        with opened(path) as file:
            number = 0
            while line := file.readline(LINE_BYTES + 1):
                number += 1
                if len(line) > LINE_BYTES:
                    while line and not line.endswith(b"\n"):
                        line = file.readline(LINE_BYTES)
                    yield number, LINE_TOO_LONG
                elif len(line) > 8 or not line.isspace():
                    yield number, line
    except DAMAGE as error:
        raise InputError(f"{path} cannot be read to its end: {error}.") from error


def opened(path: Path) -> IO[bytes]:
    """A file for reading bytes, unpacked on the way where its name ends in .gz or .zst."""
    if path.suffix == ".gz":
        return gzip.open(path, "rb")  # type: ignore[return-value]
    if path.suffix == ".zst":
        return _Zstandard(path)
    return path.open("rb")


@contextlib.contextmanager
def unpacked(path: Path) -> Iterator[Path]:
    """A file that has to be read in place, as a database has: itself, or where it is packed a copy, removed at the end.

    Raises InputError where it cannot be unpacked, or unpacks to more than a log does.
    """
    if path.suffix not in (".gz", ".zst"):
        yield path
        return
    left = max(ARCHIVE_FLOOR, ARCHIVE_RATIO * path.stat().st_size)
    with TemporaryFolder("import") as folder:
        copy = folder / path.stem
        try:
            with opened(path) as packed, copy.open("wb") as file:
                while piece := packed.read(PIECE):
                    left -= len(piece)
                    if left < 0:
                        raise InputError(f"{path} unpacks to more than {ARCHIVE_RATIO} times its size: it is no log.")
                    file.write(piece)
        except DAMAGE as error:
            raise InputError(f"{path} cannot be unpacked: {error}.") from error
        yield copy


class _Zstandard(io.BufferedReader):
    """A Zstandard file, unpacked while it is read."""

    def __init__(self, path: Path):
        self._file = path.open("rb")
        super().__init__(_unpacking(path, self._file), 2**18)

    def close(self) -> None:
        super().close()
        self._file.close()


def _unpacking(path: Path, file: IO[bytes]) -> io.RawIOBase:
    try:
        zstandard = importlib.import_module("zstandard")
    except ImportError as error:
        raise InputError(f"{path} is Zstandard: install eval-divergence[inspect], which reads it.") from error
    stream = zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True)

    class Stream(io.RawIOBase):
        def readable(self) -> bool:
            return True

        def readinto(self, buffer: Any) -> int:
            try:
                return stream.readinto(buffer)
            except zstandard.ZstdError as error:
                raise _Damaged(str(error)) from error

    return Stream()


DAMAGE = (OSError, EOFError, zlib.error, _Damaged)


class Archive:
    """A ZIP archive of JSON members, open for reading."""

    def __init__(self, path: Path):
        self.path = path
        try:
            self._zip = zipfile.ZipFile(path)
        except BAD_ZIP as error:
            raise InputError(f"{path} is not a whole ZIP archive, as .eval files are: {error}.") from error
        self.names = tuple(dict.fromkeys(self._zip.namelist()))
        self._left = max(ARCHIVE_FLOOR, ARCHIVE_RATIO * path.stat().st_size)
        methods = {info.compress_type for info in self._zip.infolist()}
        self._damage = (*BAD_ZIP, *(_zstandard_errors(path) if ZIP_ZSTANDARD in methods else ()))

    def member(self, name: str) -> Any:
        """One member, parsed; ValueError with the end of a sentence where it is damaged or too large.

        Raises InputError where the archive as a whole unpacks to more than a log does.
        """
        try:
            with self._zip.open(name) as file:
                data = file.read(min(MEMBER_BYTES, self._left) + 1)
        except self._damage as error:
            raise ValueError(f"is damaged: {error}") from error
        self._left -= len(data)
        if self._left < 0:
            raise InputError(
                f"{self.path} unpacks to more than {ARCHIVE_RATIO} times its size: it is no log, and was not read further."
            )
        if len(data) > MEMBER_BYTES:
            raise ValueError(f"unpacks to more than {MEMBER_BYTES / 2**20:.0f} MiB")
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
