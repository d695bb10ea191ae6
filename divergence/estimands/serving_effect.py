"""What does each serving factor do?

    mean over models and deployment contexts of  mu_mc(factor at this level) - mu_mc(factor at its reference level)

All other terms of the joint model stay as they are. The reference is the level of the evaluation context, else the most
frequent level; a log without evaluation whose only factor is the context itself compares with the mean over contexts.

| `statistic` | what |
|---|---|
| null | the effect of a level, over models and per model; of factors that go together, of their combination (`f + g`) |
| `interaction` | a model's own effect minus that over models |
| `matched`, `pair` | contrasts of contexts alike but for one factor, or two (`f x g`): `matched_contexts` |
| `variance_share` | share of the variance between contexts, mean over orders of the factors: `variance_shares` |
| `variance_share_lowest`, `variance_share_highest` | the range over orders: all that is known of factors that go together |
| `variance_share_left` | what no factor accounts for |
| `positivity` | share of the log's (model, item) pairs that were served at the level |

A factor that varies within contexts which are mixed alike is contrasted within them (`within_contexts`), not between them.
A factor that changes only together with others is refused, they are named, and its share is given as a range. `method`
ends in `causal reading` or `association` (`positivity`). Unit: fraction (points are hundredths of it); shares ratio.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Sequence

import numpy as np

from divergence.calling import nearest
from divergence.cells.overlap import replays
from divergence.errors import InputError
from divergence.estimands.matched_contexts import contrast, crossed, matched
from divergence.estimands.positivity import assignment, positivity
from divergence.estimands.rows import Rows, answered, levels_seen, logged_levels, models_with_rows, tried_levels, unit_of
from divergence.estimands.variance_shares import alone, shares
from divergence.estimands.within_contexts import WithinContexts, contrast_within, replacing
from divergence.estimate import Estimate
from divergence.identification import needs
from divergence.identification.factor_levels import moved_together
from divergence.identification.linked_contexts import linked_parts
from divergence.identification.log_design import LogDesign
from divergence.identification.question import Need, Question
from divergence.identification.rules_of_results import unlogged_difference
from divergence.joint.level_draws import link_levels
from divergence.joint.link import from_link
from divergence.joint.posterior import Fit, Posterior
from divergence.joint.predict import levels

QUESTION, TEXT = "serving_effect", "what a level of a serving factor does to the outcome, against the reference level"
PAIRS_MAX = 200  # contrasts of pairs shown when none is asked for
UNTRIED_MAX = 2000  # (model, level) that no row shows, refused one by one; beyond it once a model


def factor_needs(design: LogDesign) -> Need:
    """A factor with two levels within one regime that others do not give away."""
    factors = design.factors
    named = design.cells.factors
    conflict = design.context_judges["deployment"]
    if named and (conflict or design.constant is not None):
        judge = f"It needs one judge in all contexts: {conflict}."
        return Need(False, judge if conflict else needs.nothing_varies(design) or "")
    if not named:
        return Need(False, "It needs a serving factor that varies; this log names none.")
    rows = replacing(design.cells, factors)
    inside = "".join(f" {found.told}" for found in rows.values() if found.why_not is None)
    one = [name for name in named if name not in rows and name not in factors]
    if not factors and inside:
        return Need(True, inside.strip() + (f" This log has one level of {', '.join(one)}." if one else ""))
    if not factors and rows:
        return Need(False, f"It needs a factor that changes by itself: {next(iter(rows.values())).why_not}.")
    if not factors:
        return Need(False, f"It needs a factor with two levels; this log has one of {', '.join(named)}.")
    unlike = needs.unlike_tasks(design, "deployment" if design.rows["deployment"] else "evaluation")
    if unlike:
        return Need(False, unlike)
    usable = {n: f for n, f in factors.items() if f.within_model >= 2 or (n == "context" and not f.why_not)}
    if not usable and inside:
        return Need(True, inside.strip())
    if not usable:
        seen = ", ".join(f"{name} {len(factor.levels)}" for name, factor in factors.items())
        return Need(
            False,
            "It needs a factor with two levels within one model and regime; here levels differ only between models or "
            f"between regimes (levels seen: {seen}).",
        )
    usable = {name: factor for name, factor in usable.items() if name not in rows}
    told = "; ".join(f"{name} has {needs.many(len(factor.levels), 'level')}" for name, factor in usable.items())
    told += "." if told else ""
    for group in dict.fromkeys(factor.together for factor in usable.values() if factor.together):
        told += f" {' and '.join(group)} change together: their effects cannot be told apart."
    for name, factor in usable.items():
        told += "".join(f" The level of {finer} fixes that of {name}." for finer in factor.fixed_by)
    told += inside
    if not inside and not any(factor.why_not is None or factor.together for factor in usable.values()):
        why = told or next((f"{factor.why_not}." for factor in factors.values() if factor.why_not), "")
        return Need(False, "It needs a factor that changes by itself: " + why)
    rest = [name for name in named if name not in usable and name not in rows]
    return Need(
        True, told.strip() + (f" Within one model and regime there is one level of {', '.join(rest)}." if rest else "")
    )


ROOM = Question(
    QUESTION,
    "effects of serving factors",
    TEXT,
    factor_needs,
)


@answered(ROOM, unit_of)
def serving_effect(
    posterior: Posterior, *, pairs: Sequence[tuple[str, str]] | None = None, outcome: str | None = None
) -> Estimate:
    """Rows as in the table above. `pairs`: the pairs of factors to contrast; None = all that the design crosses.

    Raises InputError when a pair names a factor that does not vary in the log.
    """
    fit = posterior[outcome]
    unit = unit_of(fit)
    factors = fit.design.mixtures
    for name in itertools.chain.from_iterable(pairs or ()):
        if name not in factors:
            known = ", ".join(factors)
            raise InputError(
                f"the pair names {name!r}, which does not vary in this log{nearest(name, factors)}; choose from {known}"
            )
    rows = Rows(fit, QUESTION, unit, ("factor", "level", "model", "statistic", "axis"))
    unknown = {factor: fit.log_design.factors[factor].why_not for factor in factors}
    moved = []
    inside = replacing(fit.cells, fit.log_design.factors)
    for factor, why in unknown.items():
        if why and factor not in inside:
            rows.refuse(why, factor=factor)
    for found in inside.values():
        _add_within(rows, found)
    together = [
        group
        for group in moved_together(factors, fit.design.contexts[:, 0])
        if not any(fit.log_design.factors[factor].mixed for factor in group)
    ]
    for group in [(factor,) for factor, why in unknown.items() if not why] + together:
        effects = _effects(fit, group)
        names = [_combination(fit, group, k) for k in effects.shown]
        against = _combination(fit, group, effects.reference)
        _add_effects(rows, " + ".join(group), names, against, effects, _apart(fit, group[0], effects))
        moved.append((" + ".join(group), fit.design.mixtures[group[0]][:, effects.shown], effects.mean))
    if "context" not in factors:
        _add_matched(rows, fit, unknown)
        _add_pairs(rows, fit, pairs)
    _add_shares(rows, fit, {factor: why for factor, why in unknown.items() if factor not in inside}, moved)
    for factor in factors:
        for level, share in zip(fit.design.levels[factor], positivity(fit, factor), strict=True):
            constant = np.full(len(fit.effects), share)
            rows.add(constant, factor=factor, level=level, statistic="positivity", unit="probability")
    reading = assignment(fit, tuple(inside), between=bool(moved))
    return rows.estimate(TEXT + _confounded(fit), f"{fit.described_method}; {reading}")


def _add_within(rows: Rows, found: WithinContexts) -> None:
    """What a factor does within contexts, over models and per model."""
    if found.why_not:
        rows.refuse(found.why_not, factor=found.factor)
        return
    models, against = rows.fit.cells.levels["model"], f"against {found.levels[0]}"
    for k, level in enumerate(found.levels[1:], 1):
        for m, model in [(None, None), *(enumerate(models) if len(models) > 1 else ())]:
            place = {"factor": found.factor, "level": level, "model": model, "axis": against}
            draws = contrast_within(rows.fit, found, k, m)
            if draws is None:
                rows.refuse(f"{model} has too few rows at both levels within one context", **place)
            else:
                rows.add(draws, **place)


@dataclasses.dataclass(frozen=True)
class _Effects:
    """What the levels of a factor do, or of a group that moves together: then the levels are those of its first factor."""

    reference: int
    """The level that the others are compared with; -1: the mean over levels."""
    shown: list[int]
    """The levels with an effect."""
    mean: np.ndarray
    """Effects over models, shape (S, shown)."""
    own: dict[tuple[int, int], np.ndarray]
    """A model's own effect, (S,), by model and place in `shown`: where it was tried at the level, else it is its prior."""


def _effects(fit: Fit, group: tuple[str, ...]) -> _Effects:
    """Effects of levels; those of a model are kept where it was tried, so that empty combinations take no memory."""
    factor, tried = group[0], tried_levels(fit, group[0])
    several = factor == "context" and not (fit.design.contexts[:, 0] == 0).any()
    base = -1 if several else reference_level(fit, factor)
    shown = [k for k in range(tried.shape[1]) if k != base]
    mean, kept, against = [], [], np.zeros(())
    for k, at in enumerate(_at_levels(fit, group)):
        if k == base or several:
            against = against + at
        if k != base:
            mean.append(at.mean(1))
            kept.append(at[:, tried[:, k]])
    against = against / tried.shape[1] if several else against
    own = {
        (int(m), place): kept[place][:, at] - against[:, m]
        for place, k in enumerate(shown)
        for at, m in enumerate(np.flatnonzero(tried[:, k]))
    }
    return _Effects(base, shown, np.stack(mean, 1) - against.mean(1)[:, None], own)


def _at_levels(fit: Fit, group: tuple[str, ...]) -> Iterator[np.ndarray]:
    """What each model reaches at each level of a factor in turn, mean over contexts, all else as it is; (S, models)."""
    design, factor = fit.design, group[0]
    deployed, evaluated = design.of_regime(True), design.of_regime(False)
    where = deployed if len(deployed) else evaluated
    mixture = design.mixtures[factor]
    for level in range(mixture.shape[1]):
        having = np.flatnonzero(mixture[:, level] > 0)
        if factor == "context":  # the label is all that is known: what it does is what that context did, deployed if it was
            place = having[np.argsort(-design.contexts[having, 0])][0]
            regime = int(design.contexts[place, 0])
            at = fit.levels_of_new_items[regime][:, :, np.searchsorted((evaluated, deployed)[regime], place)]
            yield np.ascontiguousarray(at)
            continue
        moved = {f: m[where].copy() for f, m in design.mixtures.items()}
        for name in group:
            moved[name] = np.repeat(design.mixtures[name][[int(mixture[:, level].argmax())]], len(where), 0)
        moved[factor] = np.eye(mixture.shape[1])[[level] * len(where)]
        yield from_link(link_levels(fit, where, moved), fit.arms.link).mean(2)


def reference_level(fit: Fit, factor: str) -> int:
    """The level of the bench, else the most frequent one."""
    mixture, evaluated = fit.design.mixtures[factor], fit.design.contexts[:, 0] == 0
    return int((mixture[evaluated] if evaluated.any() else mixture).mean(0).argmax())


def _combination(fit: Fit, group: tuple[str, ...], level: int) -> str:
    """Name of a level, of factors that change together the levels of all of them; -1 is the mean."""
    if level < 0:
        return "the mean over contexts"
    if len(group) == 1:
        return fit.design.levels[group[0]][level]
    having = int(fit.design.mixtures[group[0]][:, level].argmax())
    return " + ".join(fit.design.levels[f][int(fit.design.mixtures[f][having].argmax())] for f in group)


def _apart(fit: Fit, factor: str, effects: _Effects) -> list[bool]:
    """Which of the shown levels no chain of models ties to the reference (the mean: to all the others)."""
    model, level = np.nonzero(levels_seen(fit, factor))
    parts = linked_parts(model, level)[1]
    several = len(np.unique(parts)) > 1
    reference = effects.reference
    return [several if reference < 0 else bool(parts[k] != parts[reference]) for k in effects.shown]


def _add_effects(rows: Rows, factor: str, names: list[str], reference: str, effects: _Effects, apart: list[bool]) -> None:
    """Effects over models and, where there are several, per model and what is their own. `apart` as in `_apart`."""
    models, against = rows.fit.cells.levels["model"], f"against {reference}"
    for k, level in enumerate(names):
        place = {"factor": factor, "level": level, "axis": against}
        if apart[k]:
            told = f"no model links {factor} = {level} with {reference}, not by a detour over other levels"
            rows.refuse(f"{told}: their difference cannot be told from that of the models", **place)
        else:
            rows.add(effects.mean[:, k], **place)
    if len(models) == 1:
        return
    each = len(models) * len(names) - len(effects.own) <= UNTRIED_MAX
    for (m, model), statistic in itertools.product(enumerate(models), (None, "interaction")):
        place, untried = {"factor": factor, "model": model, "statistic": statistic, "axis": against}, 0
        for k, level in enumerate(names):
            own = effects.own.get((m, k))
            if own is not None:
                rows.add(own if statistic is None else own - effects.mean[:, k], **place, level=level)
            elif each:
                rows.refuse(f"{model} has no judged rows at {factor} = {level} and at another level", **place, level=level)
            else:
                untried += 1
        if untried:
            rows.refuse(
                f"{model} has no judged rows at {untried} of the {len(names)} levels of {factor}, or only there", **place
            )


def _linked(fit: Fit, comparable: np.ndarray, group: Sequence[int]) -> bool:
    """Do models tie these contexts (positions in `comparable`) together?"""
    deployed, context = fit.design.contexts[comparable[list(group)]].T
    return len(set(fit.log_design.linked.contexts[deployed, context].tolist())) == 1


def _comparable(fit: Fit) -> tuple[np.ndarray, dict[str, np.ndarray], np.ndarray]:
    """Levels over models of the contexts that may be compared (S, contexts), their mixtures, and which contexts they are."""
    deployed, bench = levels(fit, "deployment"), levels(fit, "evaluation")
    regime = fit.design.contexts[:, 0]
    if deployed is None or (bench is not None and replays(fit.cells)):
        keep = np.arange(len(regime))
    else:
        keep = np.flatnonzero(regime == 1)
    table = from_link(link_levels(fit, keep), fit.arms.link)
    seen = models_with_rows(fit, deployed is not None)
    return table[:, seen].mean(1), {f: m[keep] for f, m in fit.design.mixtures.items()}, keep


def _add_matched(rows: Rows, fit: Fit, unknown: dict[str, str | None]) -> None:
    """Contrasts of contexts that differ in one factor only."""
    table, mixtures, comparable = _comparable(fit)
    disagreeing = unlogged_difference(fit.log_design)
    for factor in mixtures:
        if unknown[factor]:
            continue
        if disagreeing is not None:
            rows.refuse(disagreeing.sentence, factor=factor, statistic="matched")
            continue
        base = reference_level(fit, factor)
        for level, name in enumerate(fit.design.levels[factor]):
            groups = matched(mixtures, factor, level, base) if level != base else []
            groups = [group for group in groups if _linked(fit, comparable, group)]
            if groups:
                rows.add(
                    contrast(table, groups),
                    factor=factor,
                    level=name,
                    statistic="matched",
                    axis=f"against {fit.design.levels[factor][base]}",
                )


def _add_pairs(rows: Rows, fit: Fit, asked: Sequence[tuple[str, str]] | None) -> None:
    """Contrasts of four contexts that cross two factors; an asked pair that the design does not cross is refused."""
    table, mixtures, comparable = _comparable(fit)
    found = []
    for first, second in asked if asked is not None else itertools.combinations(mixtures, 2):
        base = reference_level(fit, first), reference_level(fit, second)
        before = len(found)
        for a, b in itertools.product(*(range(mixtures[f].shape[1]) for f in (first, second))):
            groups = crossed(mixtures, (first, second), (a, b), base) if a != base[0] and b != base[1] else []
            groups = [group for group in groups if _linked(fit, comparable, group)]
            if groups:
                names = [fit.design.levels[f][k] for f, k in ((first, a), (second, b), (first, base[0]), (second, base[1]))]
                found.append((groups, f"{first} x {second}", f"{names[0]} x {names[1]}", f"against {names[2]} x {names[3]}"))
        if asked is not None and len(found) == before:
            rows.refuse(
                f"no four comparable contexts cross {first} and {second} and agree in every other factor",
                factor=f"{first} x {second}",
                statistic="pair",
            )
    for groups, factor, level, axis in found[: None if asked is not None else PAIRS_MAX]:
        rows.add(contrast(table, groups), factor=factor, level=level, statistic="pair", axis=axis)


def _add_shares(
    rows: Rows, fit: Fit, unknown: dict[str, str | None], moved: list[tuple[str, np.ndarray, np.ndarray]]
) -> None:
    """Variance shares and their range over orders; `moved` has the name, mixture and effects of what has an effect."""
    mu = levels(fit, "deployment") or logged_levels(fit, "evaluation")
    regime = fit.design.contexts[:, 0]
    here, law = regime == regime.max(), mu.law.mean(0)
    if sum(np.ptp(m[here], axis=0).max() > 0 for m in fit.design.mixtures.values()) < 2:
        return  # one factor alone has all of it
    code = fit.design.contexts[here, 1]
    if len(np.unique(fit.log_design.linked.contexts[int(regime.max()), code])) > 1:
        why = "no model links all contexts: how much of their variance is the models' cannot be told"
        rows.refuse(why, statistic="variance_share_left", unit="ratio")
        return
    level = mu.draws[:, models_with_rows(fit, bool(regime.max()))].mean(1)
    parts = [effect @ mixture[here].T for _, mixture, effect in moved]
    rest = level - sum(parts) if parts else level
    shared = shares(np.stack([*parts, rest], 1), level, law)
    for k, name in enumerate([name for name, _, _ in moved]):
        for statistic, values in zip(("", "_lowest", "_highest"), shared, strict=True):
            rows.add(values[:, k], factor=name, statistic=f"variance_share{statistic}", unit="ratio")
    for factor, why in unknown.items():
        if why and np.ptp(fit.design.mixtures[factor][here], axis=0).max() > 0:
            most = alone(level, law, fit.design.mixtures[factor][here])
            rows.refuse(why, factor=factor, statistic="variance_share", unit="ratio")
            rows.add(np.zeros_like(most), factor=factor, statistic="variance_share_lowest", unit="ratio", bound=why)
            rows.add(most, factor=factor, statistic="variance_share_highest", unit="ratio", bound=why)
    rows.add(shared[0][:, -1], statistic="variance_share_left", unit="ratio")


def _confounded(fit: Fit) -> str:
    """Says where a factor's effect cannot be told from what else is special to its contexts."""
    contexts = fit.design.contexts
    shown = [mixture for factor, mixture in fit.design.mixtures.items() if not fit.log_design.factors[factor].mixed]
    mixed = np.concatenate([np.ones((len(contexts), 1)), *shown], 1)
    if not shown or "context" in fit.design.mixtures or np.linalg.matrix_rank(mixed) < len(contexts):
        return ""
    return (
        ": as many effects as contexts, so an effect shares what it shows with what else is special to its contexts "
        "and stays wide; matched contrasts compare whole contexts and are narrower"
    )
