"""Foreign logs in an object store: `s3://`, `gs://` and `abfs://` addresses, through Arrow's file systems.

A foreign file is read in no order that a store serves well (archives are read from their end), so that it is brought to a
temporary folder first, under the name that it has in the store. Credentials and endpoints are those of the environment,
as for Arrow and Polars.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from divergence.addresses import sentence, shown
from divergence.errors import InputError
from divergence.temporary_folders import TemporaryFolder

STORES = ("s3", "gs", "gcs", "abfs", "abfss", "hdfs")  # of the addresses that Arrow's file systems know
CHUNK = 8 * 2**20  # bytes that are copied at a time


def is_address(path: str | Path) -> bool:
    """Is it an address rather than a path?"""
    return "://" in str(path)


def in_a_store(path: str | Path) -> bool:
    """Is it an address in an object store?"""
    return str(path).partition("://")[0] in STORES and is_address(path)


@contextlib.contextmanager
def brought(paths: Sequence[str | Path]) -> Iterator[list[Path]]:
    """The files at hand as paths, those of addresses brought here; removed at the end.

    Raises InputError where an address names nothing, or its store cannot be reached.
    """
    if not any(is_address(path) for path in paths):
        yield [Path(path) for path in paths]
        return
    with TemporaryFolder("import") as folder:
        yield [
            _bring(str(path), folder / str(number)) if is_address(path) else Path(path) for number, path in enumerate(paths)
        ]


def _bring(address: str, folder: Path) -> Path:
    from pyarrow import ArrowException, fs

    try:
        store, name = fs.FileSystem.from_uri(address)
        found = store.get_file_info(name)
        if found.type == fs.FileType.NotFound:
            raise InputError(f"There is nothing at {shown(address)}: check the address.")
        inside = fs.FileSelector(name, recursive=True) if found.type == fs.FileType.Directory else None
        files = store.get_file_info(inside) if inside else [found]
        for file in (file for file in files if file.type == fs.FileType.File):
            below = PurePosixPath(file.path).relative_to(name) if inside else PurePosixPath(file.base_name)
            target = folder.joinpath(*(part for part in below.parts if part not in ("..", "/")))
            target.parent.mkdir(parents=True, exist_ok=True)
            with store.open_input_stream(file.path, compression=None) as source, target.open("wb") as copy:
                shutil.copyfileobj(source, copy, CHUNK)
    except (OSError, ArrowException) as error:
        raise InputError(f"{shown(address)} cannot be read: {sentence(error, address)}.") from None
    return folder if inside else folder / found.base_name
