"""Folders for what waits on disk: each is there as long as the object that holds it, or the process that made it.

A forked child never removes its parent's. The command removes them when it is interrupted; what ends a process at once
(SIGKILL, SIGTERM or `os._exit` in a host application) leaves them, as it leaves any temporary file.
"""

from __future__ import annotations

import os
import pathlib
import shutil
import tempfile
import weakref

_LIVE: set[tuple[pathlib.Path, int]] = set()


class TemporaryFolder:
    """A folder that is removed with this object, at the end of a `with`, or at the end of the process that made it."""

    def __init__(self, purpose: str) -> None:
        self.path = pathlib.Path(tempfile.mkdtemp(prefix=f"divergence-{purpose}-"))
        mine = (self.path, os.getpid())
        _LIVE.add(mine)
        self._removed = weakref.finalize(self, _remove, *mine)

    def __enter__(self) -> pathlib.Path:
        return self.path

    def __exit__(self, *_: object) -> None:
        self.remove()

    def remove(self) -> None:
        """Remove it now."""
        self._removed()


def remove_temporary_folders() -> None:
    """Remove all that this process still holds: for an end at which no object is finalised."""
    for path, maker in list(_LIVE):
        _remove(path, maker)


def _remove(path: pathlib.Path, maker: int) -> None:
    _LIVE.discard((path, maker))
    if os.getpid() == maker:
        shutil.rmtree(path, ignore_errors=True)
