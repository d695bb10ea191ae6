"""Which method a log gets when none is asked for, by a rule that is written here and said in every result.

| the log | method |
|---|---|
| has rows without item, outcomes other than 0 and 1, or more items x arms than the dense kernel holds | arm-level |
| has arms of one regime that share less than `SHARED_MIN` of their items | item-level |
| any other | arm-level |

A spec that leaves out `item_movement` takes the item-level one, without `item_difficulty` the arm-level one.

Why: 10 to 12 worlds each of 6 models and 6 contexts, 90 % intervals. Where each arm tried its own quarter of 120 items, the
arm-level method held .85 of bench and .86 of deployed levels, the item-level one .90 and .93 with intervals 6 % narrower.
Where every arm tried the same 25 items they are equals: bench .89 and .89, deployed .85 and .82, gaps .96 and .96; with
scores near 1 .97 and .97, .93 and .93; with copies .90 and .92, .98 and .92. Then the one that assumes less is taken.
"""

from __future__ import annotations

import numpy as np

from divergence.cells import Cells
from divergence.errors import InputError
from divergence.joint.importance import Importance
from divergence.joint.item_level import ItemLevel
from divergence.joint.item_levels import CELLS_MAX
from divergence.joint.spec import Spec

SHARED_MIN = 0.5  # below it most of an arm's neighbours were judged on other items


def choose_method(cells: Cells, spec: Spec | None = None) -> tuple[Importance | ItemLevel, str]:
    """The method, and why in one sentence. Raises InputError where none can leave out the terms that the spec leaves out."""
    counts = cells.counts.take(cells.counts["n"] > 0)
    spec, reason = spec or Spec(), why_not_items(cells)
    if not spec.item_movement:
        if reason or not spec.item_difficulty:
            raise InputError("item_movement can be left out by the item-level method only, which this log does not take: "
                             + (reason or "item_difficulty is off, too"))
        return ItemLevel(), "item-level, because item_movement is off"
    reason = reason or ("" if spec.item_difficulty else "item_difficulty is off")
    if reason:
        return Importance(), f"arm-level, because {reason}"
    keys, arm = np.unique(np.stack([counts["model"], counts["regime"], counts["context"]]), axis=1, return_inverse=True)
    _, item = np.unique(np.stack([counts["task"], counts["item"]]), axis=1, return_inverse=True)
    tried = np.zeros((keys.shape[1], item.max() + 1), bool)
    tried[arm.ravel(), item.ravel()] = True
    shared = _shared(tried, keys[1])
    if shared < SHARED_MIN:
        return ItemLevel(), (f"item-level, because arms of one regime share {100 * shared:.0f} % of their items, less than "
                             f"{100 * SHARED_MIN:.0f} %")
    return Importance(), (f"arm-level, because arms of one regime share {100 * shared:.0f} % of their items, "
                          f"at least {100 * SHARED_MIN:.0f} %")


def why_not_items(cells: Cells) -> str:
    """Why the item-level method cannot take this log; '' if it can."""
    counts = cells.counts.take(cells.counts["n"] > 0)
    if (counts["item"] < 0).any():
        return "some rows have no item of their own"
    if cells.kind != "binary" or not np.array_equal(counts["y"], np.round(counts["y"])):
        return f"{cells.outcome} is not a count of successes"
    arms = len(np.unique(np.stack([counts[k] for k in ("model", "regime", "context", "wave", "task")]), axis=1).T)
    items = len(np.unique(np.stack([counts["task"], counts["item"]]), axis=1).T)
    return f"{items} items x {arms} arms are more than {CELLS_MAX} cells" if arms * items > CELLS_MAX else ""


def _shared(tried: np.ndarray, regime: np.ndarray) -> float:
    """Mean share of an arm's items that another arm of its regime tried, too; 1 where there is no other."""
    shares = []
    for r in np.unique(regime):
        mine = tried[regime == r].astype(float)
        if len(mine) > 1:
            common = (mine @ mine.T) / mine.sum(1)[:, None]
            shares.append((common.sum(1) - 1) / (len(mine) - 1))
    return float(np.concatenate(shares).mean()) if shares else 1.0
