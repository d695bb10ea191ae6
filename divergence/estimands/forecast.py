"""What will a model do in deployment that has bench rows only, and does it beat what we run?

    D_m | B_m, all others: a line from bench to each deployment context through the models with both sides, and what single
    models deviate from it (`joint.carry_over`); under a law  D_m = sum_c w_c mu_mc

| `statistic` | what | rows |
|---|---|---|
| null | deployed level under the law; with `context` in that one context | per candidate |
| null | deployed level under the law; with `context` in that one context | each |
| `lead`, `bench_lead` | by how much; by how much it leads on the bench | the same |
| `carried` | of a lead on the bench this share is expected in deployment: slope over models with both | one |
| `outside` | its bench level lies outside the range of the others: there the line is an assumption | each |
| `width_after` | width of its 90 % interval once it answered `level` requests under the law; 0: now | each |
| `settles` | probability that the order against `model_b` is then settled (95 % either way) | each, incumbent |
| `latency_s`, `output_tokens`, `cost_per_success` | the same forecast of what serving takes, where the log fits it | each |

Without a named incumbent the model with the highest deployed level is the one to beat. What k requests teach is normal
arithmetic: `1 / v_k = 1 / v + k / (p (1 - p))` on the outcome scale, new items all, for outcomes that are 0 or 1.
Identified by three models with rows in both regimes, one judge, and bench items that the candidate shares with them. Unit:
that of the outcome; probability; ratio. Source: regression with errors in both variables by draws of the true levels
(Fuller 1987); predictive law of a conjugate normal regression (Gelman et al. 2013, ch. 14). Judged by leaving models out
beside "bench plus the mean gap of the others" and the bench itself: `benchmarks/forecast.md`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.special import ndtr

from divergence.estimands.projection_instability import regress
from divergence.estimands.rows import Rows, answered, level_unit, refuse, unit_of
from divergence.estimands.standing import (
    FEW_ITEMS,
    FORECAST,
    MODELS_MIN,
    Standing,
    bench_items,
    candidates_of,
    known_models,
    like_names,
    standing,
)
from divergence.estimate import INTERVAL, Estimate
from divergence.identification import needs
from divergence.identification.log_design import LogDesign
from divergence.identification.question import Need, Question
from divergence.joint.laws import Law
from divergence.joint.posterior import Fit, Posterior
from divergence.numerics import NORMAL_95
from divergence.orders import first

QUESTION, TEXT = "forecast", "what models with bench rows only will do in deployment"
COORDINATES = ("model", "model_b", "context", "level", "statistic", "regime")
REQUESTS = (100, 300, 1000, 3000)
"""Numbers of deployed requests whose lesson is told."""
BESIDE = {"latency_s": "s", "output_tokens": "tokens"}
"""Further outcomes that are forecast as they are; cost is told per success."""


def forecast_needs(design: LogDesign) -> Need:
    """Three models with both sides, and one with evaluation rows only."""
    found = needs.models_in_both(design, MODELS_MIN)
    if not found.met:
        return found
    alone, usable = candidates_of(design)
    if not alone:
        return Need(False, f"It needs a model with evaluation rows only; all {len(design.both)} were deployed.")
    if not usable:
        return Need(
            False, f"It needs a candidate that shares bench items with models that were deployed; none of {alone} does."
        )
    return Need(True, f"{needs.many(usable, 'model')} with evaluation rows only, beside {len(design.both)} with both sides.")


ROOM = Question(
    QUESTION,
    "forecast of models not deployed yet",
    TEXT,
    forecast_needs,
    # Whether the line through the models of both sides can be drawn and reaches the candidate is in their levels.
    depends="a candidate must share bench items with models that were deployed",
    declared=("incumbent",),
    example_log="candidate",
)


def _checked(fit: Fit, given: Mapping) -> None:
    known_models(fit, given.get("incumbent"))


@answered(ROOM, level_unit, _checked)
def forecast(
    posterior: Posterior,
    *,
    law: Law | None = None,
    incumbent: str | Sequence[str] | None = None,
    requests: Sequence[int] = REQUESTS,
    outcome: str | None = None,
) -> Estimate:
    """Rows as in the table above. Raises InputError for an incumbent that the log does not have."""
    fit = posterior[outcome]
    seen = standing(fit)
    named = known_models(fit, incumbent)
    if seen is None or seen.lines is None:
        return refuse(fit, QUESTION, TEXT, level_unit(fit), "no line from bench to deployment can be drawn in this log")
    weights = seen.weights(law)
    level, status = seen.level(weights), seen.status(weights)
    out = Rows(fit, QUESTION, level_unit(fit), COORDINATES)
    candidates = [k for k, told in enumerate(status) if told == FORECAST]
    sign = fit.cells.sign
    served = [k for k, told in enumerate(status) if told != FORECAST]
    ahead = first(sign * level[:, served])
    against = [seen.names.index(name) for name in named if name in seen.names] or [served[ahead.at]]
    for k in candidates:
        _levels(out, seen, k, level)
        _against(out, seen, k, level, against, sign)
        if fit.cells.kind == "binary":
            _lessons(out, seen, k, level, against, requests)
        if posterior[outcome] is posterior.fits[0]:
            _beside(out, posterior, seen.names[k], level[:, k], law)
    for name, why in seen.left_out.items():
        out.refuse(why, model=name, regime="deployment")
    if candidates:
        both = np.searchsorted(seen.models, seen.lines.reference)
        out.add(regress(seen.bench[:, both], level[:, both])[1], unit="ratio", statistic="carried")
    leads = ahead.told([seen.names[k] for k in served], "first of those deployed")
    leads += f"; {seen.names[served[ahead.at]]}" if ahead.open else " and"
    return out.estimate(TEXT + _told(seen, candidates, named, against, leads), fit.described_method)


def _levels(out: Rows, seen: Standing, k: int, level: np.ndarray) -> None:
    """The candidate's level under the law and in each context, and whether it lies outside the others' range."""
    name = seen.names[k]
    out.add(level[:, k], model=name, regime="deployment")
    for c, context in enumerate(seen.contexts):
        out.add(seen.draws[:, k, c], model=name, context=context, regime="deployment")
    assert seen.lines is not None
    low, high = seen.lines.span
    outside = (seen.bench[:, k] < low) | (seen.bench[:, k] > high)
    out.add(outside.astype(float), unit="probability", statistic="outside", model=name, regime="evaluation")


def _against(out: Rows, seen: Standing, k: int, level: np.ndarray, against: list[int], sign: float) -> None:
    """The candidate beside every incumbent."""
    for other in against:
        if other == k:
            continue
        where = {"model": seen.names[k], "model_b": seen.names[other], "regime": "deployment"}
        lead = level[:, k] - level[:, other]
        out.add((1 + np.sign(sign * lead)) / 2, unit="probability", statistic="beats", **where)
        out.add(lead, unit=unit_of(out.fit), statistic="lead", **where)
        bench = seen.bench[:, k] - seen.bench[:, other]
        if np.isfinite(bench).all():
            out.add(bench, unit=unit_of(out.fit), statistic="bench_lead", **where | {"regime": "evaluation"})


def _lessons(out: Rows, seen: Standing, k: int, level: np.ndarray, against: list[int], requests: Sequence[int]) -> None:
    """What answering so many requests would leave open; numbers without an interval of their own."""
    mean = np.clip(level[:, k].mean(), 1e-6, 1 - 1e-6)
    ones = np.ones(len(level))
    variance, name = level[:, k].var(), seen.names[k]
    width = float(np.subtract(*np.quantile(level[:, k], [(1 + INTERVAL) / 2, (1 - INTERVAL) / 2])))
    for count in (0, *requests):
        shrunk = 1 / (1 + variance * count / (mean * (1 - mean)))  # of the variance, what is left
        out.add(width * np.sqrt(shrunk) * ones, unit=unit_of(out.fit), statistic="width_after", level=str(count), model=name)
        for other in against:
            if other == k:
                continue
            left = variance * shrunk + level[:, other].var()
            learnt = np.sqrt(max(variance * (1 - shrunk), 0.0))
            gap = abs(float((level[:, k] - level[:, other]).mean()))
            settled = _settled(gap, np.sqrt(left), learnt)
            where = {"model": name, "model_b": seen.names[other], "level": str(count)}
            out.add(settled * ones, unit="probability", statistic="settles", **where)


def _settled(gap: float, left: float, learnt: float) -> float:
    """P(|posterior mean| / sd left > 1.645) where the posterior mean is N(gap, learnt^2)."""
    if learnt <= 0:
        return float(gap > NORMAL_95 * left)
    return float(ndtr((gap - NORMAL_95 * left) / learnt) + ndtr((-gap - NORMAL_95 * left) / learnt))


def _beside(out: Rows, posterior: Posterior, name: str, level: np.ndarray, law: Law | None) -> None:
    """Latency, tokens, and cost per success of the candidate: forecasts of the further outcomes."""
    for fit in posterior.fits[1:]:
        what = fit.cells.outcome
        if what not in (*BESIDE, "cost_usd") or (what == "cost_usd" and posterior.fits[0].cells.kind == "positive"):
            continue  # a time or a cost is no success, which could have a cost
        if name not in fit.cells.levels["model"]:
            continue
        other = standing(fit)
        if other is None or name not in other.names:
            continue
        drawn = other.level(other.weights(law))[:, other.names.index(name)]
        drawn = drawn[np.arange(len(level)) % len(drawn)]  # fits may keep different numbers of draws
        where = {"model": name, "regime": "deployment"}
        if what == "cost_usd":
            with np.errstate(divide="ignore"):
                cost = np.where(level > 0, drawn / level, np.inf)
            out.add(cost, unit="usd", statistic="cost_per_success", **where)
        else:
            out.add(drawn, unit=BESIDE[what], statistic=what, **where)


def _told(seen: Standing, candidates: list[int], named: tuple[str, ...], against: list[int], leads: str) -> str:
    """What must be said beside the numbers."""
    assert seen.lines is not None
    told = [f"from {len(seen.lines.reference)} models with both sides"]
    if not named:
        told.append(f"no incumbent is declared: {leads} is the one to beat")
    if against and set(against) == set(candidates) and len(against) == 1:
        told.append(f"the incumbent {seen.names[against[0]]} is the only candidate: nothing to beat is declared")
    missing = [name for name in named if name not in seen.names]
    if missing:
        instead = f"; the one to beat is {seen.names[against[0]]}" if len(missing) == len(named) else ""
        told.append(f"the incumbent {missing[0]} has no deployed level{instead}")
    low, high = seen.lines.span
    middle = np.nanmedian(seen.bench[:, candidates], 0) if candidates else np.zeros(0)
    beyond = [seen.names[k] for k, b in zip(candidates, middle, strict=True) if not low <= b <= high]
    if beyond:
        told.append(f"outside the bench range of the others, where the line is an assumption: {', '.join(beyond[:3])}")
    items = bench_items(seen.fit)
    few = [f"{seen.names[k]} ({items[seen.models[k]]})" for k in candidates if items[seen.models[k]] < FEW_ITEMS]
    if few:
        told.append(f"hardly any bench items: {', '.join(few[:3])}")
    thin = [c for c, n in zip(seen.contexts, seen.lines.seen, strict=True) if n < MODELS_MIN]
    if thin:
        told.append(f"hardly a model ran in {', '.join(thin[:2])}: forecasts there lean on the spread of other contexts")
    same = like_names(seen.names)
    return " (" + "; ".join([*told, *([same.rstrip(".")] if same else [])]) + ")"
