"""Which questions a log can answer by its design alone, and why not the others, in plain sentences.

| question | what identifies it |
|---|---|
| bench_level, deployed_level | judged rows of that regime |
| gap, evaluation_advantage, context_effect | a model with judged rows in both regimes |
| kappa | a model in two deployment contexts |
| coupling, coupling_absolute | two models that share two deployment contexts |
| stability | a model in two deployment contexts |
| projection_instability, gap_for_confidence, leverage | four models with judged rows in both regimes |
| reversal, rank_agreement | two models with judged rows in both regimes |
| excess_flips | items that one model answered in two contexts, with two replicates in each (else bounds) |
| serving_effect | a factor with two levels within one model and regime |
| matrix | judged rows in both regimes; each axis says what else it needs |
| pass_power | items with an identity; the powers above one by items with two trials |
| collapse_hazard | episodes: rows with several calls, or sessions with turns |
| horizon | tasks that declare their length |
| cost_per_success | a cost, or tokens with declared prices (calls and tokens of a success are given without) |
| cost_ledger | the same in both regimes |
| coherence | judged deployment rows, declared requirements, and the data that each of them is about |
| best_combination | two models or contexts with judged deployment rows |
| instrument | two waves that measured the same model in the same context |

That a design identifies a number says nothing about how wide its interval will be.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from divergence.executions.log_design import LogDesign


@dataclasses.dataclass(frozen=True)
class Answer:
    """Can this log answer one question?"""

    question: str
    """Name of the question, as in the results table."""
    identified: bool
    """Does the design identify it?"""
    reason: str
    """A sentence with the counts seen: what it rests on, or what is missing."""


def answers(design: LogDesign, requirements: bool = True) -> tuple[Answer, ...]:
    """One answer per question, in the order of the results table; `requirements`: is an acceptance region declared?"""
    found = {question: judge(design) for question, judge in QUESTIONS.items()}
    if not requirements and found["coherence"][0]:
        found["coherence"] = False, "It needs declared requirements: name them in [acceptance] of the configuration."
    return tuple(Answer(question, *judged) for question, judged in found.items())


def _many(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")


def _level(regime: str) -> Callable[[LogDesign], tuple[bool, str]]:
    def judge(design: LogDesign) -> tuple[bool, str]:
        other = "deployment" if regime == "evaluation" else "evaluation"
        if not design.rows[regime]:
            return False, f"It needs judged {regime} rows; this log has 0 (and {design.rows[other]} of {other})."
        return True, (
            f"{_many(design.rows[regime], f'judged {regime} row')} of {_many(design.models[regime], 'model')} in "
            f"{_many(design.contexts[regime], 'context')}."
        )

    return judge


def _both(design: LogDesign) -> str | None:
    """What keeps the two regimes from being compared, or None."""
    for regime, rows in design.rows.items():
        if not rows:
            other = "deployment" if regime == "evaluation" else "evaluation"
            return f"It needs both regimes; this log has 0 judged {regime} rows and {design.rows[other]} of {other}."
    if not design.models_in_both:
        return (
            f"It needs a model in both regimes; the {_many(design.models['evaluation'], 'evaluation model')} and the "
            f"{_many(design.models['deployment'], 'deployment model')} have no name in common."
        )
    return None


def _gap(design: LogDesign) -> tuple[bool, str]:
    missing = _both(design)
    if missing:
        return False, missing
    reason = f"{_many(design.models_in_both, 'model')} with judged rows in both regimes; {_overlap(design)}."
    evaluation, deployment = (set(design.scorers[regime]) for regime in ("evaluation", "deployment"))
    if evaluation != deployment:
        reason += (
            f" The regimes have different scorers (evaluation: {', '.join(sorted(evaluation)) or 'not logged'}; "
            f"deployment: {', '.join(sorted(deployment)) or 'not logged'}), so it may be a difference of judges."
        )
    return True, reason


def _overlap(design: LogDesign) -> str:
    about = "about " if design.every > 1 else ""
    if design.items_in_both:
        return f"{about}{_many(design.items_in_both * design.every, 'item')} answered in both"
    return "no item was answered in both, so each level stands on its own items"


def _deployment_contexts(design: LogDesign) -> str | None:
    contexts = design.contexts["deployment"]
    if contexts < 2:
        return f"It needs two deployment contexts; this log has {contexts}."
    return None


def _kappa(design: LogDesign) -> tuple[bool, str]:
    missing = _deployment_contexts(design)
    if missing:
        return False, missing
    if not design.models_in_several:
        return False, (
            f"It needs a model in two deployment contexts; each of the {_many(design.models['deployment'], 'model')} "
            f"was seen in one of the {design.contexts['deployment']} only."
        )
    return True, (
        f"{_many(design.models_in_several, 'model')} in two or more of the {design.contexts['deployment']} deployment "
        f"contexts (one of them in {design.most_contexts})."
    )


def _coupling(design: LogDesign) -> tuple[bool, str]:
    missing = _deployment_contexts(design)
    models, contexts = design.models["deployment"], design.contexts["deployment"]
    if missing:
        return False, missing
    if models < 2:
        return False, f"It needs two models in deployment; this log has {models}."
    if not design.crossed:
        return False, (
            f"It needs two models that share two deployment contexts; none of the {models} models and {contexts} "
            "contexts do, so models and contexts cannot be told apart."
        )
    return True, f"{models} models in {contexts} deployment contexts."


def _models_in_both(least: int) -> Callable[[LogDesign], tuple[bool, str]]:
    words = {2: "two", 4: "four"}[least]

    def judge(design: LogDesign) -> tuple[bool, str]:
        missing = _both(design)
        if missing:
            return False, missing
        if design.models_in_both < least:
            return False, f"It needs {words} models in both regimes; this log has {design.models_in_both}."
        return True, f"{design.models_in_both} models with judged rows in both regimes."

    return judge


def _excess_flips(design: LogDesign) -> tuple[bool, str]:
    scale, about = design.every, "about " if design.every > 1 else ""
    if not design.items_in_several:
        return False, (
            "It needs items that one model answered in two contexts; this log has none "
            f"({_many(sum(design.items.values()) * scale, 'item')} with an identity)."
        )
    shared = f"{about}{_many(design.items_in_several * scale, 'item')} answered in two contexts or more"
    if not design.items_replicated:
        return False, (
            f"It needs two replicates per item and context; the {shared} have one, so there is no noise floor and only "
            "bounds can be given."
        )
    return True, f"{shared}, {about}{design.items_replicated * scale} of them with two replicates in two contexts."


def _serving_effect(design: LogDesign) -> tuple[bool, str]:
    if not design.factors:
        return False, "It needs a serving factor that varies; this log names none."
    if max(factor.levels for factor in design.factors.values()) < 2:
        return False, f"It needs a factor with two levels; this log has one of {', '.join(design.factors)}."
    usable = {name: factor for name, factor in design.factors.items() if factor.within_model >= 2}
    if not usable:
        seen = ", ".join(f"{name} {factor.levels}" for name, factor in design.factors.items())
        return False, (
            "It needs a factor with two levels within one model and regime; here levels differ only between models or "
            f"between regimes (levels seen: {seen})."
        )
    reason = "; ".join(f"{name} has {_many(factor.levels, 'level')}" for name, factor in usable.items()) + "."
    told: set[frozenset[str]] = set()
    for name, factor in usable.items():
        for other in factor.same_as:
            if frozenset((name, other)) not in told:
                told.add(frozenset((name, other)))
                reason += f" {name} and {other} change together: their effects cannot be told apart."
        for other in factor.fixed_by:
            reason += f" The level of {other} fixes that of {name}."
    rest = [name for name in design.factors if name not in usable]
    if design.blurred:
        reason += f" {_many(design.blurred, 'context label')} cover several combinations of these factors."
    if rest:
        reason += f" Within one model and regime there is one level of {', '.join(rest)}."
    return True, reason


def _instrument(design: LogDesign) -> tuple[bool, str]:
    if design.waves < 2:
        return False, f"It needs two waves; this log has {design.waves}."
    if design.shared_waves < 2:
        return False, (
            f"It needs two waves that measured the same model in the same context; none of the {design.waves} waves do."
        )
    return True, f"{design.waves} waves; up to {design.shared_waves} measured the same model in the same context."


def _matrix(design: LogDesign) -> tuple[bool, str]:
    for regime, rows in design.rows.items():
        if not rows:
            other = "deployment" if regime == "evaluation" else "evaluation"
            return False, f"It needs both regimes; this log has 0 judged {regime} rows and {design.rows[other]} of {other}."
    return True, " and ".join(f"{_many(n, 'judged row')} of {regime}" for regime, n in design.rows.items()) + "."


def _pass_power(design: LogDesign) -> tuple[bool, str]:
    about = "about " if design.every > 1 else ""
    known = sum(design.items.values()) * design.every
    if not known:
        return False, "It needs items with an identity; no row of this log names one."
    if not design.repeated:
        return True, f"{about}{_many(known, 'item')} with one trial each: only the first power can be counted."
    return True, f"{about}{_many(design.repeated * design.every, 'item')} with two trials of one model in one context."


def _collapse_hazard(design: LogDesign) -> tuple[bool, str]:
    rows = sum(counts["episode"] for counts in design.logged.values())
    if not rows:
        return False, (
            "It needs episodes: rows with calls above 1 (map the column that counts them, for example --map "
            "calls=n_messages), or sessions with turns."
        )
    return True, f"{_many(rows, 'row')} of episodes."


def _horizon(design: LogDesign) -> tuple[bool, str]:
    rows = sum(counts["task_length"] for counts in design.logged.values())
    if not rows:
        return False, "It needs the declared length of the tasks; no row of this log has task_length."
    return True, f"{_many(rows, 'row')} of tasks with a declared length."


def _spend(design: LogDesign, regime: str) -> int:
    """Judged rows of a regime whose spend is known."""
    counts = design.logged[regime]
    return counts["cost_usd"] or (counts["tokens"] if design.priced else 0)


def _cost_per_success(design: LogDesign) -> tuple[bool, str]:
    rows = {regime: _spend(design, regime) for regime in design.logged}
    if not any(rows.values()):
        tokens = sum(counts["tokens"] for counts in design.logged.values())
        episodes = sum(counts["episode"] for counts in design.logged.values())
        instead = " and ".join(["tokens"] * bool(tokens) + ["calls"] * bool(episodes))
        if instead:
            return True, f"No row has a cost and no prices are declared: only {instead} of a success can be given."
        return False, "It needs a cost: no row has cost_usd, nor tokens that declared [prices] could be applied to."
    return True, "; ".join(f"{_many(n, 'row')} of {regime} with a known cost" for regime, n in rows.items() if n) + "."


def _cost_ledger(design: LogDesign) -> tuple[bool, str]:
    for regime in design.logged:
        if not _spend(design, regime):
            return False, f"It needs a known cost in both regimes; this log has 0 {regime} rows with one."
    return True, "; ".join(f"{_many(_spend(design, r), 'row')} of {r} with a known cost" for r in design.logged) + "."


def _combinations(design: LogDesign) -> tuple[bool, str]:
    models, contexts = design.models["deployment"], design.contexts["deployment"]
    if not design.rows["deployment"]:
        return False, f"It needs judged deployment rows; this log has 0 (and {design.rows['evaluation']} of evaluation)."
    if models * contexts < 2:
        return False, "It needs two combinations of model and context to choose from; this log has one."
    return True, f"{_many(models, 'model')} in {_many(contexts, 'deployment context')}."


QUESTIONS: dict[str, Callable[[LogDesign], tuple[bool, str]]] = {
    "bench_level": _level("evaluation"),
    "deployed_level": _level("deployment"),
    "gap": _gap,
    "kappa": _kappa,
    "coupling": _coupling,
    "coupling_absolute": _coupling,
    "evaluation_advantage": _gap,
    "stability": _kappa,
    "projection_instability": _models_in_both(4),
    "gap_for_confidence": _models_in_both(4),
    "reversal": _models_in_both(2),
    "rank_agreement": _models_in_both(2),
    "leverage": _models_in_both(4),
    "excess_flips": _excess_flips,
    "serving_effect": _serving_effect,
    "context_effect": _gap,
    "instrument": _instrument,
    "matrix": _matrix,
    "pass_power": _pass_power,
    "collapse_hazard": _collapse_hazard,
    "horizon": _horizon,
    "cost_per_success": _cost_per_success,
    "cost_ledger": _cost_ledger,
    "coherence": _level("deployment"),
    "best_combination": _combinations,
}
"""Question -> what decides whether the design identifies it."""
