"""Weights of items as a sample, and means of unbiased squares over them, which may not fall below 0.

Items are drawn anew by the Bayesian bootstrap, tasks in their proportions: one weight an item for all rows of an answer, so
that rows move together. The mean of unbiased estimates of squares is limited at 0 last (`Excess`), see `excess_flips`.
"""

from __future__ import annotations

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Excess:
    """Mean excess flips of several pairs of contexts, and of several models."""

    estimate: np.ndarray
    """Unbiased, shape (pairs,)."""
    error: np.ndarray
    """Draws of what new items may make of it, shape (S, pairs)."""

    @property
    def draws(self) -> np.ndarray:
        """From 0 on, shape (S, pairs)."""
        return np.maximum(np.maximum(self.estimate, 0.0) + self.error, 0.0)

    def of(self, pair: int) -> Excess:
        """One pair of them."""
        return Excess(self.estimate[pair : pair + 1], self.error[:, pair : pair + 1])


class MeanExcess:
    """The mean over models of one pair, as they come: what one's chance took below 0 another's may make up."""

    def __init__(self) -> None:
        self.parts = 0
        self.estimate = self.error = np.zeros(1)

    def add(self, one: Excess) -> None:
        """One more model."""
        self.parts, self.estimate, self.error = self.parts + 1, self.estimate + one.estimate, self.error + one.error

    @property
    def draws(self) -> np.ndarray:
        """From 0 on, shape (S,)."""
        return Excess(self.estimate / self.parts, self.error / self.parts).draws[:, 0]


class ItemWeights:
    """Bayesian-bootstrap weights of items, drawn once an item, so that all rows of the answer share them."""

    def __init__(self, draws: int, size: int, rng: np.random.Generator) -> None:
        self.draws, self.size = draws, size
        self.raw = rng.standard_exponential((self.draws, self.size)) if self.draws * self.size <= 20_000_000 else None
        self.rng = rng
        self.none = rng.random(self.draws) < 0.5  # draws in which what never flipped never does, in no row
        self.gathered: tuple[np.ndarray, np.ndarray] | None = None  # models and rows of one log share their items

    def _of_items(self, items: np.ndarray) -> np.ndarray:
        """Weights of these items, shape (S, items)."""
        assert self.raw is not None
        if self.gathered is None or not np.array_equal(self.gathered[0], items):
            whole = np.array_equal(items, np.arange(self.size))
            self.gathered = items, self.raw if whole else self.raw[:, items]
        return self.gathered[1]

    def means(self, values: np.ndarray, items: np.ndarray) -> np.ndarray:
        """Draws of the means of `values` (rows, items) over new items, tasks kept in their proportions; shape (S, rows)."""
        known = np.isfinite(values)
        count = np.maximum(known.sum(1), 1)
        filled = np.where(known, values, 0.0)
        out = np.zeros((self.draws, len(values)))
        spread = np.zeros(len(values))
        for task in np.unique(items[0]):
            mine = items[0] == task
            size = known[:, mine].sum(1)
            if self.raw is None:  # many items: the bootstrap's normal limit
                mean = filled[:, mine].sum(1) / np.maximum(size, 1)
                spread += np.where(known[:, mine], (values[:, mine] - mean[:, None]) ** 2, 0.0).sum(1)
                out += mean * size / count
                continue
            weight = self._of_items(items[1, mine])
            alike = (known[:, mine] == known[:1, mine]).all()
            total = weight @ (known[:1, mine] if alike else known[:, mine]).T.astype(float)
            out += size / count * (weight @ filled[:, mine].T) / np.where(total > 0, total, 1.0)
        if self.raw is None:
            out += np.sqrt(spread) / count * self.rng.standard_normal(out.shape)
        return np.where(known.any(1), out, np.nan)

    def of_excess(self, excess: np.ndarray, items: np.ndarray) -> Excess:
        """The mean of `excess` (pairs, items) of each pair; NaN where a pair lacks the item or the replicates."""
        known = np.isfinite(excess)
        count = known.sum(1)
        estimate = np.where(known, excess, 0.0).sum(1) / np.maximum(count, 1)
        error = self.means(excess, items) - estimate
        never = np.flatnonzero((np.where(known, excess, 0.0) == 0).all(1) & (count > 0))
        # No item flipped: the bootstrap would be certain that none ever does.
        rare = self.rng.beta(1.0, np.maximum(count[never], 1), (self.draws, len(never)))
        error[:, never] = np.where(self.none[:, None], 0.0, rare)
        return Excess(estimate, error)
