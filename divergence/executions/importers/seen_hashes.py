"""Which identities came before, and how often, in 8 bytes an identity: 64-bit hashes in few sorted arrays.

Ten million identities hold two of equal hash with probability n^2 / 2^65 = 3e-6; a million with 3e-8.
"""

from __future__ import annotations

import numpy as np


class SeenHashes:
    """A growing set of 64-bit hashes."""

    def __init__(self) -> None:
        self._sorted: list[np.ndarray] = []

    def holds(self, hashes: np.ndarray) -> np.ndarray:
        """For each hash, is it in the set?"""
        found = np.zeros(len(hashes), bool)
        for known in self._sorted:
            places = np.minimum(np.searchsorted(known, hashes), len(known) - 1)
            found |= known[places] == hashes
        return found

    def add(self, hashes: np.ndarray) -> None:
        """Take hashes that are not in the set yet, each once."""
        new = np.sort(hashes)
        while self._sorted and len(self._sorted[-1]) <= 2 * len(new):  # few sorted arrays, each much longer than the next
            new = np.sort(np.concatenate([self._sorted.pop(), new]))
        if len(new):
            self._sorted.append(new)

    def first(self, hashes: np.ndarray) -> np.ndarray:
        """For each hash, does it come for the first time? All of them are in the set afterwards."""
        _, places = np.unique(hashes, return_index=True)
        fresh = np.zeros(len(hashes), bool)
        fresh[places] = True
        fresh &= ~self.holds(hashes)
        self.add(hashes[fresh])
        return fresh


class Repetitions:
    """How often each of many identities came, told by their hashes."""

    def __init__(self) -> None:
        self._levels: list[SeenHashes] = []  # the set at place n holds what came more than n times

    def number(self, hashes: np.ndarray) -> np.ndarray:
        """For each hash, the how manieth of its kind it is, from 1; counting goes on in the next call."""
        kinds, inverse, times = np.unique(hashes, return_inverse=True, return_counts=True)
        before = np.zeros(len(kinds), np.int64)
        for level in self._levels:
            before += level.holds(kinds)
        order = np.argsort(inverse, kind="stable")
        starts = np.repeat(np.cumsum(times) - times, times)
        within = np.empty(len(hashes), np.int64)
        within[order] = np.arange(len(hashes)) - starts
        for depth in range(int((before + times).max(initial=0))):
            if depth == len(self._levels):
                self._levels.append(SeenHashes())
            self._levels[depth].add(kinds[(before <= depth) & (depth < before + times)])
        return before[inverse] + within + 1
