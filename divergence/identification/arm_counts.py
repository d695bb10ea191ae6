"""Rows, items and rates of each arm: one (model, regime, context) with judged rows.

Rows of one session are alike, and plain counts do not see it. How much less they say is seen in the blocks of whole
sessions: `widening` is the ratio of the standard error over blocks to that of independent items, with Student's quantile
for so few sessions in place of the normal one.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from divergence.cells import Cells
from divergence.cells.cells import MISSING
from divergence.cells.overlap import deployed_regimes
from divergence.cells.random_blocks import block_sums
from divergence.numerics import combinations


@dataclasses.dataclass(frozen=True, eq=False)
class ArmCounts:
    """Arrays over the A arms of a log, in the order of (model, regime, context) codes."""

    model: np.ndarray
    """Code of the model, shape (A,)."""
    deployed: np.ndarray
    """Is the regime deployment? Shape (A,)."""
    context: np.ndarray
    """Code of the context, shape (A,)."""
    rows: np.ndarray
    """Log rows, unjudged ones included, shape (A,)."""
    judged: np.ndarray
    """Judged rows, shape (A,)."""
    trials: np.ndarray
    """Trials behind the judged rows, shape (A,)."""
    total: np.ndarray
    """Sum of the outcome over trials, shape (A,): `total / trials` is the raw rate."""
    items: np.ndarray
    """Items with an identity, shape (A,)."""
    repeated: np.ndarray
    """Items with two trials or more by one scorer, shape (A,): several judgements of one answer are no trials of it."""
    squares: np.ndarray
    """Sum of the squares of the outcome over trials, shape (A,)."""
    session_effect: np.ndarray
    """Variance of the rate over sessions by that over independent items, at least 1, shape (A,); 1 without sessions."""
    blocks: np.ndarray
    """Filled blocks of clusters, shape (A,): about the sessions where these are few; 0 where none is logged."""

    def __len__(self) -> int:
        return len(self.model)

    @property
    def rate(self) -> np.ndarray:
        """Raw mean of the outcome of each arm, shape (A,): what a plain group-by shows."""
        return self.total / self.trials

    @property
    def units(self) -> np.ndarray:
        """What is independent: items with an identity, else trials, shape (A,)."""
        return np.maximum(np.where(self.items > 0, self.items, self.trials), 1)

    @property
    def variance(self) -> np.ndarray:
        """Variance of one outcome, shape (A,); of zeros and ones with a success and a failure more, since no rate of 0 or 1
        is known without error."""
        more = (self.total + 1) / (self.trials + 2)
        spread = (self.squares - self.trials * self.rate**2) / np.maximum(self.trials - 1, 1)
        return np.where(self.squares < self.total - 1e-9 * self.trials, np.maximum(spread, 0.0), more * (1 - more))

    def widening(self, clear: float) -> np.ndarray:
        """By how much `clear` standard errors are wider with sessions than without, shape (A,)."""
        from scipy.special import ndtr, stdtrit

        known = self.blocks > 1
        quantile = stdtrit(np.where(known, self.blocks - 1, 1), ndtr(clear))
        return np.where(known, np.sqrt(self.session_effect) * quantile / clear, 1.0)


def arm_counts(cells: Cells) -> ArmCounts:
    """Count the arms of a log."""
    counts = cells.counts.take(cells.counts["n"] > 0)
    keys, arm = combinations(counts["model"], counts["regime"], counts["context"])
    size = keys.shape[1]

    def total(values: np.ndarray) -> np.ndarray:
        return np.bincount(arm, values, size)

    named = counts["item"] != MISSING
    pairs, pair = combinations(arm[named], counts["task"][named], counts["item"][named])
    trials = np.zeros(pairs.shape[1])
    if len(trials):
        judged = combinations(pair, counts["scorer"][named])[1]
        np.maximum.at(trials, pair, np.bincount(judged, counts["n"][named])[judged])
    owner = pairs[0] if pairs.shape[1] else np.zeros(0, int)
    judged = counts["rows"] - counts["unjudged"]
    effect, blocks = _sessions(cells, keys, total(counts["grouped"]))
    return ArmCounts(
        model=keys[0],
        deployed=deployed_regimes(cells)[keys[1]],
        context=keys[2],
        rows=_all_rows(cells, keys),
        judged=total(judged),
        trials=total(counts["n"]),
        total=total(counts["y"]),
        items=np.bincount(owner, minlength=size),
        repeated=np.bincount(owner[trials >= 2], minlength=size),
        squares=total(counts["yy"]),
        session_effect=effect,
        blocks=blocks,
    )


def _sessions(cells: Cells, keys: np.ndarray, grouped: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How much wider the rate of each arm is over blocks of whole sessions, as a variance, and how many blocks there are."""
    effect, blocks = np.ones(keys.shape[1]), np.zeros(keys.shape[1])
    if not grouped.any():
        return effect, blocks
    for code, regime in enumerate(cells.levels["regime"]):
        mine = np.flatnonzero((keys[1] == code) & (grouped > 0))
        sums = block_sums(cells, "score", regime)
        n, y, yy = (each[:, keys[0, mine], keys[2, mine]] for each in (sums.n, sums.y, sums.yy))
        whole, filled = n.sum(0), (n > 0).sum(0)
        mean = y.sum(0) / np.maximum(whole, 1)
        over_rows = np.maximum(yy.sum(0) - whole * mean**2, 0.0)
        over_blocks = np.square(y - mean * n).sum(0) * filled / np.maximum(filled - 1, 1)
        effect[mine] = np.maximum(over_blocks / np.where(over_rows > 0, over_rows, np.inf), 1.0)
        blocks[mine] = filled
    return effect, blocks


def _all_rows(cells: Cells, keys: np.ndarray) -> np.ndarray:
    """Log rows of each arm, those of cells without a judged row included."""
    place = {tuple(key): k for k, key in enumerate(keys.T)}
    found, where = combinations(*(cells.counts[k] for k in ("model", "regime", "context")))
    rows = np.bincount(where, cells.counts["rows"], found.shape[1])
    out = np.zeros(keys.shape[1])
    for key, number in zip(found.T, rows, strict=True):
        if tuple(key) in place:
            out[place[tuple(key)]] = number
    return out
