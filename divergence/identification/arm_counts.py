"""Rows, items and rates of each arm: one (model, regime, context) with judged rows."""

from __future__ import annotations

import dataclasses

import numpy as np

from divergence.cells import Cells
from divergence.cells.cells import MISSING
from divergence.cells.overlap import deployed_regimes
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

    def __len__(self) -> int:
        return len(self.model)

    @property
    def rate(self) -> np.ndarray:
        """Raw mean of the outcome of each arm, shape (A,): what a plain group-by shows."""
        return self.total / self.trials


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
    )


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
