"""The checks' formulas where the covariance of the arms is kept in blocks: nothing of arms times arms.

A context's arms are of different models, so that their precision given all others is a diagonal less what models share: with
`G = D^-1 W R C^-1/2` of all arms, made once a draw for all contexts, and l the error of each in its own block,

    S^-1 = D^-1 - G G',     held-out values | all others ~ N(prediction, l (I + A' A) l),     I + A' A = (I - l G G' l)^-1

of rank p beyond the diagonal, so that its density is Woodbury's again. Single arms that stand apart are rank one on top.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
from scipy.special import logsumexp, ndtr

from divergence.joint.block_hierarchy import BlockHierarchy
from divergence.joint.blocks import buckets, factor, forward
from divergence.joint.noise_in_blocks import noise_blocks
from divergence.joint.paired import Measured

DRAWS = 250  # right sides of one stack
BYTES = 2**26  # of a stack of draws, and what each makes of all arms


def noise_form(noise: Measured, error: np.ndarray, jitter: float) -> np.ndarray:
    """`e' V^-1 e` for errors (S, A) of the parts' covariance, the own part of each raised by `jitter` variances; (S,)."""
    noise = dataclasses.replace(noise, own=noise.own + jitter * noise.variance)
    shared = shared_noise(noise.easy, noise.moved, noise.place)
    gram, squares, along = np.zeros((shared.shape[1],) * 2), np.zeros(len(error)), np.zeros((len(error), shared.shape[1]))
    for bucket in buckets(noise.model):
        low = factor(noise_blocks(noise, bucket)[None])
        w = forward(low, np.moveaxis(bucket.take(shared.T), 0, 2)[None])[0].reshape(-1, shared.shape[1])
        gram += w.T @ w
        for begin in range(0, len(error), DRAWS):
            piece = slice(begin, begin + DRAWS)
            e = forward(low, np.moveaxis(bucket.take(error[piece]), 0, 2)[None])[0].reshape(len(w), -1)
            squares[piece] += np.square(e).sum(0)
            along[piece] += e.T @ w
    return squares - np.einsum("sp,sp->s", along, np.linalg.solve(np.eye(len(gram)) + gram, along.T).T)


def shared_noise(easy: np.ndarray, moved: np.ndarray, place: np.ndarray) -> np.ndarray:
    """The columns of noise that models share, shape (A, p): easy items, and what moves each context's contrasts."""
    spots = np.unique(place)
    return np.concatenate([easy[:, None], np.where(place[:, None] == spots, moved[:, None], 0.0)], 1)


@dataclasses.dataclass(frozen=True)
class HeldOut:
    """The predictive law of one context's values, one a draw."""

    arms: np.ndarray
    """The held-out arms, shape (h,)."""
    scale: np.ndarray
    """`l`, shape (S, h)."""
    error: np.ndarray
    """`a`, shape (S, h)."""
    across: np.ndarray
    """`A`, shape (S, p, h)."""
    apart: np.ndarray
    """Variances of combinations that stand apart, shape (S, J)."""
    chance: float
    """With which each arm does so, for each of the J."""

    @property
    def left(self) -> np.ndarray:
        """Held-out values less their predictions, shape (S, h)."""
        return self.scale * self.error

    @property
    def variance(self) -> np.ndarray:
        """Predictive variances where none stands apart, shape (S, h)."""
        return self.scale**2 * (1 + np.square(self.across).sum(1))

    @property
    def mean_variance(self) -> np.ndarray:
        """Predictive variance of the mean over the arms, shape (S,)."""
        along = np.einsum("sph,sh->sp", self.across, self.scale)
        return (np.square(self.scale).sum(1) + np.square(along).sum(1)) / self.scale.shape[1] ** 2

    def of(self, keep: np.ndarray) -> HeldOut:
        """The same for some of the arms, indices (k,)."""
        return dataclasses.replace(
            self,
            arms=self.arms[keep],
            scale=self.scale[:, keep],
            error=self.error[:, keep],
            across=self.across[:, :, keep],
        )

    def shares(self) -> tuple[float, float]:
        """Of the law in which none stands apart, and of each arm with each of the J variances."""
        count = self.apart.shape[1] * len(self.arms)
        return 1 / (1 + count * self.chance), self.chance / (1 + count * self.chance)

    def log_density(self) -> np.ndarray:
        """At the observed values, shape (S,)."""
        width, size = self.across.shape[1], len(self.arms)
        inner = np.eye(width) + np.matmul(self.across, self.across.swapaxes(1, 2))
        along = np.einsum("sph,sh->sp", self.across, self.error)
        solved = np.linalg.solve(inner, along[:, :, None])[:, :, 0]
        plain = -0.5 * (
            np.square(self.error).sum(1)
            - (along * solved).sum(1)
            + np.linalg.slogdet(inner)[1]
            + 2 * np.log(self.scale).sum(1)
            + size * np.log(2 * np.pi)
        )
        if not self.apart.shape[1]:
            return plain
        root = np.linalg.solve(np.linalg.cholesky(inner), self.across)
        precision = (1 - np.square(root).sum(1)) / self.scale**2
        pulled = (self.error - np.einsum("sph,sp->sh", self.across, solved)) / self.scale
        more = self.apart[:, :, None] * precision[:, None]
        one = plain[:, None, None] - 0.5 * np.log1p(more)
        one = one + 0.5 * self.apart[:, :, None] * pulled[:, None] ** 2 / (1 + more)
        none, each = self.shares()
        parts = np.concatenate([plain[:, None] + np.log(none), one.reshape(len(plain), -1) + np.log(each)], 1)
        return np.asarray(logsumexp(parts, axis=1))

    def below(self) -> np.ndarray:
        """Predictive probability below each observed value, shape (S, h)."""
        left, variance = self.left, self.variance
        plain = ndtr(left / np.sqrt(variance))
        none, each = self.shares()
        out = (none + each * self.apart.shape[1] * (len(self.arms) - 1)) * plain
        for k in range(self.apart.shape[1]):
            out += each * ndtr(left / np.sqrt(variance + self.apart[:, k, None]))
        return out


def held_out(
    target: BlockHierarchy, x: np.ndarray, groups: list[np.ndarray], apart: list[int], alone: list[int]
) -> Iterator[tuple[int, slice, HeldOut]]:
    """The predictive law of each group of arms, one a model at most, given all other arms, at points x (S, dims).

    Piece by piece of the draws: which group, which draws, their law. `apart`: variances of combinations that stand apart;
    `alone`: those of them that held-out arms have, which nobody knew.
    """
    s = target.variances(x)
    known = s.copy()
    known[:, alone] = 0.0
    size, width = len(target.value), len(target.shared.variance)
    most = max(len(part.bucket.arms) for part in target.parts)
    step = max(1, BYTES // (8 * (size * (2 * width + 3 * most) + 4 * width**2)))
    for begin in range(0, len(x), step):
        piece = slice(begin, begin + step)
        own, pulled, along = _precision(target, known[piece], s[piece])
        for k, held in enumerate(groups):
            scale = 1 / np.sqrt(own[:, held])
            unit = along[:, held] * scale[:, :, None]
            across = _across(unit)
            error = pulled[:, held] * scale
            error = error + np.einsum("sph,sp->sh", across, np.einsum("sph,sh->sp", across, error))
            yield k, piece, HeldOut(held, scale, error, across, s[piece][:, apart], 1 / max(size - 1, 1))


def _precision(target: BlockHierarchy, known: np.ndarray, s: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`S^-1` as `D^-1 - G G'`: its own diagonal of `D^-1` (n, A), `S^-1 v` (n, A), and `G` (n, A, p)."""
    size, width = len(target.value), len(target.shared.variance)
    own, solved, gram = np.empty((len(s), size)), np.empty((len(s), size, width + 1)), np.zeros((len(s),) + (width + 1,) * 2)
    for part in target.parts:
        inverse = target.inverses(part, known)
        right = np.concatenate([part.columns, part.bucket.take(target.value)[:, :, None]], 2).swapaxes(0, 1)
        mine = np.matmul(inverse, right)
        gram += np.matmul(right.reshape(-1, width + 1).T, mine.reshape(len(s), -1, width + 1))
        there = part.bucket.there.T
        arms = part.bucket.arms.T[there]
        own[:, arms], solved[:, arms] = np.einsum("nmkk->nmk", inverse)[:, there], mine[:, there]
    inner, root = target.capacity(gram, target.shared.variances(s))
    back = np.linalg.inv(inner)
    along = np.matmul(solved[..., :width] * root[:, None], back.swapaxes(1, 2))
    middle = np.matmul(back, (root * gram[:, :width, width])[:, :, None])
    return own, solved[..., width] - np.matmul(along, middle)[..., 0], along


def _across(unit: np.ndarray) -> np.ndarray:
    """`A` with `I + A' A = (I - U U')^-1` for U (S, h, p), of as few rows as there are arms or columns."""
    if unit.shape[1] > unit.shape[2]:
        inner = np.eye(unit.shape[2]) - np.matmul(unit.swapaxes(1, 2), unit)
        return np.linalg.solve(np.linalg.cholesky(inner), unit.swapaxes(1, 2))
    values, vectors = np.linalg.eigh(np.matmul(unit, unit.swapaxes(1, 2)))
    values = np.maximum(values, 0.0)
    return np.sqrt(values / (1 - values))[:, :, None] * vectors.swapaxes(1, 2)


def difference_density(noise: Measured, value: np.ndarray, mine: np.ndarray, theirs: np.ndarray, jitter: float) -> float:
    """Log density of the differences of pairs of arms of one model each, (k,), under the noise of both."""
    own = noise.own[mine] + noise.own[theirs] + jitter * noise.variance[mine]
    own += (noise.anchor[mine] - noise.anchor[theirs]) ** 2 + (noise.luck[mine] - noise.luck[theirs]) ** 2
    shared = shared_noise(noise.easy, noise.moved, noise.place)
    w = (shared[mine] - shared[theirs]) / np.sqrt(own)[:, None]
    e = (value[mine] - value[theirs]) / np.sqrt(own)
    inner = np.eye(w.shape[1]) + w.T @ w
    square = e @ e - (w.T @ e) @ np.linalg.solve(inner, w.T @ e)
    return float(-0.5 * (square + np.linalg.slogdet(inner)[1] + np.log(2 * np.pi * own).sum()))
