"""Where partitions lie and where results go: folders of this machine, or addresses of object stores, by one interface.

Addresses are those that Arrow knows (`s3://`, `gs://`, `abfs://`, `hdfs://`), or else any that an installed `fsspec`
opens. Credentials come from the environment (`AWS_ACCESS_KEY_ID`, `AWS_ENDPOINT_URL` and the like); those inside an
address are used and never shown: every name and message passes through `shown` or `scrubbed`.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
import shutil
import urllib.parse
import uuid

import pyarrow as pa
from pyarrow import fs

from divergence.addresses import scrubbed as scrubbed
from divergence.addresses import sentence as sentence
from divergence.addresses import shown as shown
from divergence.errors import InputError

CHUNK = 8 * 2**20


@dataclasses.dataclass(frozen=True)
class Filesystem:
    """A file or folder, and the file system that holds it."""

    files: fs.FileSystem
    """The file system."""
    path: str
    """The path in it."""
    address: str
    """What the user wrote; may hold credentials."""

    @property
    def local(self) -> bool:
        """Is it on this machine?"""
        return isinstance(self.files, fs.LocalFileSystem)

    def child(self, name: str) -> Filesystem:
        """A file below this folder."""
        path = f"{self.path.rstrip('/')}/{name}"
        if self.local:
            return Filesystem(self.files, path, path)
        address, mark, query = self.address.partition("?")
        return Filesystem(self.files, path, f"{address.rstrip('/')}/{urllib.parse.quote(name)}{mark}{query}")

    def __str__(self) -> str:
        return shown(self.address)


def place(address: str | os.PathLike) -> Filesystem:
    """The place that an address or a path names. Raises InputError for a kind of address that nothing here opens."""
    address = os.fspath(address)
    if "://" not in address:
        return Filesystem(fs.LocalFileSystem(), os.path.abspath(address), address)
    try:
        files, path = fs.FileSystem.from_uri(address)
        return Filesystem(files, path, address)
    except (pa.ArrowException, OSError) as error:
        if "Unrecognized filesystem" not in str(error):
            raise InputError(f"the address {shown(address)} cannot be opened: {sentence(error, address)}") from None
    try:
        import fsspec  # pyright: ignore[reportMissingImports]  # the user's own, where addresses need it

        files, path = fsspec.core.url_to_fs(address)
    except (ImportError, ValueError) as error:
        raise InputError(
            f"the address {shown(address)} is of no kind that can be opened ({sentence(error, address)}): use "
            "a path, s3://, gs://, abfs:// or hdfs://, or install fsspec for others"
        ) from None
    return Filesystem(fs.PyFileSystem(fs.FSSpecHandler(files)), path, address)


def publish(source: pathlib.Path, target: Filesystem) -> None:
    """Make a finished local file appear at its place, whole or not at all, and durably."""
    if target.local:
        with open(source, "rb") as file:
            os.fsync(file.fileno())
        os.replace(source, target.path)
        folder = os.open(os.path.dirname(target.path), os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        return
    folder, _, name = target.path.rpartition("/")
    part = f"{folder}/.{name}.{uuid.uuid4().hex[:8]}.part"  # an interrupted upload must not have the name of a result
    with open(source, "rb") as file, target.files.open_output_stream(part) as stream:
        shutil.copyfileobj(file, stream, CHUNK)
    target.files.move(part, target.path)
