"""Arms in blocks, one a model, and the matrices of a structured covariance.

    S  =  blockdiag_m(D_m)  +  W diag(t) W',        D_m (K x K) for the K arms of model m,  W (A x p) what models share

Models of about as many arms are one bucket, so that all of their blocks are factored together; blocks are filled up with
arms of variance 1 that nothing else knows. Arrays have the arms of a block first and the models last: (K, M) and (K, K, M),
so that each step of a factorisation runs over all models at once. Every function takes a stack of points first (n, ...).
"""

from __future__ import annotations

import dataclasses

import numpy as np
import scipy.sparse as sp
from scipy.linalg import get_blas_funcs

from divergence.numerics import size_of

UNROLLED_MAX = 12  # arms of a block up to which numpy's loop over models beats one LAPACK call a model


@dataclasses.dataclass(frozen=True)
class Bucket:
    """Models with about the same number of arms."""

    models: np.ndarray
    """Codes of the models, shape (M,)."""
    arms: np.ndarray
    """Their arms, filled up with -1, shape (K, M)."""

    @property
    def there(self) -> np.ndarray:
        """Which places of `arms` are arms, shape (K, M)."""
        return self.arms >= 0

    def take(self, values: np.ndarray) -> np.ndarray:
        """Values of arms, on the last axis, in this bucket's places (..., K, M); 0 where there is none."""
        return np.where(self.there, values[..., np.maximum(self.arms, 0)], 0.0)

    def put(self, values: np.ndarray, out: np.ndarray) -> None:
        """The reverse: values (..., K, M) into an array over arms (..., A)."""
        out[..., self.arms[self.there]] = values[..., self.there]


def bucket_size(arms: int) -> int:
    """The next of 1, 2, 3, 4, 6, 8, 12, 16, 24 ...: at most half as many again; bucket_size(5) = 6."""
    size = 1
    while size < arms:
        size = size * 3 // 2 if size > 1 and size & (size - 1) == 0 else (size // 3 * 4 if size > 1 else 2)
    return size


def buckets(model: np.ndarray) -> tuple[Bucket, ...]:
    """The buckets of arms whose model codes are given, shape (A,)."""
    order = np.argsort(model, kind="stable")
    codes, start, count = np.unique(model[order], return_index=True, return_counts=True)
    sizes = np.array([bucket_size(n) for n in range(int(count.max()) + 1)])[count]
    found = []
    for size in np.unique(sizes):
        mine = np.flatnonzero(sizes == size)
        place = np.arange(size)[:, None]
        there = place < count[mine]
        found.append(Bucket(codes[mine], np.where(there, order[np.where(there, start[mine] + place, 0)], -1)))
    return tuple(found)


def places(parts: tuple[Bucket, ...], size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Bucket, place in the block and column of each arm, each (A,)."""
    out = np.zeros((3, size), np.int64)
    for k, part in enumerate(parts):
        row, column = np.nonzero(part.there)
        arms = part.arms[row, column]
        out[0, arms], out[1, arms], out[2, arms] = k, row, column
    return out[0], out[1], out[2]


def in_blocks(matrix: sp.csr_array, parts: tuple[Bucket, ...]) -> list[np.ndarray]:
    """The blocks of a sparse symmetric matrix of arms, (K, K, M) a bucket; what lies between models is left out."""
    whole = matrix.tocoo()
    bucket, place, column = places(parts, size_of(matrix)[0])
    rows, columns = whole.coords
    model = bucket * (size_of(matrix)[0] + 1) + column
    inside = model[rows] == model[columns]
    rows, columns, values = rows[inside], columns[inside], whole.data[inside]
    found = []
    for k, part in enumerate(parts):
        mine = bucket[rows] == k
        block = np.zeros((len(part.arms), *part.arms.shape))
        block[place[rows[mine]], place[columns[mine]], column[rows[mine]]] = values[mine]
        found.append(block)
    return found


def cross_products(root: sp.csr_array, parts: tuple[Bucket, ...]) -> list[np.ndarray]:
    """`root' root` between arms of one model, (K, K, M) a bucket; root has shape (R, A)."""
    columns = sp.csc_array(root)
    found = []
    for part in parts:
        size, models = part.arms.shape
        block = np.zeros((size, size, models))
        if 2 * models < size:  # fewer products of all columns of a model than of one pair of places over all models
            for m in range(models):
                place = np.flatnonzero(part.there[:, m])
                mine = columns[:, part.arms[place, m]]
                block[place[:, None], place, m] = (mine.T @ mine).toarray()
            found.append(block)
            continue
        for first in range(size):
            for second in range(first, size):
                both = part.there[first] & part.there[second]
                one, other = columns[:, part.arms[first, both]], columns[:, part.arms[second, both]]
                block[first, second, both] = block[second, first, both] = one.multiply(other).sum(0)
        found.append(block)
    return found


def factor(blocks: np.ndarray) -> np.ndarray:
    """Lower Cholesky factors of blocks (n, K, K, M), of the same shape; what lies above the diagonal is not defined."""
    size = blocks.shape[1]
    if size > UNROLLED_MAX:
        return np.moveaxis(np.linalg.cholesky(np.moveaxis(blocks, 3, 1)), 1, 3)
    low = np.empty_like(blocks)
    for j in range(size):
        for i in range(j, size):
            total = blocks[:, i, j].copy()
            for k in range(j):
                total -= low[:, i, k] * low[:, j, k]
            low[:, i, j] = np.sqrt(total) if i == j else total / low[:, j, j]
    return low


def forward(low: np.ndarray, right: np.ndarray) -> np.ndarray:
    """`L^-1 B` for factors (n, K, K, M) and right sides (1 or n, K, M, q), shape (n, K, M, q)."""
    count, size, _, models = low.shape
    if size > UNROLLED_MAX:
        return _solved(low, right, False)
    out = np.empty((count, size, models, right.shape[3]))
    for i in range(size):
        out[:, i] = right[:, i]
        for j in range(i):
            out[:, i] -= low[:, i, j, :, None] * out[:, j]
        out[:, i] /= low[:, i, i, :, None]
    return out


def backward(low: np.ndarray, right: np.ndarray) -> np.ndarray:
    """`L'^-1 B`, as `forward`."""
    count, size, _, models = low.shape
    if size > UNROLLED_MAX:
        return _solved(low, right, True)
    out = np.empty((count, size, models, right.shape[3]))
    for i in reversed(range(size)):
        out[:, i] = right[:, i]
        for j in range(i + 1, size):
            out[:, i] -= low[:, j, i, :, None] * out[:, j]
        out[:, i] /= low[:, i, i, :, None]
    return out


def _solved(low: np.ndarray, right: np.ndarray, transposed: bool) -> np.ndarray:
    """The same by one BLAS call a block: of `x' L' = b'` (or `x' L = b'`), which leaves rows where they are."""
    matrix = np.ascontiguousarray(np.moveaxis(low, 3, 1))
    b = np.ascontiguousarray(np.moveaxis(np.broadcast_to(right, (len(low), *right.shape[1:])), 2, 1))
    out, solve = np.empty_like(b), get_blas_funcs(["trsm"], dtype=np.float64)[0]
    for at in np.ndindex(b.shape[:2]):
        out[at] = solve(1.0, matrix[at].T, b[at].T, side=1, lower=0, trans_a=int(transposed)).T
    return np.moveaxis(out, 1, 2)


def log_determinant(low: np.ndarray) -> np.ndarray:
    """Sum of the logs of the factors' diagonals over all blocks, shape (n,)."""
    return np.log(np.einsum("nkkm->nkm", low)).sum((1, 2))
