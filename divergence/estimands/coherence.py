"""How probable is it that a model in a context meets everything that was declared to be required of it?

    P( quality >= q,  abs(mu_mc - B_m) <= e,  p95 latency <= L,  spend / success <= K,  excess flips <= x )

over one joint posterior of all five (`combinations`): what makes a combination fail more makes its successes dearer, so
the probability of the region is not the product of its sides. A bound that is not declared does not bind; a bound whose
data the log lacks refuses the combination by name, it never counts as met.

| `statistic` | what | rows |
|---|---|---|
| null | 1 in draws that meet all bounds: the mean is the probability | per model and context; per model, `context` null |
| `quality_min`, `bench_gap_max`, ... | the same for that bound alone | the same |
| `quality` (always), `bench_gap`, `latency_p95`, `cost_per_success`, `excess_flips` | the values | the same |

Rows without a context are a model under the deployment law; with `factor` = `what_if` under the declared law `level`.
Cost per success here is spend over the fit's level, so that it is joint with it; `cost_per_success` is the ratio of the
log's own sums. Identified by declared thresholds; without them there is no number. Unit: probability; values in their own.
Source: the joint acceptance region of quality control (Peterson 2008, doi 10.1080/10543400802278197).
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping

import numpy as np
import polars as pl

from divergence.errors import InputError
from divergence.estimands.combinations import Combinations, CombinationTarget, combinations
from divergence.estimands.rows import about, answer, answered, frame, level_unit, refuse, unit_of
from divergence.estimands.spend import Prices, checked_prices
from divergence.estimate import Estimate
from divergence.identification import needs
from divergence.identification.log_design import LogDesign
from divergence.identification.question import Need, Question
from divergence.joint.laws import Law
from divergence.joint.posterior import Fit, Posterior
from divergence.numerics import is_finite

QUESTION, TEXT = "coherence", "probability that a combination meets all declared requirements"
BOUNDS = {  # bound -> side of the combination that it is about, is it a lower limit, name of the value's rows
    "quality_min": ("quality", True, "quality"),
    "bench_gap_max": ("gap", False, "bench_gap"),
    "latency_p95_max_s": ("latency", False, "latency_p95"),
    "cost_per_success_max_usd": ("cost", False, "cost_per_success"),
    "excess_flips_max": ("flips", False, "excess_flips"),
}


def requirement_needs(design: LogDesign) -> Need:
    """Declared requirements, and judged deployment rows."""
    found = needs.level_needs(design, "deployment")
    if found.met and design.cells.kind == "positive":
        return Need(False, f"Requirements are about a score; {design.cells.outcome} is not one.")
    if found.met and not design.required:
        return Need(False, "It needs declared requirements: name them in [acceptance] of the configuration.")
    return found


ROOM = Question(
    QUESTION,
    "chance of meeting the requirements",
    TEXT,
    requirement_needs,
    declared=("requirements",),
    example_call='acceptance={"quality_min": 0.5}',
    of_levels=True,
)


@answered(ROOM, "probability", checked_prices)
def coherence(
    posterior: Posterior,
    *,
    acceptance: Mapping[str, float] | None = None,
    prices: Prices | None = None,
    currency: str = "USD",
    what_if: Mapping[str, Law] | None = None,
    outcome: str | None = None,
    items: str | None = None,
) -> Estimate:
    """Rows as in the table above; `acceptance` maps bounds to numbers. Raises InputError for a bound that is none."""
    posterior = about(posterior, items)
    bounds = checked(acceptance)
    fit = posterior[outcome]
    reason = not_asked(posterior, fit)
    found = None if reason else combinations(fit, sides_of(bounds), prices=prices, currency=currency, what_if=what_if)
    if reason:
        return refuse(fit, QUESTION, TEXT, "probability", reason)
    assert found is not None  # the question's needs: judged deployment rows
    met = meets(found, bounds)
    units = {"quality": level_unit(fit), "gap": unit_of(fit), "latency": "s", "cost": "usd", "flips": "probability"}
    nothing = np.full(len(fit.effects), np.nan)
    rows, draws, reasons = [], [], []

    def add(target: CombinationTarget, statistic: str | None, unit: str, values: np.ndarray, why: str | None) -> None:
        rows.append((*coordinates(found, target), statistic, unit))
        draws.append(nothing if why else values)
        reasons.append(why)

    for k, target in enumerate(found.targets):
        why = found.reason(k)
        add(target, None, "probability", np.all([met[b][:, k] for b in bounds], 0), why)
        if "quality_min" not in bounds:
            add(target, "quality", units["quality"], found.draws["quality"][:, k], found.reasons["quality"][k])
        for bound in bounds:
            side, _, name = BOUNDS[bound]
            own = found.reasons[side][k]
            add(target, bound, "probability", met[bound][:, k], own)
            add(target, name, units[side], found.draws[side][:, k], own)
    return Estimate(
        **_collected(fit, rows),
        draws=np.stack(draws, 1).astype(float),
        reason=tuple(reasons),
        quantiles_only=np.array([row[-2] == "cost_per_success" for row in rows]),
    )


def checked(acceptance: Mapping[str, float] | None) -> dict[str, float]:
    """The declared bounds. Raises InputError for an unknown one, or a value that is no number."""
    for name, value in (acceptance or {}).items():
        if name not in BOUNDS:
            close = difflib.get_close_matches(name, BOUNDS, n=1)
            hint = f" (did you mean {close[0]}?)" if close else ""
            raise InputError(f"{name!r} is no requirement{hint}; known are {', '.join(BOUNDS)}")
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float) or not is_finite(value)):
            raise InputError(f"{name} is a number, seen {value!r}")
    return {name: float(value) for name, value in (acceptance or {}).items() if value is not None}


def sides_of(bounds: Mapping[str, float]) -> tuple[str, ...]:
    """The sides of a combination that the bounds need."""
    return tuple(BOUNDS[bound][0] for bound in bounds)


def not_asked(posterior: Posterior, fit: Fit) -> str:
    """Why requirements cannot be asked of this outcome, or ''."""
    if fit is not posterior.fits[0] or fit.cells.kind == "positive":
        return f"requirements are about the primary outcome, a score; {fit.cells.outcome} is not one"
    return ""


def meets(found: Combinations, bounds: Mapping[str, float]) -> dict[str, np.ndarray]:
    """Per bound, which draws of which target meet it, shape (S, targets); False where the side is not identified."""
    met = {}
    for bound, limit in bounds.items():
        side, lower, _ = BOUNDS[bound]
        with np.errstate(invalid="ignore"):
            met[bound] = found.draws[side] >= limit if lower else found.draws[side] <= limit
    return met


def coordinates(found: Combinations, target: CombinationTarget) -> tuple:
    """Model, context, factor, level of a target's rows."""
    return (found.models[target.model], target.context, "what_if" if target.what_if else None, target.what_if)


def _collected(fit: Fit, rows: list[tuple]) -> dict:
    model, context, factor, level, statistic, unit = (list(c) for c in zip(*rows, strict=True))
    table = frame(
        model=model, context=context, factor=factor, level=level, statistic=statistic, regime=["deployment"] * len(rows)
    ).with_columns(unit=pl.Series(unit, dtype=pl.String))
    one = answer(fit, QUESTION, TEXT, "probability", table, np.zeros((1, len(rows))))
    return {name: getattr(one, name) for name in ("question", "text", "unit", "rows", "outcome", "counts", "method")}
