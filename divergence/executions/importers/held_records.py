"""Records of any kind in the order in which they come, on disk where they are many; they are read back in batches."""

from __future__ import annotations

import pickle
import tempfile
import weakref
from collections.abc import Iterator
from typing import Any

BATCH = 10_000  # records in memory at a time


class HeldRecords:
    """Plain values of this process: what is on disk is in a file without a name, gone with this object."""

    def __init__(self) -> None:
        self._held: list[Any] = []
        self._file: Any = None
        self._batches = 0

    def keep(self, record: Any) -> None:
        """Take a record."""
        self._held.append(record)
        if len(self._held) >= BATCH:
            if self._file is None:
                self._file = tempfile.TemporaryFile(prefix="divergence-import-")  # noqa: SIM115
                weakref.finalize(self, self._file.close)
            pickle.dump(self._held, self._file, pickle.HIGHEST_PROTOCOL)
            self._held, self._batches = [], self._batches + 1

    def batches(self) -> Iterator[list[Any]]:
        """All records, batch by batch."""
        if self._file is not None:
            self._file.seek(0)
            yield from (pickle.load(self._file) for _ in range(self._batches))
        if self._held:
            yield self._held
