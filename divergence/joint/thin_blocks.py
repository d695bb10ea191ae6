"""Blocks of many contexts: a diagonal and a few columns, where what a model does in one context is all its own.

    D_m  =  diag(l)  +  U U' ,        U (K x r): abilities, the noise of its bench, effects of factors; r stays as K grows

With `E = diag(l)^-1`, `L L' = I + U' E U` and `y = L^-1 U' E b`, `a' D^-1 b = a' E b - y_a' y_b` (Woodbury), so that a model
of K contexts costs K instead of its cube. The bench of a model may have no noise and no effect of its own: `l = 0`. Then `l`
is taken as `t` there, and one more column, of weight minus one, takes it away again: with `e` the bench's place in U,

    q = e / sqrt(t),  w = L^-1 U' E q,  z = q' E b - w' y,        a' D^-1 b = a' E b - y_a' y_b + z_a z_b / w' w.

It is the same covariance as `Part`'s to rounding, for which a test holds one against the other.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import scipy.sparse as sp

from divergence.joint.blocks import Bucket, backward, factor, forward, log_determinant

LEAST = 16  # arms of a block from which on this is faster than its Cholesky factor
ONE, NONE = -1, -2  # variances of columns: always 1, and of the places that a model does not fill
Columns = list[tuple[sp.csr_array, np.ndarray, bool]]
"""Columns over arms (A, c), the variance of each (c,), and are they noise?"""


@dataclasses.dataclass(frozen=True)
class Thin:
    """One bucket's blocks; models come before places here, (M, K)."""

    bucket: Bucket
    """Its models and arms."""
    single: np.ndarray
    """What variances do to `l`: squares of the columns of one arm, shape (T, M * K)."""
    of: np.ndarray
    """Which variances, shape (T,)."""
    own: np.ndarray
    """The same of the variance that each model has for itself, (M, K), and which it is, (M,)."""
    own_of: np.ndarray
    noise: np.ndarray
    """The part of `l` that is noise, (M, K)."""
    rest: np.ndarray
    """The part that is there whatever the variances are, (M, K): 1 where there is no arm."""
    columns: np.ndarray
    """`U` without its scales, shape (r, M, K); the first two are the abilities at the bench and in deployment."""
    scale_of: np.ndarray
    """Which variance each is scaled by, shape (r - 2, M)."""
    noisy: np.ndarray
    """Which of them are noise, shape (r - 2, M)."""
    bare: np.ndarray
    """The place of the arm of each model whose `l` may be 0, (M,); -1 where none may."""
    lift: np.ndarray
    """`t` there, (M,); 1 elsewhere."""
    shared: np.ndarray
    """`W` at these arms, (M, K, p)."""
    pairs: tuple[sp.csr_array, sp.csr_array, sp.csr_array]
    """Products of pairs of its columns by place, (R, M * K): of two that are not noise, of one that is, and of two."""
    pair: tuple[np.ndarray, np.ndarray]
    """The two columns of each of these R pairs: those of unlike contexts have no place in common and are left out."""
    shared_noise: np.ndarray
    """Which of its columns are noise, (p,)."""


@dataclasses.dataclass(frozen=True)
class Projected:
    """What a stack of n points makes of the blocks, of `W` and of one vector b a point: q = p + 1 right sides."""

    inverse: np.ndarray
    """`E`, shape (n, M, K)."""
    columns: np.ndarray
    """`U`, (n, r, M, K)."""
    low: np.ndarray
    """`L`, (n, r, r, M)."""
    slant: np.ndarray
    """`w`, (n, r, M, 1), and its square length, (n, M)."""
    length: np.ndarray
    gram: np.ndarray
    """`[W, b]' D^-1 [W, b]` of all models, (n, q, q)."""
    log: np.ndarray
    """Half the log determinant of D, (n,)."""


def thin(
    bucket: Bucket,
    abilities: tuple[sp.csr_array, sp.csr_array],
    inside: Columns,
    own: np.ndarray,
    shared: tuple[sp.csr_array, np.ndarray],
    models: int,
) -> Thin | None:
    """The thin form of a bucket, None where it has none, or gains nothing.

    `inside` are the columns that arms of one model load on, `own` the noise of each arm that is its own, (A,); `shared` are
    the columns `W` and which of them are noise. `models` is the least variance that one model has for itself.
    """
    size, count = bucket.arms.shape
    if size < LEAST:
        return None
    place = np.full(len(own), -1)
    row, column = np.nonzero(bucket.there)
    place[bucket.arms[row, column]] = column * size + row
    blocks = _Blocks(place, count, size, models)
    blocks.noise[place[place >= 0]] = own[place >= 0]
    blocks.rest[~bucket.there.T.ravel()] = 1.0
    for matrix, variance, noisy in inside:
        blocks.add(sp.csc_array(matrix), variance, noisy)
    free = (blocks.noise + blocks.rest).reshape(count, size) == 0
    rank = 2 + max(map(len, blocks.several))
    if 4 * rank > size or (free.sum(1) > 1).any():
        return None
    columns, scale_of = np.zeros((rank, count, size)), np.full((rank - 2, count), NONE)
    noisy_columns = np.zeros((rank - 2, count), bool)
    for k, ability in enumerate(abilities):
        spots, values = place[ability.tocoo().coords[0]], ability.tocoo().data
        columns[k].reshape(-1)[spots[spots >= 0]] = values[spots >= 0]
    for m, these in enumerate(blocks.several):
        for c, (values, k, noisy) in enumerate(these):
            columns[2 + c, m], scale_of[c, m], noisy_columns[c, m] = values, k, noisy
    bare = np.where(free.any(1), free.argmax(1), -1)
    lift = np.square(columns[2:, np.arange(count), np.maximum(bare, 0)]).sum(0)
    w = shared[0][np.maximum(bucket.arms.T, 0).ravel()].toarray() * bucket.there.T.reshape(-1, 1)
    return Thin(
        bucket,
        np.array([blocks.singles[k] for k in sorted(blocks.singles)]).reshape(-1, count * size),
        np.array(sorted(blocks.singles), int),
        blocks.own.reshape(count, size),
        blocks.own_of,
        blocks.noise.reshape(count, size),
        blocks.rest.reshape(count, size),
        columns,
        scale_of,
        noisy_columns,
        bare,
        np.where((bare >= 0) & (lift > 0), lift, 1.0),
        w.reshape(count, size, -1),
        *_pairs(w, shared[1]),
        shared[1],
    )


class _Blocks:
    """Columns sorted into what they do: to the diagonal, where they touch one arm, or as columns of their model."""

    def __init__(self, place: np.ndarray, count: int, size: int, models: int) -> None:
        self.place, self.size, self.models = place, size, models
        self.noise, self.rest, self.own = (np.zeros(count * size) for _ in range(3))
        self.own_of = np.full(count, NONE)
        self.singles: dict[int, np.ndarray] = {}
        self.several: list[list[tuple[np.ndarray, int, bool]]] = [[] for _ in range(count)]

    def add(self, matrix: sp.csc_array, variance: np.ndarray, noisy: bool) -> None:
        """Columns over arms (A, c) and the variance of each; those of other buckets' arms are left out."""
        touched = np.diff(matrix.indptr)
        lone = np.flatnonzero(touched == 1)
        spots, values = self.place[matrix.indices[matrix.indptr[lone]]], matrix.data[matrix.indptr[lone]] ** 2
        mine = spots >= 0
        self._lone(spots[mine], values[mine], variance[lone][mine], noisy)
        for c in np.flatnonzero(touched > 1):
            span = slice(matrix.indptr[c], matrix.indptr[c + 1])
            spots = self.place[matrix.indices[span]]
            if (spots >= 0).all():
                values = np.zeros(self.size)
                values[spots % self.size] = matrix.data[span]
                self.several[int(spots[0]) // self.size].append((values, int(variance[c]), noisy))

    def _lone(self, spots: np.ndarray, squares: np.ndarray, variance: np.ndarray, noisy: bool) -> None:
        fixed, each = variance == ONE, variance >= self.models
        np.add.at(self.noise if noisy else self.rest, spots[fixed], squares[fixed])
        np.add.at(self.own, spots[each], squares[each])
        self.own_of[spots[each] // self.size] = variance[each]
        for k in np.unique(variance[~fixed & ~each]):
            one = variance == k
            np.add.at(self.singles.setdefault(int(k), np.zeros(len(self.rest))), spots[one], squares[one])


Pairs = tuple[sp.csr_array, sp.csr_array, sp.csr_array]


def _pairs(w: np.ndarray, noise: np.ndarray) -> tuple[Pairs, tuple[np.ndarray, np.ndarray]]:
    """Products of the columns (M K, p) of each place, by how many of the two are noise; and which two they are of."""
    place, column = np.nonzero(w)
    count = np.bincount(place, minlength=len(w))
    first = np.repeat(np.arange(len(place)), count[place])  # each entry beside every entry of its place
    start, begin = np.cumsum(count) - count, np.cumsum(count[place]) - count[place]
    second = start[place[first]] + np.arange(len(first)) - np.repeat(begin, count[place])
    values, spots = w[place, column], column[first] * w.shape[1] + column[second]
    of_noise = noise[column[first]].astype(int) + noise[column[second]]
    used, spots = np.unique(spots, return_inverse=True)
    made = [
        sp.csr_array(((values[first] * values[second])[mine], (spots[mine], place[first][mine])), shape=(len(used), len(w)))
        for mine in (of_noise == k for k in range(3))
    ]
    return (made[0], made[1], made[2]), (used // w.shape[1], used % w.shape[1])


def projected(block: Thin, s: np.ndarray, right: np.ndarray, by: np.ndarray | None = None) -> Projected:
    """What variances s (n, count) make of a bucket, and of one right side b a point, (n or 1, K, M); the noise of arms is
    `by` (n, K, M) times as large."""
    points, (models, size) = len(s), block.noise.shape
    right = np.broadcast_to(np.swapaxes(right, -1, -2), (points, models, size))
    by = None if by is None else np.swapaxes(by, -1, -2)
    of = _woodbury(block, s, by)
    half = forward(of.low, _crossed(block, of.weighed, right, by))
    there, spot = block.bare >= 0, (np.arange(models), np.maximum(block.bare, 0))
    bench = np.concatenate([_shared_at(block, spot, by, points), right[:, *spot][..., None]], 2)
    left = np.where(there[:, None], of.at[..., None] * bench - (of.slant * half).sum(1), 0.0)
    left /= np.sqrt(of.length)[..., None]
    gram = _plain_gram(block, of.inverse, right, by)
    flat = half.reshape(points, -1, half.shape[3])
    gram += np.matmul(left.swapaxes(1, 2), left)
    gram -= np.matmul(flat.swapaxes(1, 2), flat)
    return Projected(of.inverse, of.columns, of.low, of.slant, of.length, gram, of.log)


def inverses(block: Thin, s: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`D^-1` of each model at variances s (n, count), shape (n, M, K, K), and half the log determinant of D, (n,)."""
    of = _woodbury(block, s, None)
    half = forward(of.low, of.weighed)
    out = -np.matmul(half.transpose(0, 2, 3, 1), half.transpose(0, 2, 1, 3))
    each = np.arange(block.noise.shape[1])
    out[..., each, each] += of.inverse
    left = -(of.slant * half).sum(1)
    left[:, np.arange(len(block.bare)), np.maximum(block.bare, 0)] += of.at
    left = np.where((block.bare >= 0)[:, None], left / np.sqrt(of.length)[..., None], 0.0)
    out += left[..., None] * left[..., None, :]
    return out, of.log


@dataclasses.dataclass(frozen=True)
class _Woodbury:
    """What the inverse of the blocks is made of at n points."""

    inverse: np.ndarray
    """`E`, shape (n, M, K)."""
    columns: np.ndarray
    """`U`, (n, r, M, K), and `E U`."""
    weighed: np.ndarray
    low: np.ndarray
    """`L`, (n, r, r, M)."""
    at: np.ndarray
    """`q' E` at the bench, (n, M)."""
    slant: np.ndarray
    """`w`, (n, r, M, 1), and its square length, (n, M)."""
    length: np.ndarray
    log: np.ndarray
    """Half the log determinant of D, (n,)."""


def _woodbury(block: Thin, s: np.ndarray, by: np.ndarray | None) -> _Woodbury:
    points, models = len(s), len(block.noise)
    inverse, columns = _scaled(block, s, by)
    there, spot = block.bare >= 0, (np.arange(models), np.maximum(block.bare, 0))
    diagonal = inverse[:, *spot].copy()
    inverse[:, *spot] += np.where(there, block.lift, 0.0)
    inverse = 1 / inverse
    weighed = columns * inverse[:, None]
    inner = np.empty((points, *(len(block.columns),) * 2, models))
    for i in range(len(block.columns)):
        for j in range(i + 1):
            inner[:, i, j] = inner[:, j, i] = np.einsum("nmk,nmk->nm", weighed[:, i], columns[:, j])
        inner[:, i, i] += 1.0
    low = factor(inner)
    at = inverse[:, *spot] * np.sqrt(block.lift)
    slant = forward(low, (columns[:, :, *spot] * at[:, None])[..., None])
    length = np.where(there, diagonal * inverse[:, *spot] + np.square(slant[..., 0]).sum(1), 1.0)
    log = 0.5 * (np.log(length).sum(1) - np.log(inverse).sum((1, 2))) + log_determinant(low)
    return _Woodbury(inverse, columns, weighed, low, at, slant, length, log)


def solved(block: Thin, at: Projected, right: np.ndarray) -> np.ndarray:
    """`D^-1 b` for right sides (n, K, M), of that shape."""
    b = right.swapaxes(1, 2)
    there, spot = block.bare >= 0, (np.arange(len(block.bare)), np.maximum(block.bare, 0))
    weighed = b * at.inverse
    half = forward(at.low, np.einsum("nrmk,nmk->nrm", at.columns, weighed)[..., None])
    root = np.sqrt(block.lift)
    last = root * weighed[:, *spot] - (at.slant * half).sum(1)[..., 0]
    last = np.where(there, -last / at.length, 0.0)
    first = backward(at.low, half - at.slant * last[:, None, :, None])[..., 0]
    left = b - np.einsum("nrmk,nrm->nmk", at.columns, first)
    left[:, *spot] -= root * last
    return (left * at.inverse).swapaxes(1, 2)


def shared_columns(block: Thin, by: np.ndarray | None) -> np.ndarray:
    """`W` in the order of the bucket, (n or 1, K, M, p)."""
    w = block.shared.swapaxes(0, 1)[None]
    return w if by is None else np.where(block.shared_noise, w * by[..., None], w)


def _scaled(block: Thin, s: np.ndarray, by: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """The diagonal `l` (n, M, K), and the columns `U` (n, r, M, K)."""
    points, (models, size) = len(s), block.noise.shape
    diagonal = (s[:, block.of] @ block.single).reshape(points, models, size) + block.rest
    diagonal += block.noise if by is None else block.noise * by**2
    if (block.own_of >= 0).any():
        diagonal += np.where(block.own_of >= 0, s[:, np.maximum(block.own_of, 0)], 0.0)[..., None] * block.own
    bench = np.sqrt(s[:, 0])
    carried = np.where(bench > 0, s[:, 2] / np.where(bench > 0, bench, 1.0), 0.0)
    deployed = np.sqrt(np.maximum(s[:, 1] - carried**2, 0.0))
    out = np.empty((points, *block.columns.shape))
    out[:, 0] = bench[:, None, None] * block.columns[0] + carried[:, None, None] * block.columns[1]
    out[:, 1] = deployed[:, None, None] * block.columns[1]
    known = block.scale_of >= 0
    scale = np.where(known, np.sqrt(s[:, np.where(known, block.scale_of, 0)]), block.scale_of == ONE)
    out[:, 2:] = scale[..., None] * block.columns[2:]
    if by is not None:
        out[:, 2:] *= np.where(block.noisy[..., None], by[:, None], 1.0)
    return diagonal, out


def _crossed(block: Thin, weighed: np.ndarray, right: np.ndarray, by: np.ndarray | None) -> np.ndarray:
    """`U' E [W, b]`, shape (n, r, M, q)."""
    points, rank, models, size = weighed.shape
    out = np.empty((points, rank, models, block.shared.shape[2] + 1))
    out[..., -1] = np.einsum("nrmk,nmk->nrm", weighed, right)

    def product(left: np.ndarray, w: np.ndarray) -> np.ndarray:
        flat = left.transpose(2, 0, 1, 3).reshape(models, -1, size)
        return np.matmul(flat, w).reshape(models, points, rank, -1).transpose(1, 2, 0, 3)

    if by is None:
        out[..., :-1] = product(weighed, block.shared)
        return out
    noise = block.shared_noise
    out[..., :-1][..., ~noise] = product(weighed, block.shared[..., ~noise])
    out[..., :-1][..., noise] = product(weighed * by[:, None], block.shared[..., noise])
    return out


def _plain_gram(block: Thin, inverse: np.ndarray, right: np.ndarray, by: np.ndarray | None) -> np.ndarray:
    """`[W, b]' E [W, b]`, shape (n, q, q)."""
    points, width = len(inverse), block.shared.shape[2]
    out, flat, w = np.zeros((points, width + 1, width + 1)), inverse.reshape(points, -1), block.shared
    w = w.reshape(block.noise.size, width)
    powers = [flat] * 3 if by is None else [flat, flat * by.reshape(points, -1), flat * by.reshape(points, -1) ** 2]
    products = [p @ e.T for p, e in zip(block.pairs, powers, strict=True)]
    out[:, *block.pair] = (products[0] + products[1] + products[2]).T
    b = right.reshape(points, -1)
    along = (flat * b) @ w
    if by is not None:
        along = np.where(block.shared_noise, (powers[1] * b) @ w, along)
    out[:, :width, width] = out[:, width, :width] = along
    out[:, width, width] = (flat * b * b).sum(1)
    return out


def _shared_at(block: Thin, spot: tuple[np.ndarray, np.ndarray], by: np.ndarray | None, points: int) -> np.ndarray:
    """`W` at one place of each model, (n, M, p)."""
    w = np.broadcast_to(block.shared[spot], (points, len(spot[0]), block.shared.shape[2]))
    return w if by is None else np.where(block.shared_noise, w * by[:, *spot][..., None], w)
