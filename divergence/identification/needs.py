"""What several questions need of a design: judged rows, both regimes, contexts that are shared.

Each gives the sentence on what is missing, or None where nothing is.
"""

from __future__ import annotations

import numpy as np

from divergence.cells.cells import MISSING
from divergence.cells.overlap import scorer_conflict
from divergence.identification.log_design import LogDesign
from divergence.identification.question import Need
from divergence.numerics import combinations

NUMBERS = {2: "two", 3: "three", 4: "four"}


def many(number: int, noun: str) -> str:
    """A count with its noun: many(2, "model") = "2 models"."""
    return f"{number} {noun}" + ("" if number == 1 else "s")


def level_needs(design: LogDesign, regime: str) -> Need:
    """What a mean level of one regime needs."""
    unlike = unlike_tasks(design, regime)
    return Need(False, unlike) if unlike else task_level_needs(design, regime)


def task_level_needs(design: LogDesign, regime: str) -> Need:
    """What a level of one regime needs, on all its tasks together or on each alone."""
    other = "deployment" if regime == "evaluation" else "evaluation"
    if not design.rows[regime]:
        return Need(False, f"It needs judged {regime} rows; this log has 0 (and {design.rows[other]} of {other}).")
    unlike = unlike_tasks(design, regime)
    if unlike and design.cells.items == "observed":  # levels of single tasks are those of new items
        return Need(False, unlike)
    return Need(
        True,
        f"{many(design.rows[regime], f'judged {regime} row')} of {many(design.models[regime], 'model')} in "
        f"{many(design.contexts[regime], 'context')}.",
    )


def unlike_tasks(design: LogDesign, *regimes: str) -> str | None:
    """Why no mean over the tasks of one of these regimes (of either, where none is named) is given: no scorer ties them."""
    for regime in regimes or design.rows:
        groups = design.task_metrics[regime]
        if len(groups) < 2:
            continue
        told = [f"{task}: {', '.join(names[:3])}" for task, names in (next(iter(group.items())) for group in groups[:3])]
        more = f" and {len(groups) - 3} more" if len(groups) > 3 else ""
        tasks = sum(map(len, groups))
        which = (
            f"each of the {tasks} tasks has scorers of its own"
            if tasks == len(groups)
            else f"the {tasks} tasks have {len(groups)} metrics"
        )
        advice = "Take one" if design.cells.items == "observed" else "Read the rows of each task, or take one"
        return (
            f"It needs tasks with one metric; {which} ({'; '.join(told)}{more}), so a mean over them mixes unlike things. "
            f"{advice}: --where task=NAME."
        )
    return None


def no_order(design: LogDesign, *regimes: str) -> str | None:
    """Why the models of one of these regimes (of either, where none is named) cannot be ordered: others judged them."""
    for regime in regimes or design.rows:
        conflict = design.model_judges[regime]
        if conflict:
            return f"It needs one judge for all models: {conflict}."
    return None


def why_no_order(design: LogDesign, regime: str) -> str | None:
    """Why the models of a regime have levels and no order: other judges, or no context that links them."""
    return no_order(design, regime) or unlinked_models(design, regime)


def driven(design: LogDesign, model: str, regime: str, context: str) -> str | None:
    """Why repeated trials of one model in one context are no replicates: their number goes with their outcomes."""
    names = design.cells.levels
    for arm in design.driven_trials:
        if (names["model"][arm.model], arm.deployed, names["context"][arm.context]) == (
            model,
            regime == "deployment",
            context,
        ):
            return f"It needs trials whose number was settled before; of the items of {model} in {context}, {arm.told}."
    return None


def unlinked_models(design: LogDesign, regime: str) -> str | None:
    """Why the models of a regime cannot be put in order: some share no context with the others, not by any detour."""
    told = _unlinked(design, np.flatnonzero(design.arms.deployed == (regime == "deployment")))
    if told is None:
        return None
    return (
        f"It needs models that contexts link; none links {told[0]}, so an order of models would be one of their contexts "
        f"too. Run one model in both, or take one part: {where(told[1])}."
    )


def no_linked_contexts(design: LogDesign) -> str | None:
    """Why no two deployment contexts can be compared: each has models of its own."""
    arms = design.arms
    deployed = np.flatnonzero(arms.deployed)
    parts = design.linked.contexts[1][np.unique(arms.context[deployed])]
    told = _unlinked(design, deployed)
    if told is None or len(np.unique(parts)) < len(parts):
        return None
    return (
        f"It needs contexts that a model links; none links {told[0]}, so a contrast of contexts would be one of models too. "
        "Run one model in both."
    )


def _unlinked(design: LogDesign, mine: np.ndarray) -> tuple[str, str] | None:
    """Two models of these arms with a context of each that nothing links, in words, and the second context; else None."""
    arms, names = design.arms, design.cells.levels
    part = design.linked.models[arms.model[mine]]
    if len(np.unique(part)) < 2:
        return None
    found = [mine[part == p][0] for p in np.unique(part)[:2]]
    labels = [names["context"][arms.context[a]] for a in found]
    told = [f"{shortened(names['model'][arms.model[a]])} ({shortened(c)})" for a, c in zip(found, labels, strict=True)]
    return " with ".join(told), labels[1]


def where(label: str) -> str:
    """The flag that takes one context; a label made of factors names each of them."""
    if all("=" in part for part in label.split("|")):
        return " ".join(f"--where {part}" for part in label.split("|"))
    return f"--where context={label}"


def shortened(name: str, longest: int = 40) -> str:
    """A name that leaves room for the sentence around it."""
    return name if len(name) <= longest else f"{name[: longest - 1]}…"


def unlinked_contexts(design: LogDesign, deployed: bool, first: int, second: int) -> str | None:
    """Why two contexts (codes) of a regime cannot be compared: no model ties them together."""
    parts, names = design.linked.contexts[int(deployed)], design.cells.levels["context"]
    if parts[first] == parts[second]:
        return None
    return (
        f"no model links {shortened(names[first])} with {shortened(names[second])}: what a context does cannot be told "
        "from what its models can; run one model in both"
    )


def no_regimes(design: LogDesign) -> str | None:
    """Why the two regimes cannot be held side by side: one has no judged rows."""
    for regime, rows in design.rows.items():
        if not rows:
            other = "deployment" if regime == "evaluation" else "evaluation"
            return f"It needs both regimes; this log has 0 judged {regime} rows and {design.rows[other]} of {other}."
    return None


def no_comparison(design: LogDesign) -> str | None:
    """Why no model can be compared between the regimes."""
    missing = no_regimes(design)
    if missing:
        return missing
    if not len(design.both):
        return (
            f"It needs a model in both regimes; the {many(design.models['evaluation'], 'evaluation model')} and the "
            f"{many(design.models['deployment'], 'deployment model')} have no name in common."
        )
    conflict = scorer_conflict(design.cells)
    return f"It needs one judge in both regimes: {conflict}." if conflict else None


def nothing_varies(design: LogDesign) -> str | None:
    """Why nothing can be told apart: every judged row has one value."""
    if design.constant is None:
        return None
    return f"It needs outcomes that differ; every judged row of this log has {design.cells.outcome} = {design.constant:g}."


def models_in_both(design: LogDesign, least: int) -> Need:
    """What an order or a line over models with both regimes needs."""
    missing = no_comparison(design) or unlike_tasks(design) or no_order(design) or nothing_varies(design)
    if missing is None and len(design.both) < least:
        missing = f"It needs {NUMBERS[least]} models in both regimes; this log has {len(design.both)}."
    if missing is None and len(np.unique(design.linked.models[design.both])) > 1:
        missing = unlinked_models(design, "deployment")
    return Need(missing is None, missing or f"{len(design.both)} models with judged rows in both regimes.")


def few_contexts(design: LogDesign) -> str | None:
    """Why there are no two deployment contexts to compare; None where there are."""
    seen = design.contexts["deployment"]
    return None if seen >= 2 else f"It needs two deployment contexts with judged rows; this log has {seen}."


def no_contexts(design: LogDesign) -> str | None:
    """Why nothing can be said about moving over deployment contexts."""
    if few := few_contexts(design):
        return few
    if design.served.shape[1] < 2:
        return "It needs two contexts in the deployment law; the declared one gives weight to one."
    conflict = design.context_judges["deployment"]
    return f"It needs one judge in all contexts: {conflict}." if conflict else nothing_varies(design)


def moves_over_contexts(design: LogDesign) -> Need:
    """What the spread of one model's level over deployment contexts needs."""
    missing = no_contexts(design)
    if missing:
        return Need(False, missing)
    each = design.served.sum(1)
    if not (each >= 2).any():
        return Need(
            False,
            f"It needs a model in two deployment contexts; each of the {many(design.models['deployment'], 'model')} "
            f"was seen in one of the {design.contexts['deployment']} only.",
        )
    return Need(
        True,
        f"{many(int((each >= 2).sum()), 'model')} in two or more of the {design.contexts['deployment']} deployment "
        f"contexts (one of them in {int(each.max())}).",
    )


def tested_regimes(design: LogDesign) -> tuple[str, ...]:
    """Regimes in which some model has two contexts that one judge saw: whether they differ at all can be tested."""
    if design.constant is not None:
        return ()
    arms, found = design.arms, []
    for regime in design.rows:
        deployed = regime == "deployment"
        models = arms.model[arms.deployed == deployed]
        several = np.flatnonzero(np.bincount(models) > 1) if len(models) else []
        tested = [m for m in several if not sessions_of_their_own(design, int(m), deployed)]
        if tested and design.context_judges[regime] is None:
            found.append(regime)
    return tuple(found)


def sessions_of_their_own(design: LogDesign, model: int, deployed: bool) -> bool:
    """Is a context of this model one session of several rows, and none more than one? What sessions do by themselves is then
    not known, and may be all that differs."""
    table, names = design.cells.sessions.take(design.cells.sessions["n"] > 0), design.cells.levels["regime"]
    regime = "deployment" if deployed else "evaluation"
    if regime not in names:
        return False
    mine = table.take((table["model"] == model) & (table["regime"] == names.index(regime)) & (table["session"] != MISSING))
    if not len(mine):
        return False
    keys, where = combinations(mine["context"], mine["session"])
    sessions, size = np.bincount(keys[0]), np.bincount(where, mine["n"])
    return bool(sessions.max() == 1 and size.max() > 1)


def crossed(design: LogDesign) -> Need:
    """What telling models and contexts apart needs: two models that share two deployment contexts."""
    missing = no_contexts(design)
    models, contexts = design.models["deployment"], design.contexts["deployment"]
    if missing:
        return Need(False, missing)
    if models < 2:
        return Need(False, f"It needs two models in deployment; this log has {models}.")
    shared = design.served.astype(float) @ design.served.T
    shared[range(len(shared)), range(len(shared))] = 0
    if shared.max() < 2:
        return Need(
            False,
            f"It needs two models that share two deployment contexts; none of the {models} models and {contexts} "
            "contexts do, so models and contexts cannot be told apart.",
        )
    return Need(True, f"{models} models in {contexts} deployment contexts.")


def compared(design: LogDesign) -> Need:
    """What a difference between the regimes needs."""
    missing = no_comparison(design) or unlike_tasks(design)
    if missing:
        return Need(False, missing)
    shared = design.sharing.in_both
    overlap = (
        f"{many(shared, 'item')} answered in both"
        if shared
        else ("no item was answered in both, so each level stands on its own items")
    )
    reason = f"{many(len(design.both), 'model')} with judged rows in both regimes; {overlap}."
    evaluation, deployment = (set(design.scorers(regime)) for regime in ("evaluation", "deployment"))
    if evaluation != deployment:
        reason += (
            f" The regimes have different scorers (evaluation: {', '.join(sorted(evaluation)) or 'not logged'}; "
            f"deployment: {', '.join(sorted(deployment)) or 'not logged'}), so it may be a difference of judges."
        )
    return Need(True, reason)
