"""What changes when one thing changes: the model, the regime, the context, or a level of a serving factor?

    mean over models and contexts of  h(mu(this level), mu(the other level)),   h = difference, ratio or log odds ratio

For a serving factor every deployment context is served at one level and at the other, all else as it was (the ideas of
average comparisons in the marginal-effects literature); the other level is the bench's, else the most frequent one. Models,
contexts and regimes are compared as they are. Identified where the design tells the factor from all others (`serving_effect`
asks the same), one judge judged what is compared, and the model was judged at both levels; all else is refused by name.
Unit: fraction (differences of scores), ratio, or logits.
"""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np

from divergence.calling import nearest, sentences
from divergence.errors import ArgumentError
from divergence.estimands.rows import Rows, models_with_rows, refuse, tried_levels, unit_of
from divergence.estimands.serving_effect import factor_needs, reference_level
from divergence.estimate import Estimate
from divergence.identification import needs
from divergence.identification.question import Need
from divergence.joint.laws import Law
from divergence.joint.level_draws import link_levels
from divergence.joint.link import from_link
from divergence.joint.posterior import Fit, Posterior
from divergence.joint.predict import levels

QUESTION, TEXT = "comparisons", "what changes with {of}"
WORDS = "comparisons of one's own"
COMPARISONS = ("difference", "ratio", "log odds ratio")
PAIRS_MAX = 200  # more pairs than anybody reads: name the two levels


@sentences
def comparisons(
    posterior: Posterior,
    of: str,
    *,
    by: str | None = None,
    comparison: str = "difference",
    pair: tuple[str, str] | None = None,
    law: Law | None = None,
    outcome: str | None = None,
) -> Estimate:
    """What changes when a serving factor, the model, the context or the regime changes?

    `posterior`: what `fit` returns. `of`: a serving factor of the log, `"model"`, `"context"` or `"regime"` (deployment
    against evaluation). `by`: None = over all models, `"model"` = one row a model. `comparison`: `"difference"`, `"ratio"`
    or `"log odds ratio"`. `pair`: the two levels, this one against the other; None = every level against the reference (of
    models and contexts: every pair). `law`: over deployment contexts, as in `deployed_level`. `outcome`: None = the primary
    one.

    Returns an Estimate, one row a comparison (and model), `axis` = what it is against; differences in the unit of the
    outcome (fraction for scores), ratios as `ratio`, log odds ratios as `nats`. What the log does not identify is refused
    with the reason. Raises InputError for a name that the log has not.

    >>> import divergence as dv
    >>> from divergence.simulate import simulate, world
    >>> posterior = dv.fit(dv.collapse(dv.read(simulate(world("baseline"), 0)[0])), seed=0)
    >>> dv.comparisons(posterior, "kv_cache_dtype", by="model").where(model="model-0").rows["axis"].to_list()
    ['against f16']
    """
    fit = posterior[outcome]
    _check(fit, of, by, comparison)
    unit = {"difference": unit_of(fit), "ratio": "ratio", "log odds ratio": "nats"}[comparison]
    text = TEXT.format(of=of) if comparison == "difference" else f"{TEXT.format(of=of)}, as a {comparison}"
    need = _needs(fit, of)
    if not need.met:
        return refuse(fit, QUESTION, text, unit, need.sentence)
    rows = Rows(fit, QUESTION, unit, ("statistic", "model", "model_b", "context", "context_b", "factor", "level", "axis"))
    if of in ("model", "context", "regime"):
        _as_they_are(rows, of, by, comparison, pair, law)
    else:
        _served(rows, of, by, comparison, pair, law)
    return dataclasses.replace(rows.estimate(text, fit.described_method), words=WORDS)


def _check(fit: Fit, of: str, by: str | None, comparison: str) -> None:
    factors = [f for f in fit.design.mixtures if f != "context"]
    known = ["model", "context", "regime", *factors]
    if of not in known:
        named = "is the same in all contexts" if of in fit.cells.factors else "is nothing that varies in this log"
        raise ArgumentError(f"{of!r} {named}{nearest(of, known)}; compare {', '.join(known)}.")
    if comparison not in COMPARISONS:
        raise ArgumentError(f"comparison is one of {', '.join(COMPARISONS)}, seen {comparison!r}.")
    if by not in (None, "model") or (by == "model" and of == "model"):
        raise ArgumentError(f"by is None or 'model'{' (models are compared already)' * (of == 'model')}, seen {by!r}.")
    if comparison == "log odds ratio" and fit.arms.link != "logit":
        raise ArgumentError(f"a log odds ratio is of probabilities; {fit.cells.outcome} is {fit.cells.kind}: ask the ratio.")


def _needs(fit: Fit, of: str) -> Need:
    """What the design must have."""
    design = fit.log_design
    if of == "regime":
        return needs.compared(design)
    if of == "model":
        need = needs.level_needs(design, "deployment")
        judged_apart = needs.no_order(design, "deployment") if need.met else None
        if judged_apart:
            return Need(False, judged_apart)
        if need.met and design.models["deployment"] < 2:
            return Need(False, f"It needs two models in deployment; this log has {design.models['deployment']}.")
        return need
    if of == "context":
        if few := needs.few_contexts(design):
            return Need(False, few)
        conflict = design.context_judges["deployment"]
        why = f"It needs one judge in all contexts: {conflict}." if conflict else needs.unlike_tasks(design, "deployment")
        return Need(why is None, why or "")
    return factor_needs(design)


def compare(first: np.ndarray, second: np.ndarray, comparison: str) -> np.ndarray:
    """The comparison of two levels, draw by draw."""
    if comparison == "difference":
        return first - second
    if comparison == "ratio":
        return first / np.maximum(second, 1e-300)
    odds = [np.clip(p, 1e-12, 1 - 1e-12) for p in (first, second)]
    return np.log(odds[0] / (1 - odds[0])) - np.log(odds[1] / (1 - odds[1]))


def _pairs(names: list[str], pair: tuple[str, str] | None, what: str) -> list[tuple[int, int]]:
    """The asked pair, or all of them, as places."""
    if pair is None:
        found = list(itertools.combinations(range(len(names)), 2))
        if len(found) > PAIRS_MAX:
            raise ArgumentError(
                f"{len(names)} levels of {what} make {len(found)} pairs: name the two with pair=(this, other)."
            )
        return found
    if isinstance(pair, str) or len(pair) != 2 or pair[0] == pair[1]:
        raise ArgumentError(f"pair is two different levels, (this, other), seen {pair!r}.")
    for name in pair:
        if name not in names:
            raise ArgumentError(f"{what} has no level {name!r} here{nearest(str(name), names)}; it has {', '.join(names)}.")
    return [(names.index(pair[0]), names.index(pair[1]))]


def _as_they_are(rows: Rows, of: str, by: str | None, comparison: str, pair, law: Law | None) -> None:
    """Models, contexts and regimes, each as the log served them."""
    fit = rows.fit
    bench = levels(fit, "evaluation")
    mu = levels(fit, "deployment", law)
    assert mu is not None  # the needs say so
    seen = models_with_rows(fit, True)
    if of == "model":
        places = np.flatnonzero(seen)
        names = [mu.models[m] for m in places]
        value = mu.mean()[:, places]
        parts = fit.log_design.linked.models[places]
        for i, j in _pairs(names, pair, of):
            two = {"model": names[i], "model_b": names[j]}
            if parts[i] != parts[j]:
                rows.refuse(f"no model links the contexts of {names[i]} with those of {names[j]}", **two)
            else:
                rows.add(compare(value[:, i], value[:, j], comparison), **two)
        return
    if of == "regime":
        assert bench is not None
        both = np.flatnonzero(seen & models_with_rows(fit, False))
        change = compare(mu.mean()[:, both], bench.mean()[:, both], comparison)
        if pair not in (None, ("deployment", "evaluation")):
            raise ArgumentError(f"regimes are compared as ('deployment', 'evaluation'), seen {pair!r}.")
        _add(rows, change, [mu.models[m] for m in both], by, axis="against evaluation")
        return
    names = list(mu.contexts)
    for i, j in _pairs(names, pair, of):
        places = np.flatnonzero(mu.observed[:, [i, j]].all(1))
        where = {"context": names[i], "context_b": names[j]}
        if not len(places):
            rows.refuse(f"no model was judged in both {names[i]} and {names[j]}", **where)
            continue
        change = compare(mu.draws[:, places, i], mu.draws[:, places, j], comparison)
        _add(rows, change, [mu.models[m] for m in places], by, **where)


def _add(rows: Rows, change: np.ndarray, names: list[str], by: str | None, **where: str | None) -> None:
    """The mean over models, or one row a model; `change` (S, models)."""
    if by is None:
        rows.add(change.mean(1), **where)
        return
    for m, name in enumerate(names):
        rows.add(change[:, m], model=name, **where)


def _served(rows: Rows, factor: str, by: str | None, comparison: str, pair, law: Law | None) -> None:
    """A serving factor: every deployment context at one level and at the other."""
    fit = rows.fit
    names, base = list(fit.design.levels[factor]), reference_level(fit, factor)
    pairs = _pairs(names, pair, factor) if pair is not None else [(k, base) for k in range(len(names)) if k != base]
    why, tried = fit.log_design.factors[factor].why_not, tried_levels(fit, factor)
    if why:
        rows.refuse(why, factor=factor)
        return
    mu = levels(fit, "deployment", law) or levels(fit, "evaluation")
    assert mu is not None
    where = np.flatnonzero(fit.design.contexts[:, 0] == fit.design.contexts[:, 0].max())
    weight = np.full_like(mu.law, 1 / len(where)) if law is None else mu.law  # as serving_effect: each context counts alike
    at = {}
    for level in {k for two in pairs for k in two}:
        mixtures = {f: m[where].copy() for f, m in fit.design.mixtures.items()}
        mixtures[factor] = np.eye(len(names))[[level] * len(where)]
        served = from_link(link_levels(fit, where, mixtures), fit.arms.link)
        at[level] = np.einsum("smc,mc->sm", served, weight)
    for i, j in pairs:
        change, known = compare(at[i], at[j], comparison), tried[:, i] & tried[:, j]
        place = {"factor": factor, "level": names[i], "axis": f"against {names[j]}"}
        if by is None:
            if known.any():
                rows.add(change.mean(1), **place)
            else:
                rows.refuse(f"no model was judged at both {factor} = {names[i]} and {names[j]}", **place)
            continue
        for m, model in enumerate(mu.models):
            if known[m]:
                rows.add(change[:, m], model=model, **place)
            else:
                rows.refuse(f"{model} was not judged at both {factor} = {names[i]} and {names[j]}", model=model, **place)
