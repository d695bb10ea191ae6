"""How the arms of a log share items, and where items were repeated: what pairs, flips and gaps stand on."""

from __future__ import annotations

import dataclasses

import numpy as np

from divergence.cells import Cells
from divergence.cells.cells import MISSING
from divergence.cells.overlap import deployed_regimes
from divergence.numerics import combinations


@dataclasses.dataclass(frozen=True, eq=False)
class ItemSharing:
    """Counts of items, which are items with an identity: a row that stands for many trials has none."""

    items: dict[str, int]
    """Items by regime."""
    common: int
    """Items that were judged in both regimes, by whatever models: their difficulty is the same on both sides."""
    in_both: int
    """Items that one model answered in both regimes: what a paired gap stands on."""
    in_several: int
    """Items that one model answered in two arms or more."""


def item_sharing(cells: Cells) -> ItemSharing:
    """Count how items are shared."""
    counts = cells.counts.take((cells.counts["n"] > 0) & (cells.counts["item"] != MISSING))
    deployed = deployed_regimes(cells)[counts["regime"]]
    _, item = combinations(counts["task"], counts["item"])
    arms, _ = combinations(counts["model"], item, counts["regime"], counts["context"])
    pairs, pair = combinations(arms[0], arms[1]) if arms.shape[1] else (np.zeros((2, 0), int), np.zeros(0, int))
    several = np.bincount(pair, minlength=pairs.shape[1]) >= 2
    live = deployed_regimes(cells)[arms[2]] if arms.shape[1] else np.zeros(0, bool)
    seen = np.zeros((2, pairs.shape[1]), bool)
    seen[live.astype(int), pair] = True
    return ItemSharing(
        items={
            "evaluation": len(np.unique(item[~deployed])),
            "deployment": len(np.unique(item[deployed])),
        },
        common=len(np.intersect1d(item[deployed], item[~deployed])),
        in_both=len(np.unique(pairs[1][seen.all(0)])),
        in_several=len(np.unique(pairs[1][several])),
    )
