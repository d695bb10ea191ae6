"""Which single combination of model and context stands apart from what all others say about it?

One broken kernel breaks one model in one context. Taken for a residual like the others it is drawn towards them, and the
scale of all residuals grows. So it is looked for before anything is drawn, at the mode x of the standard deviations:

    z_a = (S^-1 value)_a / sqrt((S^-1)_aa),    S = S(x),

the residual of arm `a` from its prediction by all other arms, in standard errors of that prediction (Sundararajan and
Keerthi 2001; what a deleted residual is in regression). Judged by Student's t on what a table of models by contexts leaves
for residuals, over all arms at once: where no combination stands apart, a fit finds one with probability `CHANCE` at most.
The one found gets an effect with a scale of its own, everything is fitted again, and the next is looked for.

Of two models the one that stands apart cannot be told, nor of two contexts: needs three of each. Where a context occurs in
both regimes, what an effect of both or of one of them would be is looked at, z = d' S^-1 value / sqrt(d' S^-1 d) for d the
indicator of its arms. Several hide each other: of two in different models and contexts both are usually found, of three none
(`docs/engine.md`); then they are what the residual's scale is made of. A scale of each model's own hides one, too.
"""

from __future__ import annotations

import numpy as np
from scipy.special import stdtrit

from divergence.cells import Cells
from divergence.joint.arms import Arms
from divergence.joint.block_hierarchy import BlockHierarchy
from divergence.joint.blocks import places as arm_places
from divergence.joint.design import Design
from divergence.joint.hierarchy import Hierarchy

CHANCE = 0.01  # of finding one in a log where none stands apart
APART_MAX = 6  # with more, standing apart is what combinations do: that is the residual's scale
LEAST = 3  # models, and contexts


def standing_apart(
    design: Design, arms: Arms, target: Hierarchy | BlockHierarchy, x: np.ndarray
) -> tuple[tuple[int, int, int], float] | None:
    """The combination that stands apart the most (see `Design.apart`), and its z; None where none does. `x` is the mode."""
    labels = np.unique(design.contexts[:, 1])
    if not design.has("delta") or len(design.apart) >= APART_MAX or design.n_models < LEAST or len(labels) < LEAST:
        return None
    candidates = _candidates(design, arms, labels)
    left = (design.n_models - 1) * (len(labels) - 1) - 1 - len(design.apart)
    if not candidates or left < 1:
        return None
    z = deleted_residuals(target, x, [places for _, places in candidates])
    found = int(np.abs(z).argmax())
    return (candidates[found][0], float(z[found])) if abs(z[found]) > stdtrit(left, 1 - CHANCE / (2 * len(z))) else None


def _candidates(design: Design, arms: Arms, labels: np.ndarray) -> list[tuple[tuple[int, int, int], list[int]]]:
    """Combinations that may stand apart, and their arms: where a context occurs in both regimes, each alone and both."""
    plain = labels[design.plain] if design.plain >= 0 else -1  # has no residual
    places: dict[tuple[int, int], list[int]] = {}
    for a, (model, context) in enumerate(zip(arms.model, arms.context, strict=True)):
        if context != plain:
            places.setdefault((int(model), int(context)), []).append(a)
    found = []
    for cell, mine in places.items():
        found.append(((*cell, -1), mine))
        if len(mine) > 1:
            found += [((*cell, int(arms.deployed[a])), [a]) for a in mine]
    return [(cell, mine) for cell, mine in found if cell not in design.apart]


def deleted_residuals(target: Hierarchy | BlockHierarchy, x: np.ndarray, places: list[list[int]]) -> np.ndarray:
    """How far an effect that all arms of one place share lies from 0, in standard errors, given standard deviations at x.

    Shape (places,). Of a single arm: its residual from its prediction by all others.
    """
    if isinstance(target, BlockHierarchy):
        return _deleted_in_blocks(target, x, places)
    precision = np.linalg.inv(target.covariances(x[None])[0])
    pulled = precision @ target.value
    return np.array([pulled[mine].sum() / np.sqrt(precision[np.ix_(mine, mine)].sum()) for mine in places])


def _deleted_in_blocks(target: BlockHierarchy, x: np.ndarray, places: list[list[int]]) -> np.ndarray:
    """The same from the precision within models: the arms of a place are one model's."""
    pulled, blocks = target.precision(x)
    bucket, row, column = arm_places(tuple(p.bucket for p in target.parts), len(pulled))
    found = np.empty(len(places))
    for k, mine in enumerate(places):
        block = blocks[bucket[mine[0]]][:, :, column[mine[0]]]
        found[k] = pulled[mine].sum() / np.sqrt(block[np.ix_(row[mine], row[mine])].sum())
    return found


def apart_names(cells: Cells, design: Design) -> list[str]:
    """The combinations that stand apart, in words."""
    regimes = {-1: "", 0: " (evaluation only)", 1: " (deployment only)"}
    return [
        f"{cells.levels['model'][model]} in {cells.levels['context'][context]}{regimes[regime]}"
        for model, context, regime in design.apart
    ]


def apart_notes(cells: Cells, design: Design, arms: Arms, z: tuple[float, ...]) -> tuple[str, ...]:
    """A sentence for each combination that stands apart."""
    return tuple(
        f"{name} stands apart: its level lies {abs(one):.1f} standard errors {'above' if one > 0 else 'below'} what all "
        f"other combinations say about it, which chance does in less than {CHANCE:.0%} of logs. It has an effect of its "
        f"own; new contexts are predicted as if {len(z)} in {len(arms)} combinations did that."
        for name, one in zip(apart_names(cells, design), z, strict=True)
    )
