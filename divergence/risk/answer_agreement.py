"""How far do several answers to one item agree? The share of its pairs of answers that are the same; no score is looked at.

    share = sum over distinct answers of n_a (n_a - 1) / (n (n - 1))
    told  = mean + (share - mean) n / (n + noise)

The share of few answers is mostly chance, so it is pulled to the mean of all items by the `noise` answers that this chance
is worth: of n answers its variance is at most 2 a (1 - a) / n, where a is the probability that two agree, and `noise` is
that over the variance between items. An answer's agreement is known once it and another one are logged: it may be used for
traffic that is over, and for none that is still to be answered. Reading and scoring need NumPy and Arrow only. Unit: share.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pyarrow as pa

from divergence.risk.item_lookup import text_hashes
from divergence.risk.lookup import coded, looked_up

PAIRS_MAX = 2**22  # distinct (item, answer) that are counted at once: 130 MB
HELD = 2**20  # rows that wait to be counted
NOISE_MAX = 100.0  # answers: beyond, items differ by less than a hundred answers of one could show
SPARE = 0.05  # of the variance of a pair: items with two answers each say nothing of how they differ
TOP = np.uint64(2**64 - 1)


@dataclasses.dataclass(frozen=True)
class Agreement:
    """What a share means."""

    mean: float
    """Of all items."""
    noise: float
    """Answers that its chance is worth, at least 0."""

    @classmethod
    def learnt(cls, share: np.ndarray, n: np.ndarray) -> Agreement:
        """From the shares of items, and how many answers each has."""
        mean, thin = float(share.mean()), float((2 / n).mean())
        if thin > 1 - SPARE:  # nothing says how much of it is chance, and requests are taken to be as these
            return cls(mean, 0.0)
        between = (share.var() - thin * mean * (1 - mean)) / (1 - thin)
        noise = 2 * (mean * (1 - mean) - between) / between if between > 0 else NOISE_MAX
        return cls(mean, float(np.clip(noise, 0.0, NOISE_MAX)))

    def told(self, share: np.ndarray, n: np.ndarray) -> np.ndarray:
        """Shares, pulled to the mean as few answers want it."""
        return self.mean + (share - self.mean) * n / (n + self.noise)

    def to_json(self) -> dict:
        """As plain values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, words: dict) -> Agreement:
        """What `to_json` gave. Raises ValueError for anything else."""
        mean, noise = float(words["mean"]), float(words["noise"])
        if not (0 <= mean <= 1 and 0 <= noise <= NOISE_MAX):
            raise ValueError(f"its answers agree {mean} of the time with a noise of {noise}")
        return cls(mean, noise)


class AnswerCounts:
    """How often each item had each answer, while the batches of a partition pass, in bounded memory.

    Where more pairs are distinct than `most`, every second item, by its hash, is forgotten: of it nothing is told.
    """

    def __init__(self, most: int = PAIRS_MAX) -> None:
        """`most`: distinct pairs that are held."""
        self.most, self.limit = most, TOP
        self.held: list[np.ndarray] = []
        self.rows = 0
        self.pairs = np.zeros((2, 0), np.uint64)
        self.n = np.zeros(0, np.int64)

    def add(self, item: pa.Array, answer: pa.Array) -> None:
        """Count the rows that have both."""
        parts = [np.stack(_hashed(column)) for column in (item, answer)]
        there = (parts[0][1] & parts[1][1]).astype(bool) & (parts[0][0] <= self.limit)
        self.held.append(np.stack([part[0][there] for part in parts]))
        self.rows += self.held[-1].shape[1]
        if self.rows > HELD:
            self._count()

    def _count(self) -> None:
        fresh = np.concatenate(self.held, axis=1) if self.held else np.zeros((2, 0), np.uint64)
        pairs = np.concatenate([self.pairs, fresh], axis=1)
        n = np.concatenate([self.n, np.ones(fresh.shape[1], np.int64)])
        order = np.lexsort(pairs[::-1])
        pairs, n = pairs[:, order], n[order]
        first = np.flatnonzero(np.r_[True, (pairs[:, 1:] != pairs[:, :-1]).any(0)]) if len(n) else np.zeros(0, int)
        self.pairs, self.n = pairs[:, first], np.add.reduceat(n, first) if len(first) else n
        self.held, self.rows = [], 0
        while self.pairs.shape[1] > self.most:
            self.limit //= np.uint64(2)
            keep = self.pairs[0] <= self.limit
            self.pairs, self.n = self.pairs[:, keep], self.n[keep]

    def shares(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Hash of each item with several answers, ascending, its share of pairs that agree, and how many answers it has."""
        self._count()
        names, where = np.unique(self.pairs[0], return_inverse=True)
        n = np.bincount(where, self.n, len(names))
        same = np.bincount(where, self.n * (self.n - 1.0), len(names))
        several = n > 1
        return names[several], same[several] / (n[several] * (n[several] - 1)), n[several]

    def told(self, agreement: Agreement) -> ToldShares:
        """What the counted answers tell of each item."""
        names, share, n = self.shares()
        return ToldShares(names, agreement.told(share, n))


@dataclasses.dataclass(frozen=True, eq=False)
class ToldShares:
    """What answers tell of the items of a partition."""

    names: np.ndarray
    """Hashes of items, ascending."""
    value: np.ndarray
    """Of each."""

    def of(self, item: pa.Array) -> np.ndarray:
        """Of each request's item; NaN where it has fewer than two answers."""
        hashed, there = _hashed(item)
        if not len(self.names):
            return np.full(len(hashed), np.nan)
        place = np.minimum(np.searchsorted(self.names, hashed), len(self.names) - 1)
        return np.where(there & (self.names[place] == hashed), self.value[place], np.nan)


def _hashed(column: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """Hash of each text, and whether there is one. Each distinct text is hashed once."""
    column = coded(column.cast(pa.large_string()) if pa.types.is_string_view(column.type) else column)
    names = np.append(text_hashes(column.dictionary), np.uint64(0))
    place = looked_up(column, np.arange(len(names)))
    return names[place], place < len(names) - 1
