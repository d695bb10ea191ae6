"""Were requests with a prompt like this one harder than their stratum? The mean of the nearest known ones.

    lent(x) = mean over the NEAREST items with the largest cosine(prompt, x) of (failure rate - risk of the stratum)

Items that are equally near share what is left of the ten places. Vectors are kept as whole numbers of one byte each, at most
`NUMBERS_MAX` of them: sums of their products are exact in any order, so a request's answer depends on no other row, on no
batch and on no machine. Reading and scoring need NumPy and Arrow only. Unit: probability.
"""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
import pyarrow as pa

NEAREST = 10
ITEMS_MIN, ITEMS_MAX = 20, 4000  # a request is compared with each of them
NUMBERS_MAX = 2**22  # of stored vectors: 4 MB, and four times as much while a log is scored
STEPS = 127  # of a vector's largest number
EXACT = 2**24 // STEPS**2  # numbers of a vector up to which sums of products are exact in single precision
CHUNK = 2**21  # cosines that are held at once
ARRAYS = ("near_vectors", "near_lent")


@dataclasses.dataclass(frozen=True, eq=False)
class Neighbours:
    """Prompts of known items, and how much harder than its stratum each was."""

    vectors: np.ndarray
    """Their embeddings in steps, int8, shape (items, numbers)."""
    lent: np.ndarray
    """Failure rate less the risk of the stratum, shape (items,)."""
    embedder: str | None = None
    """What made the vectors, where that is logged; those of another do not compare."""

    @functools.cached_property
    def _scaled(self) -> tuple[np.ndarray, np.ndarray]:
        """The vectors as they are multiplied, and the length of each."""
        kind = np.float32 if self.vectors.shape[1] <= EXACT else np.float64
        whole = self.vectors.astype(kind)
        return np.ascontiguousarray(whole.T), np.sqrt((self.vectors.astype(np.int64) ** 2).sum(1))

    def of(self, vectors: np.ndarray, own: np.ndarray | None = None) -> np.ndarray:
        """What the neighbours of each vector lend it, shape (rows,). `own` is an item's own number among those kept, -1 for
        none: it is no neighbour of itself."""
        asked = in_steps(vectors)
        known, length = self._scaled
        nearest = min(NEAREST, len(self.lent) - (own is not None))
        out = np.empty(len(asked))
        size = max(CHUNK // len(self.lent), 1)
        for start in range(0, len(asked), size):
            rows = slice(start, start + size)
            alike = (asked[rows].astype(known.dtype) @ known) / length
            if own is not None:
                mine = np.flatnonzero(own[rows] >= 0)
                alike[mine, own[rows][mine]] = -np.inf
            least = np.partition(alike, -nearest, axis=1)[:, -nearest, None]
            nearer, tied = alike > least, alike == least
            left = nearest - nearer.sum(1)
            shared = np.where(tied, self.lent, 0.0).sum(1) * left / tied.sum(1)
            out[rows] = (np.where(nearer, self.lent, 0.0).sum(1) + shared) / nearest
        return out

    def of_column(self, column: pa.Array, embedders: pa.Array | None = None) -> np.ndarray:
        """The same for a column of lists; NaN where a row has none that compares."""
        out, size = np.full(len(column), np.nan), self.vectors.shape[1]
        there = np.asarray(column.is_valid())
        if embedders is not None and self.embedder is not None:
            names = np.array(embedders.cast(pa.string()).to_pylist(), object)
            there = there & ((names == self.embedder) | (names == None))  # noqa: E711  of each row
        if not pa.types.is_list(column.type) and not pa.types.is_large_list(column.type):
            return out
        ends = np.asarray(column.offsets).astype(np.int64)
        there = there & (np.diff(ends) == size)
        numbers = np.asarray(column.values.cast(pa.float32(), safe=False).fill_null(np.nan))
        mine = np.flatnonzero(there)
        if len(mine):
            vectors = numbers[ends[mine][:, None] + np.arange(size)]
            whole = np.isfinite(vectors).all(1) & vectors.any(1)
            steps = in_steps(vectors[whole])
            distinct, which = np.unique(
                np.ascontiguousarray(steps).view(np.dtype((np.void, size))).ravel(), return_inverse=True
            )
            found = self.of(distinct.view(np.int8).reshape(-1, size)) if len(distinct) else np.zeros(0)
            out[mine[whole]] = found[which.ravel()]
        return out

    def arrays(self) -> dict[str, np.ndarray]:
        """What is saved."""
        return dict(zip(ARRAYS, (self.vectors, self.lent), strict=True))

    @classmethod
    def of_arrays(cls, arrays: dict[str, np.ndarray], embedder: str | None) -> Neighbours:
        """What `arrays` gave. Raises ValueError for anything else."""
        vectors, lent = (arrays[name] for name in ARRAYS)
        if vectors.dtype != np.int8 or vectors.ndim != 2 or lent.shape != vectors.shape[:1] or lent.dtype.kind != "f":
            raise ValueError(f"its neighbours are {vectors.dtype.name} of shape {vectors.shape} for {lent.shape}")
        if len(lent) < ITEMS_MIN or vectors.size > NUMBERS_MAX or not (np.abs(lent) <= 1).all() or not vectors.any(1).all():
            raise ValueError(f"its {len(lent)} neighbours are no directions with a difference of two rates each")
        return cls(vectors, lent, embedder)


def in_steps(vectors: np.ndarray) -> np.ndarray:
    """Vectors in whole steps of their largest number, int8; what is in steps stays as it is.

    >>> in_steps(np.array([[0.5, -1.0, 0.0]])).tolist()
    [[64, -127, 0]]
    """
    if vectors.dtype == np.int8:
        return vectors
    largest = np.abs(vectors).max(1, keepdims=True).astype(float)
    return np.rint(vectors / np.where(largest > 0, largest, 1.0) * STEPS).astype(np.int8)
