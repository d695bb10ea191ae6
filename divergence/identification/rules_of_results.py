"""Rules about results that the logged design does not explain, from raw rates: plain counts, no fit."""

from __future__ import annotations

import itertools

import numpy as np

from divergence.identification.finding import Finding
from divergence.identification.linked_contexts import linked_parts
from divergence.identification.log_design import REGIMES, LogDesign
from divergence.identification.rules_of_outcomes import listed

CLEAR = 4.0  # standard errors: among a thousand pairs of contexts that do not differ, .06 are called different
CONTEXTS_MAX = 100  # beyond, contexts are compared with the first one only
FEW = 30  # trials of an arm below which a raw rate says little


def unlogged_difference(design: LogDesign) -> Finding | None:
    """Two contexts with equal logged factors whose results differ beyond chance: something that is not logged does it."""
    arms, factors = design.arms, design.factors
    if not factors or "context" in factors or design.cells.kind == "positive":
        return None
    contexts = np.unique(np.stack([arms.deployed.astype(int), arms.context], 1), axis=0)
    served = np.concatenate([factor.shares for factor in factors.values()], 1).round(9)
    rate, error = _rates(design, contexts)
    worst: tuple[float, int, int] | None = None
    for i, j in itertools.combinations(range(len(contexts)), 2):
        if np.array_equal(served[i], served[j]):
            both = np.isfinite(rate[:, i]) & np.isfinite(rate[:, j])
            if both.any():
                gap = (rate[both, i] - rate[both, j]).mean()
                noise = np.sqrt((error[both, i] ** 2 + error[both, j] ** 2).sum()) / both.sum()
                if abs(gap) > CLEAR * noise and (worst is None or abs(gap) > abs(worst[0])):
                    worst = (float(gap), i, j)
    if worst is None:
        return None
    gap, i, j = worst
    names = [design.cells.levels["context"][contexts[k, 1]] for k in (i, j)]
    if names[0] == names[1]:  # one label in both regimes
        names = [f"{name} in {REGIMES[contexts[k, 0]]}" for name, k in zip(names, (i, j), strict=True)]
    return Finding(
        "unlogged_difference",
        "caution",
        f"{' and '.join(names)} have the same logged serving factors and differ by {100 * abs(gap):.0f} points: something "
        "that is no logged factor differs between them, so no effect of a factor can be read as a cause.",
        "Log what differs as a serving factor.",
        ("serving_effect",),
    )


def opposite_effects(design: LogDesign) -> Finding | None:
    """A context that clearly helps one model and clearly hurts another: a mean over models describes neither."""
    if design.cells.kind == "positive":
        return None
    arms, names = design.arms, design.cells.levels
    contexts = np.unique(np.stack([arms.deployed.astype(int), arms.context], 1), axis=0)
    rate, error = _rates(design, contexts)
    worst: tuple[float, int, int, int, int, float, float] | None = None
    one_bench = bool((contexts[:, 0] == 0).sum() == 1)  # then all that the page shows is against it
    every = len(contexts) <= CONTEXTS_MAX and not one_bench
    pairs = itertools.combinations(range(len(contexts)), 2) if every else ((0, c) for c in range(1, len(contexts)))
    for base, c in pairs:
        effect = rate[:, c] - rate[:, base]
        noise = np.sqrt(error[:, c] ** 2 + error[:, base] ** 2)
        clear = np.isfinite(effect) & (np.abs(effect) > CLEAR * noise)
        up, down = np.flatnonzero(clear & (effect > 0)), np.flatnonzero(clear & (effect < 0))
        if len(up) and len(down):
            high, low = int(up[effect[up].argmax()]), int(down[effect[down].argmin()])
            found = (float(effect[high] - effect[low]), base, c, high, low, float(effect[high]), float(effect[low]))
            worst = max(worst, found) if worst is not None else found
    if worst is None:
        return None
    _, base, c, high, low, gain, loss = worst
    against = "" if one_bench else f", against {names['context'][contexts[base, 1]]},"
    return Finding(
        "opposite_effects",
        "caution",
        f"{names['context'][contexts[c, 1]]}{against} helps {names['model'][high]} ({100 * gain:+.0f} points) and hurts "
        f"{names['model'][low]} ({100 * loss:+.0f} points): what it does depends on the model, and its mean describes none.",
        questions=("context_effect", "serving_effect"),
    )


def contexts_of_their_own(design: LogDesign) -> Finding | None:
    """Models that no chain of models and contexts links: their levels lie side by side and cannot be compared."""
    arms, names = design.arms, design.cells.levels
    if not len(arms):
        return None
    parts, _ = linked_parts(arms.model, arms.context)
    seen = np.unique(arms.model)
    groups = [seen[parts[seen] == part] for part in np.unique(parts[seen])]
    if len(groups) < 2:
        return None
    told = []
    for group in groups[:2]:
        mine = arms.context[np.isin(arms.model, group)]
        told.append(
            f"{listed([names['model'][m] for m in group])} in {listed([names['context'][c] for c in np.unique(mine)])}"
        )
    return Finding(
        "contexts_of_their_own",
        "caution",
        f"No model links the contexts of {' with those of '.join(told)}: what a context does cannot be told from what its "
        "models can, and a comparison of them compares both together.",
        questions=("bench_level", "deployed_level", "reversal", "rank_agreement", "best_combination"),
    )


def changed_between_waves(design: LogDesign) -> Finding | None:
    """Contexts that moved between waves while others stayed: the change is theirs, not the instrument's."""
    agreement = design.wave_agreement
    if not agreement.changed.any():
        return None
    arms, names = design.arms, design.cells.levels
    worst = int(np.abs(agreement.change).argmax())
    told = f"{names['model'][arms.model[worst]]} in {names['context'][arms.context[worst]]}"
    number, of = int(agreement.changed.sum()), int(agreement.measured.sum())
    rest = (
        "the others moved together, so the change is theirs and not the instrument's"
        if agreement.common
        else "no shift is common to all, so the instrument's cannot be told"
    )
    return Finding(
        "changed_between_waves",
        "caution",
        f"Between waves {number} of {of} combinations of model and context changed by themselves, for example {told} "
        f"({100 * agreement.change[worst]:+.0f} points): {rest}.",
        questions=("instrument", "context_effect", "serving_effect"),
    )


def _rates(design: LogDesign, contexts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Raw rate and its standard error over items and sessions, each (models, contexts); NaN where there are few trials."""
    arms = design.arms
    shape = (len(design.cells.levels["model"]), len(contexts))
    rate, error = np.full(shape, np.nan), np.full(shape, np.nan)
    place = {tuple(key): k for k, key in enumerate(contexts)}
    errors = np.sqrt(arms.variance / arms.units) * arms.widening(CLEAR)
    for a in np.flatnonzero(arms.trials >= FEW):
        k = place[int(arms.deployed[a]), int(arms.context[a])]
        rate[arms.model[a], k] = arms.rate[a]
        error[arms.model[a], k] = errors[a]
    return rate, error
