"""The last chunks of a stream, kept for reading: what an edge was before and since, residuals, slopes, the page.

Not needed for the evidence, which has its own sums; so it is short where there are many statistics, and always small.
"""

from __future__ import annotations

import dataclasses

import numpy as np

BYTES = 1_000_000
"""Bytes of statistics that are kept at most."""
MOST = 512
"""Chunks that are kept at most."""


@dataclasses.dataclass
class History:
    """The last chunks, in order."""

    values: np.ndarray
    """Statistics of each chunk, shape (k, p), in single precision."""
    start: np.ndarray
    """Time of the first row of each chunk, microseconds, shape (k,)."""
    end: np.ndarray
    """Time of its last row, shape (k,)."""
    number: np.ndarray
    """Number of the chunk in the stream, from 1, shape (k,)."""
    evidence: np.ndarray
    """Evidence of each family after the chunk, nats, shape (k, families)."""

    @classmethod
    def empty(cls, statistics: int, families: int) -> History:
        """Nothing seen."""
        none = np.zeros(0, np.int64)
        return cls(np.zeros((0, statistics), np.float32), none, none, none, np.zeros((0, families)))

    def add(self, values: np.ndarray, start: int, end: int, evidence: np.ndarray) -> None:
        """One more chunk; the oldest goes where there is no room."""
        keep = int(np.clip(BYTES // (4 * max(len(values), 1)), 20, MOST)) - 1
        number = int(self.number[-1]) + 1 if len(self.number) else 1
        self.values = np.vstack([self.values[-keep:], values.astype(np.float32)])
        self.start = np.append(self.start[-keep:], start)
        self.end = np.append(self.end[-keep:], end)
        self.number = np.append(self.number[-keep:], number)
        self.evidence = np.vstack([self.evidence[-keep:], evidence])

    @property
    def middle(self) -> np.ndarray:
        """Middle of each chunk, microseconds."""
        return (self.start + self.end) // 2
