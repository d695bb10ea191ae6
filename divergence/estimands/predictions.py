"""What level is predicted for a group of one's own: a model, a context, a level of a serving factor, or what-if serving?

    P_g = sum_{(m, c) in g} w_mc mu_mc / sum_{(m, c) in g} w_mc

`mu_mc` is the level of model m in context c from the joint model, `w_mc` the law over contexts, each model counting alike.
By `model` this is `deployed_level`; by a factor it is the level of the contexts that had it, which is no effect of the
factor (`comparisons` asks that). `factors={"kv_cache_dtype": "q8_0"}` serves every context with that level instead and
leaves all else as it was. Identified as levels are; a what-if needs the factor's own effect, and a model judged at that
level. Unit: probability (or the outcome's own). Source: the average adjusted predictions of the marginal-effects
literature.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from divergence.calling import nearest, sentences, shown
from divergence.errors import ArgumentError
from divergence.estimands.rows import answer, level_unit, models_with_rows, refuse, tried_levels
from divergence.estimate import COORDINATES, Estimate
from divergence.identification import needs
from divergence.joint.laws import Law
from divergence.joint.level_draws import link_levels
from divergence.joint.link import from_link
from divergence.joint.posterior import Fit, Posterior
from divergence.joint.predict import Levels, levels

QUESTION, TEXT = "predictions", "level of each group, for new items"
WORDS = "levels of groups of one's own"


@sentences
def predictions(
    posterior: Posterior,
    *,
    by: str | Sequence[str] = "model",
    regime: str = "deployment",
    contexts: str = "logged",
    factors: Mapping[str, str] | None = None,
    law: Law | None = None,
    items: str = "new",
    outcome: str | None = None,
) -> Estimate:
    """Which level does the joint model predict for groups of one's own?

    `posterior`: what `fit` returns. `by`: what a row is, `"model"`, `"context"`, a serving factor, or several of them; `()`
    = one number. `regime`: `"deployment"` or `"evaluation"`. `contexts`: `"logged"`, or `"new"` for one that the log never
    saw (by model only; `law` does not matter there). `factors`: levels, by factor, that every context is served with
    instead. `law`: `"logged"`, `"own"`, `"uniform"` or {context: probability}. `items`: `"new"`, or `"observed"` for those
    of the log. `outcome`: None = the primary one.

    Returns an Estimate, one row a group, in the unit of a level (0..1 for scores). What the log does not identify is refused
    with the reason. Raises InputError for a name that the log has not.

    >>> import divergence as dv
    >>> from divergence.simulate import simulate, world
    >>> posterior = dv.fit(dv.collapse(dv.read(simulate(world("baseline"), 0)[0])), seed=0)
    >>> dv.predictions(posterior, by="quantization").rows["level"].to_list()
    ['f16', 'q4_0', 'q8_0']
    """
    fit, unit = posterior[outcome], level_unit(posterior[outcome])
    if not isinstance(by, str | Sequence):
        raise ArgumentError(f"by is a name, or several, such as ('model', 'context'), seen {shown(by)}.")
    if not isinstance(factors, Mapping | None):
        raise ArgumentError(f"factors is a level by factor, such as {{'kv_cache_dtype': 'q8_0'}}, seen {shown(factors)}.")
    groups = (by,) if isinstance(by, str) else tuple(by)
    known = ("model", "context", *(f for f in fit.design.mixtures if f != "context"))
    _check(fit, groups, regime, contexts, dict(factors or {}), known)
    need = needs.level_needs(fit.log_design, regime)
    if not need.met:
        return refuse(fit, QUESTION, TEXT, unit, need.sentence)
    conflict = fit.log_design.context_judges[regime] if regime == "deployment" and set(groups) - {"model"} else None
    if conflict:
        return refuse(fit, QUESTION, TEXT, unit, f"It needs one judge in all contexts: {conflict}.")
    mu = levels(fit, regime, law, items=items, contexts=contexts)
    assert mu is not None  # there are judged rows
    draws, unknown = (mu.draws, {}) if not factors else _served(fit, regime, factors)
    rows, found, reasons = _grouped(fit, regime, mu, draws, groups, unknown)
    told = TEXT if contexts == "logged" else TEXT + ", in a deployment context that the log never saw"
    if factors:
        told += ", served with " + ", ".join(f"{k} = {v}" for k, v in factors.items())
    if "context" in groups and "model" in groups and not mu.observed[models_with_rows(fit, regime == "deployment")].all():
        told += " (combinations without rows are filled by the model)"
    return answer(fit, QUESTION, told, unit, rows, found, reason=tuple(reasons), words=WORDS)


def _check(fit: Fit, groups: tuple[str, ...], regime: str, contexts: str, factors: dict[str, str], known: tuple) -> None:
    """InputError for what cannot be meant."""
    for name in groups:
        if name not in known:
            raise ArgumentError(
                f"by={name!r} is nothing that varies in this log{nearest(str(name), known)}; {_list(known)}."
            )
    if len(set(groups)) < len(groups):
        raise ArgumentError(f"by names each group once, seen {groups!r}.")
    if regime not in ("evaluation", "deployment"):
        raise ArgumentError(
            f"regime is 'evaluation' or 'deployment', seen {regime!r}{nearest(str(regime), ['evaluation'])}."
        )
    if contexts == "new" and (set(groups) - {"model"} or factors):
        raise ArgumentError("contexts='new' have no label and no level that the log knows: ask them by='model' alone.")
    for name, level in factors.items():
        names = fit.design.levels.get(name, ())
        if name == "context" or name not in fit.design.mixtures:
            raise ArgumentError(f"factors names {name!r}, which does not vary in this log; {_list(known[2:])}.")
        if level not in names:
            raise ArgumentError(f"{name} has no level {level!r} in this log{nearest(str(level), names)}; {_list(names)}.")


def _list(names: Sequence[str]) -> str:
    return f"choose from {', '.join(names)}" if names else "no serving factor varies here"


def _served(fit: Fit, regime: str, factors: Mapping[str, str]) -> tuple[np.ndarray, dict[int, str]]:
    """Levels with every context served so (S, models, contexts), and why a model's are not known, by its number."""
    where = np.flatnonzero(fit.design.contexts[:, 0] == (regime == "deployment"))
    mixtures = {f: m[where].copy() for f, m in fit.design.mixtures.items()}
    unknown: dict[int, str] = {}
    for factor, level in factors.items():
        place = fit.design.levels[factor].index(level)
        mixtures[factor] = np.eye(len(fit.design.levels[factor]))[[place] * len(where)]
        why = fit.log_design.factors[factor].why_not
        tried = tried_levels(fit, factor)[:, place]
        for m, name in enumerate(fit.cells.levels["model"]):
            if why:
                unknown[m] = why
            elif not tried[m]:
                unknown.setdefault(m, f"{name} has no judged rows at {factor} = {level} and at another level")
    return from_link(link_levels(fit, where, mixtures), fit.arms.link), unknown


def _grouped(
    fit: Fit, regime: str, mu: Levels, draws: np.ndarray, groups: tuple[str, ...], unknown: dict[int, str]
) -> tuple[pl.DataFrame, np.ndarray, list[str | None]]:
    """Coordinates, draws (S, groups) and reasons of every group that has weight."""
    seen = models_with_rows(fit, regime == "deployment")
    mine = fit.design.contexts[:, 0] == (regime == "deployment")
    weight = mu.law * seen[:, None]
    member: dict[str, list[tuple[str, np.ndarray]]] = {}
    for name in groups:
        if name == "model":
            masks = [(n, np.eye(len(mu.models))[m][:, None]) for m, n in enumerate(mu.models)]
        elif name == "context":
            masks = [(n, np.eye(len(mu.contexts))[c][None]) for c, n in enumerate(mu.contexts)]
        else:
            shares = fit.design.mixtures[name][mine]
            masks = [(n, shares[:, k][None]) for k, n in enumerate(fit.design.levels[name])]
        member[name] = masks
    rows, found, reasons = [], [], []
    for combination in itertools.product(*member.values()):
        part = weight * np.prod([np.broadcast_to(mask, weight.shape) for _, mask in combination], axis=0)
        if part.sum() <= 0:
            continue
        lost = [unknown[int(m)] for m in np.flatnonzero(part.sum(1) > 0) if int(m) in unknown]
        rows.append(_place(regime, groups, [label for label, _ in combination]))
        found.append(np.einsum("smc,mc->s", draws, part / part.sum()))
        reasons.append(lost[0] if lost else None)
        if lost:
            found[-1] = np.full(len(draws), np.nan)
    columns = [name for name in COORDINATES if any(name in row for row in rows)]
    table = pl.DataFrame([{c: row.get(c) for c in columns} for row in rows], schema=dict.fromkeys(columns, pl.String))
    return table, np.stack(found, 1), reasons


def _place(regime: str, groups: tuple[str, ...], labels: list[str]) -> dict[str, str]:
    """Coordinates of a group: factors by name and level, several of them joined."""
    pairs = dict(zip(groups, labels, strict=True))
    place = {"regime": regime} | {k: v for k, v in pairs.items() if k in ("model", "context")}
    named = {k: v for k, v in pairs.items() if k not in place}
    return place | ({"factor": " x ".join(named), "level": " x ".join(named.values())} if named else {})
