"""Can an effect of a serving factor be read as a cause, and how much of the log saw each of its levels?

Contexts differ in more than their factors when somebody chose which request goes where. An effect is causal only where the
assignment is known: the same items were replayed in every context, or every row was logged with a known chance (column
`probability`), and where contexts differ in nothing else that is logged, such as judges or waves. Otherwise it is an
association. Positivity of a level: the share of the log's (model, item) pairs that were served at that level (of (model,
task) pairs where items have no identity): 1 where everything was tried everywhere, and what lies below 1 rests on the model.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from divergence.cells.cells import MISSING
from divergence.cells.overlap import in_regime
from divergence.cells.replicates import context_rows
from divergence.estimands.rows import context_codes
from divergence.identification.rules_of_causes import scorers_apart, waves_apart
from divergence.identification.rules_of_results import unlogged_difference
from divergence.joint.posterior import Fit
from divergence.numerics import combinations

REPLAYED_MIN = 0.95  # share of (model, item, context) with rows; a few requests that failed do not undo a replay


def served(fit: Fit, bench: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Which unit was served in which context, shape (units, contexts), and the contexts' design indices.

    The contexts are those of deployment, with `bench` those of the evaluation too where both regimes tried the same items;
    without deployment rows those of the evaluation.
    """
    regime = fit.design.contexts[:, 0]
    used = (regime == 1) | (bench and fit.log_design.sharing.common > 0) if (regime == 1).any() else regime == 0
    mine = np.flatnonzero(used)
    counts = fit.cells.counts.take(fit.cells.counts["n"] > 0)
    place = context_rows(counts, context_codes(fit)[mine])
    counts, place = counts.take(place >= 0), place[place >= 0]
    unit = combinations(*(counts[k] for k in ("model", "task", "item")))[1]
    seen = np.zeros((unit.max() + 1, len(mine)), bool)
    seen[unit, place] = True
    return seen, mine


def assignment(fit: Fit, within: Sequence[str] = (), between: bool = True) -> str:
    """How contexts came to their items, in words that begin with `causal` or `association`.

    `within` names factors that are contrasted within contexts: how their rows came to the levels only logged chances say.
    `between`: is any contrasted between contexts?
    """
    if within and not between and not _by_chance(fit):
        return "association: a factor varies within contexts, and nothing logged says how rows came to its levels"
    told = _between(fit)
    if not within or not told.startswith("causal") or _by_chance(fit):
        return told
    return f"{told} (but of {', '.join(within)} an association: nothing logged says how rows came to levels within contexts)"


def _by_chance(fit: Fit) -> bool:
    """Were all deployment rows routed with logged chances?"""
    counts = fit.cells.counts.take(in_regime(fit.cells, "deployment") & (fit.cells.counts["n"] > 0))
    return bool(len(counts)) and bool((counts["chance"] != MISSING).all())


def _between(fit: Fit) -> str:
    if unlogged_difference(fit.log_design) is not None:
        return "association: contexts with the same logged factors differ, so something that is not logged does, too"
    seen, mine = served(fit, bench=True)
    apart = scorers_apart(fit.log_design, bool((fit.design.contexts[mine, 0] == 1).all()))
    if apart:
        return f"association: {apart}, so a difference of contexts may be one of judges"
    if waves_apart(fit.log_design) is not None:
        return "association: contexts or models were measured in other waves, so a difference may be one of time"
    counts = fit.cells.counts.take(in_regime(fit.cells, "deployment") & (fit.cells.counts["n"] > 0))
    if _by_chance(fit):
        return "causal reading: rows were routed with logged chances"
    named = not len(counts) or bool((counts["item"] != MISSING).all())
    if named and seen.shape[1] > 1 and seen.mean() >= REPLAYED_MIN:
        return "causal reading: the same items were replayed in every context"
    return "association: contexts were neither randomised nor given the same items"


def positivity(fit: Fit, factor: str) -> np.ndarray:
    """Share of units served at each level of a factor, shape (levels,)."""
    seen, mine = served(fit)
    has = fit.design.mixtures[factor][mine] > 0
    return (seen.astype(float) @ has > 0).mean(0)
