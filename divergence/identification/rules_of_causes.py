"""Rules about what goes together with a context, so that the context's effect is also its own."""

from __future__ import annotations

import itertools

import numpy as np

from divergence.cells.overlap import ALIKE_MIN, deployed_regimes
from divergence.identification.finding import Finding
from divergence.identification.log_design import REGIMES, LogDesign
from divergence.identification.rules_of_outcomes import listed
from divergence.numerics import combinations

TASKS_ALIKE_MIN = 0.5  # share of rows on the same tasks: below, two contexts differ more in what was asked than they share
TOLD = 3  # names of each side


def waves_apart(design: LogDesign) -> Finding | None:
    """Waves that no combination of model and context ties: what changed with time goes with what differs between them."""
    if design.waves < 2 or design.waves_connected:
        return None
    counts, names = design.cells.counts.take(design.cells.counts["n"] > 0), design.cells.levels
    part = np.array([design.wave_parts[w] for w in counts["wave"].tolist()])
    sides = [part == k for k in np.unique(part)[:2]]
    for what in ("context", "model"):
        held = [sorted({names[what][k] for k in counts[what][side]}) for side in sides]
        if held[0] != held[1]:
            break
    of = [listed(sorted({"no wave" if w < 0 else names["wave"][w] for w in counts["wave"][side]})[:TOLD]) for side in sides]
    told = "; ".join(f"{w}: {listed(h[:TOLD])}" for w, h in zip(of, held, strict=True))
    return Finding(
        "waves_apart",
        "caution",
        f"Waves have no combination of model and context in common ({told}): what changed between the waves cannot be told "
        f"from what differs between the {what}s.",
        "Measure one of them in both waves.",
        ("gap", "evaluation_advantage", "context_effect", "serving_effect", "reversal"),
    )


def scorers_apart(design: LogDesign, deployed_only: bool) -> str | None:
    """Two contexts one of which names the scorers of its rows and one does not; None where all do alike.

    Contexts with other scorers, both named, are not compared at all.
    """
    counts, names = design.cells.counts.take(design.cells.counts["n"] > 0), design.cells.levels
    regime = deployed_regimes(design.cells)[counts["regime"]]
    counts, regime = (counts.take(regime), regime[regime]) if deployed_only else (counts, regime)
    keys, place = combinations(regime.astype(int), counts["context"])
    judged = counts["rows"] - counts["unjudged"]
    named = np.bincount(place, judged * (counts["scorer"] >= 0), keys.shape[1])
    share = named / np.maximum(np.bincount(place, judged, keys.shape[1]), 1)
    if not len(share) or np.ptp(share) <= 1 - ALIKE_MIN:
        return None
    known, unknown = (names["context"][keys[1, k]] for k in (share.argmax(), share.argmin()))
    return f"the scorer of {known} is logged and that of {unknown} is not"


def tasks_apart(design: LogDesign) -> Finding | None:
    """Contexts that were given other tasks: their difference is also one of the tasks."""
    counts, names = design.cells.counts, design.cells.levels
    counts = counts.take((counts["n"] > 0) & (counts["task"] >= 0))
    if not len(counts):
        return None
    keys, place = combinations(deployed_regimes(design.cells)[counts["regime"]].astype(int), counts["context"])
    shares = np.zeros((keys.shape[1], len(names["task"])))
    np.add.at(shares, (place, counts["task"]), counts["rows"] - counts["unjudged"])
    shares /= np.maximum(shares.sum(1, keepdims=True), 1)
    least, pair = 1.0, (0, 0)
    for one, other in itertools.combinations(range(len(shares)), 2):
        if keys[0, one] == keys[0, other] or not keys[0, one]:  # two of a regime, or the bench against deployment
            alike = float(np.minimum(shares[one], shares[other]).sum())
            least, pair = (alike, (one, other)) if alike < least else (least, pair)
    if least >= TASKS_ALIKE_MIN:
        return None
    contexts = [names["context"][keys[1, k]] for k in pair]
    if contexts[0] == contexts[1]:
        contexts = [f"{c} in {REGIMES[keys[0, k]]}" for c, k in zip(contexts, pair, strict=True)]
    told = [
        f"{c}: {listed([names['task'][t] for t in np.argsort(-shares[k]) if shares[k, t]][:TOLD])}"
        for c, k in zip(contexts, pair, strict=True)
    ]
    common = "no task" if not least else f"{least:.0%} of their rows' tasks"
    return Finding(
        "tasks_apart",
        "caution",
        f"{' and '.join(contexts)} have {common} in common ({'; '.join(told)}): what lies between them is a difference of "
        "tasks as well.",
        "Compare them on a task that both have: --where task=NAME." if least else "Give both the same tasks.",
        ("gap", "evaluation_advantage", "context_effect", "serving_effect", "stability"),
    )
