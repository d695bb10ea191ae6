"""The checks' formulas where the covariance of the arms is kept in blocks: nothing of arms times arms.

A context is held out by putting its arm last in each model's block. Then the last row of the Cholesky factor holds what
the model's other arms say about it, and with `C` the capacity of all other arms and `a = (y - w' u) / l` the held-out values
less their predictions, each in units of its own block's error l,

    held-out values | all others ~ N(prediction, l (I + A' A) l),     A = C^-1/2 R W'

of rank p beyond the diagonal, so that its density is Woodbury's again. Single arms that stand apart are rank one on top.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy.special import logsumexp, ndtr

from divergence.joint.block_hierarchy import BlockHierarchy, noise_blocks
from divergence.joint.blocks import buckets, factor, forward
from divergence.joint.paired import Measured

DRAWS = 250  # right sides of one stack


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


def held_out(target: BlockHierarchy, x: np.ndarray, held: np.ndarray, apart: list[int], alone: list[int]) -> HeldOut:
    """The predictive law of some arms, one a model at most, at points x (S, dims).

    `apart`: variances of combinations that stand apart; `alone`: those of them that held-out arms have, which nobody knew.
    """
    s = target.variances(x)
    known = s.copy()
    known[:, alone] = 0.0
    width = len(target.shared.variance)
    out = np.empty((len(x), len(held))), np.empty((len(x), len(held))), np.empty((len(x), width, len(held)))
    where = np.full(len(target.value), -1)
    where[held] = np.arange(len(held))
    step = target.step
    for begin in range(0, len(x), step):
        piece = slice(begin, begin + step)
        gram, last = np.zeros((len(s[piece]), width + 1, width + 1)), []
        for part in target.parts:
            arms = part.bucket.arms
            mine = part.bucket.there & (where[np.maximum(arms, 0)] >= 0)
            order = np.argsort(mine, axis=0, kind="stable")  # the held-out arm last
            blocks = target.effects(part, known[piece]) + part.noise
            blocks = np.take_along_axis(blocks, order[None, :, None], 1)
            blocks = np.take_along_axis(blocks, order[None, None], 2)
            right = np.concatenate([part.columns, part.bucket.take(target.value)[:, :, None]], 2)
            low = factor(blocks)
            solved = forward(low, np.take_along_axis(right, order[:, :, None], 0)[None])
            models = np.flatnonzero(mine.any(0))
            place = where[np.take_along_axis(arms, order, 0)[-1, models]]
            last.append((place, low[:, -1, -1, models].copy(), solved[:, -1, models].copy()))
            solved[:, -1, models] = 0.0
            flat = solved.reshape(len(solved), -1, width + 1)
            gram += np.matmul(flat.swapaxes(1, 2), flat)
        inner, root = target.capacity(gram, target.shared.variances(s[piece]))
        middle = np.linalg.solve(inner, (root * gram[:, :width, width])[:, :, None])
        centre = root * np.linalg.solve(inner.swapaxes(1, 2), middle)[:, :, 0]
        for place, scale, rows in last:
            out[0][piece, place] = scale
            out[1][piece, place] = rows[..., width] - np.einsum("nmp,np->nm", rows[..., :width], centre)
            out[2][piece, :, place] = np.linalg.solve(inner, root[:, :, None] * rows[..., :width].swapaxes(1, 2))
    return HeldOut(held, *out, s[:, apart], 1 / max(len(target.value) - 1, 1))


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
