"""The last chunks of a stream, kept for reading: what an edge was before and since, residuals, slopes, the page.

Not needed for the evidence, which has its own sums; so it is short where there are many statistics, and always small.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from divergence.drift.reference import Chunk, Reference

BYTES = 1_000_000
"""Bytes of statistics that are kept at most."""
MOST = 512
"""Chunks that are kept at most."""


@dataclasses.dataclass
class History:
    """The last chunks, in order."""

    values: np.ndarray
    """Statistics of each chunk, shape (k, p), in single precision."""
    margins: np.ndarray
    """Mean of each numeric signal in each chunk, shape (k, signals)."""
    start: np.ndarray
    """Time of the first row of each chunk, microseconds, shape (k,)."""
    end: np.ndarray
    """Time of its last row, shape (k,)."""
    number: np.ndarray
    """Number of the chunk in the stream, from 1, shape (k,)."""
    evidence: np.ndarray
    """Evidence of each family after the chunk, nats, shape (k, families)."""
    room: int = BYTES
    """Bytes of statistics that are kept at most."""

    @classmethod
    def empty(cls, reference: Reference, families: int) -> History:
        """Nothing seen."""
        none = np.zeros(0, np.int64)
        nothing = [np.zeros((0, array.shape[1]), np.float32) for array in (reference.values, reference.margins)]
        return cls(nothing[0], nothing[1], none, none, none, np.zeros((0, families)))

    def add(self, chunk: Chunk, families: int) -> None:
        """One more chunk, its evidence still 0; the oldest goes where there is no room."""
        keep = places(self.room, len(chunk.values)) - 1
        number = int(self.number[-1]) + 1 if len(self.number) else 1
        self.values = np.vstack([self.values[-keep:], chunk.values])
        self.margins = np.vstack([self.margins[-keep:], chunk.margins])
        self.start = np.append(self.start[-keep:], chunk.start)
        self.end = np.append(self.end[-keep:], chunk.end)
        self.number = np.append(self.number[-keep:], number)
        self.evidence = np.vstack([self.evidence[-keep:], np.zeros(families)])

    @property
    def middle(self) -> np.ndarray:
        """Middle of each chunk, microseconds."""
        return (self.start + self.end) // 2


def places(room: int, statistics: int) -> int:
    """Chunks of so many statistics that have room."""
    return int(np.clip(room // (4 * max(statistics, 1)), 20, MOST))
