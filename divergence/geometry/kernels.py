"""Which kernel sums does a two-sample test need? One number a pair of sessions and bandwidth, and nothing a row.

Gaussian kernels k(u, v) = exp(-|u - v|^2 / (2 s^2)) at several bandwidths s (same unit as the embedding). For sessions
g, h the sums K_gh = sum over rows u of g and v of h of k(u, v) are all that MMD, its permutations and its jackknife use.

    exact      `session_gram`: every pair of rows, in blocks: O(n^2 d) time, O(n) memory; also the oracle of the other
    features   `feature_sums`: K = T T' with T_g = sum of random Fourier features phi(u) of the rows of g, one pass,
               O(n d D), mergeable; phi has length 1, so a row's k(u, u) = 1 is exact

Above `GROUPS` sessions a side, sessions are put together by a hash of their label (whole sessions stay together, so
that exchanging groups is as valid as exchanging sessions). Source: Rahimi and Recht 2007.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from divergence.errors import InputError
from divergence.geometry.embedder import Embedder, embedder_of, one_embedder
from divergence.geometry.usable_rows import Labels, labels, scaled, table, usable

GROUPS = 256  # a side: 2000 permutations of 2 x 256 groups take a second, more groups sharpen nothing
# Bandwidths over the median distance, in half octaves. Wider kernels than the median see little more than the mean, which
# the median one sees: in simulations they cost power against scales and gained none against shifts. The narrowest ones
# see rings and clusters: power .31 against .25 without the first step, at 300 simulations of 50 rows of 5 numbers.
LADDER = 2.0 ** np.arange(-2.5, 0.25, 0.5)
MEDIAN_ROWS = 512  # 130,000 distances give the median to 1 %
ROWS = 4096  # of a chunk of features: 16 MB of phases at 1024 features
GRAM_ROWS = 512  # of a block of the exact sums


@dataclasses.dataclass(frozen=True)
class Kernel:
    """Gaussian kernels at W bandwidths, and the random frequencies that stand for them."""

    bandwidths: tuple[float, ...]
    """W standard deviations s, in the unit of the embedding."""
    centre: tuple[float, ...]
    """What is subtracted from every row before its phase is taken: changes no kernel, keeps the digits of float32."""
    features: int = 1024
    """Numbers a row and bandwidth: half cosines, half sines; the error of a mean kernel is about 1 / sqrt(features)."""
    seed: int = 0
    """Seed of the frequencies: shards that are merged share it."""

    def frequencies(self) -> np.ndarray:
        """(d, features / 2) of standard normal frequencies, float32; bandwidth s divides the phase."""
        shape = len(self.centre), self.features // 2
        return np.random.default_rng(self.seed).standard_normal(shape, dtype=np.float32)


@dataclasses.dataclass(frozen=True)
class FeatureSums:
    """Sums of random features of one sample, by session: what shards send each other."""

    kernel: Kernel
    """The kernel whose features were summed."""
    keys: np.ndarray
    """G keys of sessions, or group numbers above `GROUPS` sessions."""
    n: np.ndarray
    """Rows of each, (G,)."""
    total: np.ndarray
    """Sums of features, (G, W, D) float64."""
    sessions: np.ndarray
    """Sorted keys of all sessions; empty where rows are independent."""
    rejected: int
    """Rows set aside."""
    embedder: Embedder | None = None
    """Who made the rows; None if nobody said."""

    def merge(self, other: FeatureSums) -> FeatureSums:
        """The sums of both sets of rows. Raises InputError where the kernels differ."""
        if self.kernel != other.kernel:
            raise InputError("feature sums of two kernels cannot be merged: make one kernel and use it for every shard")
        if (len(self.sessions) == 0) != (len(other.sessions) == 0):
            raise InputError("feature sums with sessions and with cluster=None cannot be merged: write the same for all")
        sessions = np.union1d(self.sessions, other.sessions)
        keys = np.concatenate([self.keys, other.keys])
        found, where = np.unique(fold(keys, sessions), return_inverse=True)
        n, total = np.zeros(len(found)), np.zeros((len(found), *self.total.shape[1:]))
        np.add.at(n, where, np.concatenate([self.n, other.n]))
        np.add.at(total, where, np.concatenate([self.total, other.total]))
        return FeatureSums(self.kernel, found, n, total, sessions, self.rejected + other.rejected, one_embedder(self, other))


@dataclasses.dataclass(frozen=True)
class Sample:
    """Usable rows of one side in the order of their groups."""

    rows: np.ndarray
    """(n, d)."""
    keys: np.ndarray
    """Group key of each row, ascending."""
    sessions: np.ndarray
    """Sorted keys of all sessions; empty where rows are independent."""
    rejected: int
    """Rows set aside."""
    embedder: Embedder | None = None
    """Who made the rows; None if nobody said."""


def fold(keys: np.ndarray, sessions: np.ndarray) -> np.ndarray:
    """Session keys as they are, or group numbers once there are more than `GROUPS` sessions."""
    return keys % np.uint64(GROUPS) if len(sessions) > GROUPS else keys


def sample(values: object, cluster: Labels | None, name: str, unit_length: bool = False) -> Sample:
    """Admit the rows of one side. Raises InputError where none is usable."""
    made, array = embedder_of(values), table(values, name)
    keep = usable(array, unit_length)
    if not keep.any():
        raise InputError(f"{name} has no usable rows ({len(array)} set aside): give finite embeddings")
    if cluster is None:
        keys, sessions = np.arange(keep.sum(), dtype=np.uint64) % np.uint64(GROUPS), np.zeros(0, np.uint64)
    else:
        keys = labels(cluster, len(array), f"cluster of {name}")[keep]
        sessions = np.unique(keys)
        keys = fold(keys, sessions)
    order = np.argsort(keys, kind="stable")
    return Sample(scaled(array[keep], unit_length)[order], keys[order], sessions, int((~keep).sum()), made)


def kernel_for(
    x: object, y: object, *, bandwidths: tuple[float, ...] | None = None, features: int = 1024, seed: int = 0
) -> Kernel:
    """A kernel for these rows: the given bandwidths, or `LADDER` times the median distance of rows of both sides.

    Raises InputError for bandwidths that are not positive, an odd number of features, or rows that are all the same.
    """
    x, y = table(x, "x"), table(y, "y")
    if features < 2 or features % 2:
        raise InputError(f"features is {features}: choose an even number, half are cosines and half sines")
    pick = np.random.default_rng(seed)
    some = []
    for side in (x, y):  # each side in proportion to its rows, so that the labels of the sides do not matter
        found = np.flatnonzero(usable(side))
        share = -(-MEDIAN_ROWS * len(found) // (len(x) + len(y)))
        some.append(side[pick.permutation(found)[:share]].astype(np.float64))
    pooled = np.concatenate(some)
    centre = tuple(pooled.mean(0).tolist()) if len(pooled) else (0.0,) * x.shape[1]
    if bandwidths is None:
        distances = np.sqrt(squared_distances(pooled - centre, pooled - centre))[np.triu_indices(len(pooled), 1)]
        spread = np.median(distances) if len(distances) else 0.0
        spread = spread if spread > 0 else max(distances.mean(), 0.0) if len(distances) else 0.0
        if spread == 0:
            raise InputError("all rows of x and y are the same: give embeddings that differ, or bandwidths")
        bandwidths = tuple((LADDER * spread).tolist())
    if not len(bandwidths) or min(bandwidths) <= 0:
        raise InputError(f"bandwidths are {bandwidths}: give positive lengths in the unit of the embedding")
    return Kernel(tuple(float(b) for b in bandwidths), centre, features, seed)


def feature_sums(
    values: object, kernel: Kernel, *, cluster: Labels | None, unit_length: bool = False, name: str = "rows"
) -> FeatureSums:
    """Sums of random features of rows (n, d) by session; cluster None: rows are independent. Raises InputError."""
    return sums_of(sample(values, cluster, name, unit_length), kernel)


def sums_of(part: Sample, kernel: Kernel) -> FeatureSums:
    """`feature_sums` of rows that were admitted."""
    if part.rows.shape[1] != len(kernel.centre):
        raise InputError(f"rows have {part.rows.shape[1]} dimensions, the kernel was made for {len(kernel.centre)}")
    found, counts = np.unique(part.keys, return_counts=True)
    total = np.zeros((len(found), len(kernel.bandwidths), kernel.features))
    frequencies, half = kernel.frequencies(), kernel.features // 2
    for start in range(0, len(part.rows), ROWS):
        rows, keys = part.rows[start : start + ROWS], part.keys[start : start + ROWS]
        phases = (rows - np.array(kernel.centre)).astype(np.float32) @ frequencies
        groups, starts = np.unique(keys, return_index=True)
        slots = np.searchsorted(found, groups)
        for w, bandwidth in enumerate(kernel.bandwidths):
            scaled_phases = phases * np.float32(1 / bandwidth)
            total[slots, w, :half] += np.add.reduceat(np.cos(scaled_phases), starts, axis=0)
            total[slots, w, half:] += np.add.reduceat(np.sin(scaled_phases), starts, axis=0)
    return FeatureSums(
        kernel, found, counts.astype(float), total / np.sqrt(half), part.sessions, part.rejected, part.embedder
    )


def feature_gram(first: FeatureSums, second: FeatureSums) -> np.ndarray:
    """K of the groups of both sides, (W, G, G), from their feature sums."""
    if first.kernel != second.kernel:
        raise InputError("the two sides have feature sums of other kernels: make one kernel and use it for both")
    total = np.concatenate([first.total, second.total]).swapaxes(0, 1)
    return total @ total.swapaxes(1, 2)


def session_gram(first: Sample, second: Sample, bandwidths: tuple[float, ...]) -> np.ndarray:
    """The same K, exactly, from every pair of rows in float64."""
    rows = np.concatenate([first.rows, second.rows]).astype(np.float64)
    rows -= rows.mean(0)
    sizes = [np.unique(side.keys, return_counts=True)[1] for side in (first, second)]
    group = np.repeat(np.arange(sum(len(s) for s in sizes)), np.concatenate(sizes))
    starts = np.flatnonzero(np.r_[True, group[1:] != group[:-1]])
    gram = np.zeros((len(bandwidths), len(starts), len(starts)))
    for start in range(0, len(rows), GRAM_ROWS):
        block = slice(start, start + GRAM_ROWS)
        squared = squared_distances(rows[block], rows)
        for w, bandwidth in enumerate(bandwidths):
            sums = np.add.reduceat(np.exp(squared * (-0.5 / bandwidth**2)), starts, axis=1)
            np.add.at(gram[w], group[block], sums)
    return (gram + gram.swapaxes(1, 2)) / 2


def squared_distances(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """|u - v|^2 of all pairs of rows; rounding below 0 is raised to 0."""
    squared = (first**2).sum(1)[:, None] + (second**2).sum(1)[None] - 2 * first @ second.T
    return np.maximum(squared, 0)
