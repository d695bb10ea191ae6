"""Which single combination of model and context stands apart from what all others say about it?

One broken kernel breaks one model in one context. Taken for a residual like the others it is drawn towards them, and the
scale of all residuals grows. So it is looked for before anything is drawn, at the mode x of the standard deviations:

    z_a = (S^-1 value)_a / sqrt((S^-1)_aa),    S = S(x),

the residual of arm `a` from its prediction by all other arms, in standard errors of that prediction (Sundararajan and
Keerthi 2001; what a deleted residual is in regression). Judged by Student's t on what a table of models by contexts leaves
for residuals, over all arms at once: where no combination stands apart, a fit finds one with probability `CHANCE` at most.
The one found gets an effect with a scale of its own, everything is fitted again, and the next is looked for.

Of two models the one that stands apart cannot be told, nor of two contexts: needs three of each.
"""

from __future__ import annotations

import numpy as np
from scipy.stats import t as student

from divergence.cells import Cells
from divergence.joint.arms import Arms
from divergence.joint.design import Design
from divergence.joint.hierarchy import Hierarchy

CHANCE = 0.01  # of finding one in a log where none stands apart
APART_MAX = 6  # with more, standing apart is what combinations do: that is the residual's scale
LEAST = 3  # models, and contexts


def standing_apart(design: Design, arms: Arms, target: Hierarchy, x: np.ndarray) -> tuple[int, float] | None:
    """The arm that stands apart the most, and its z; None where none does. `x` is the mode."""
    labels = np.unique(design.contexts[:, 1])
    if not design.has("delta") or len(design.apart) >= APART_MAX or design.n_models < LEAST or len(labels) < LEAST:
        return None
    free = arms.context != (labels[design.plain] if design.plain >= 0 else -1)  # the others have a residual
    for model, context in design.apart:
        free &= (arms.model != model) | (arms.context != context)
    left = (design.n_models - 1) * (len(labels) - 1) - 1 - len(design.apart)
    if not free.any() or left < 1:
        return None
    z = np.where(free, deleted_residuals(target, x), 0.0)
    found = int(np.abs(z).argmax())
    return (found, float(z[found])) if abs(z[found]) > student.isf(CHANCE / (2 * free.sum()), left) else None


def deleted_residuals(target: Hierarchy, x: np.ndarray) -> np.ndarray:
    """Each arm's residual from its prediction by all others, in standard errors, shape (A,), at x."""
    precision = np.linalg.inv(target.covariances(x[None])[0])
    return (precision @ target.value) / np.sqrt(np.diag(precision))


def apart_notes(cells: Cells, design: Design, arms: Arms, z: tuple[float, ...]) -> tuple[str, ...]:
    """A sentence for each combination that stands apart."""
    return tuple(
        f"{cells.levels['model'][model]} in {cells.levels['context'][context]} stands apart: its level lies {abs(one):.1f} "
        f"standard errors {'above' if one > 0 else 'below'} what all other combinations say about it, which chance does in "
        f"less than {CHANCE:.0%} of logs. It has an effect of its own; new contexts are predicted as if "
        f"{len(z)} in {len(arms)} combinations did that."
        for (model, context), one in zip(design.apart, z, strict=True))
