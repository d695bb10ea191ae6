"""Which method a log gets when none is asked for, by a rule that is written here and said in every result.

| the log | method |
|---|---|
| has rows without item, outcomes but 0 and 1, or more arms, or items x arms, than the dense kernel holds | arm-level |
| has arms of one regime that share less than `SHARED_MIN` of their items | item-level |
| any other | arm-level |

A spec that leaves out `item_movement` takes the item-level one, without `item_difficulty` the arm-level one.

Why (`benchmarks/choice.md`): where every arm tried the same items, or a random share of them, both hold what they
promise, the item-level method with intervals a few per cent narrower; then the one that assumes less would do. But
nobody knows why an arm tried the items it did. Where contexts try the easier or the harder ones, the mean over an
arm's own items answers another question: with three quarters of the items each, 90 % intervals of context effects
held .60 of the truths at arm level and .85 at item level; with half of them .20 and .88. So arms are taken as they are
only where they share nearly all of their items. Where traffic replays the bench, what the bench says of items that a
context did not try has since been added at arm level, too (`replayed_part`), and .87 and .91 hold there, in intervals
that are a twentieth to a tenth wider; without a bench nothing says it. Where all contexts together tried a part of the
bench's items only, that is the one way: predicted from the bench's answers alone the others are taken to be as hard as those
that were tried (two models on the harder two thirds: intervals of effects that are nothing held .45 of them, and .93 so).
"""

from __future__ import annotations

import numpy as np

from divergence.cells import Cells
from divergence.cells.overlap import REPLAYED_MIN, replayed_together
from divergence.errors import InputError
from divergence.joint.importance import Importance
from divergence.joint.item_level import ItemLevel
from divergence.joint.item_levels import CELLS_MAX, ITEM_ARMS_MAX
from divergence.joint.spec import Spec
from divergence.numerics import combinations

SHARED_MIN = 0.95  # a twentieth of the items, were it the easiest, moves a level by some 2 points: less than its own error


def choose_method(cells: Cells, spec: Spec | None = None) -> tuple[Importance | ItemLevel, str]:
    """The method, and why in one sentence. Raises InputError where none can leave out the terms that the spec leaves out."""
    counts = cells.counts.take(cells.counts["n"] > 0)
    spec, reason = spec or Spec(), why_not_items(cells)
    if not spec.item_movement:
        if reason or not spec.item_difficulty:
            raise InputError(
                "item_movement can be left out by the item-level method only, which this log does not take: "
                + (reason or "item_difficulty is off, too")
            )
        return ItemLevel(), "item-level, because item_movement is off"
    reason = reason or ("" if spec.item_difficulty else "item_difficulty is off")
    if reason:
        return Importance(), f"arm-level, because {reason}"
    keys, arm = combinations(counts["model"], counts["regime"], counts["context"])
    _, item = combinations(counts["task"], counts["item"])
    tried = combinations(arm, item)[0]
    shared = _shared(tried[0], tried[1], keys[1])
    together = replayed_together(cells) if shared < SHARED_MIN else 1.0
    if together < REPLAYED_MIN:
        return Importance(), (
            f"arm-level, because the traffic tried {100 * together:.0f} % of the bench's items, less than "
            f"{100 * REPLAYED_MIN:.0f} %: what the bench says of the others is added"
        )
    if shared < SHARED_MIN:
        return ItemLevel(), (
            f"item-level, because arms of one regime share {100 * shared:.0f} % of their items, less than "
            f"{100 * SHARED_MIN:.0f} %"
        )
    return Importance(), (
        f"arm-level, because arms of one regime share {100 * shared:.0f} % of their items, at least {100 * SHARED_MIN:.0f} %"
    )


def why_not_items(cells: Cells) -> str:
    """Why the item-level method cannot take this log; '' if it can."""
    counts = cells.counts.take(cells.counts["n"] > 0)
    if (counts["item"] < 0).any():
        return "some rows have no item of their own"
    if cells.kind != "binary" or not np.array_equal(counts["y"], np.round(counts["y"])):
        return f"{cells.outcome} is not a count of successes"
    kept = len(combinations(*(counts[k] for k in ("model", "regime", "context")))[0].T)
    if kept > ITEM_ARMS_MAX:
        return f"{kept} combinations of model, regime and context are more than {ITEM_ARMS_MAX}"
    arms = len(combinations(*(counts[k] for k in ("model", "regime", "context", "wave", "task")))[0].T)
    items = len(combinations(counts["task"], counts["item"])[0].T)
    return f"{items} items x {arms} arms are more than {CELLS_MAX} cells" if arms * items > CELLS_MAX else ""


def _shared(arm: np.ndarray, item: np.ndarray, regime: np.ndarray) -> float:
    """Mean share of an arm's items that another arm of its regime tried, too; 1 where there is no other.

    `arm` and `item` are the distinct combinations that were tried, `regime` that of each arm.
    """
    shares = []
    for r in np.unique(regime):
        mine = regime[arm] == r
        if (arms := int((regime == r).sum())) > 1:
            others = np.bincount(item[mine])[item[mine]] - 1.0  # arms that tried the item, too
            common = np.bincount(arm[mine], others) / np.maximum(np.bincount(arm[mine]), 1)
            shares.append(common[np.unique(arm[mine])] / (arms - 1))
    return float(np.concatenate(shares).mean()) if shares else 1.0
