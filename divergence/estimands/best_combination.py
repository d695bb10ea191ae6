"""Which combination of model and context is best, how sure is that, and would other traffic change it?

In each draw of the joint posterior a combination that meets the declared requirements stands before one that does not, and
of those that meet them (of all, where none are declared) the one with the highest level is best.

| `statistic` | what | rows |
|---|---|---|
| null | the likeliest best one: 1 in the draws in which it is best | one for each list |
| `p_best` | is it best? a shared first place is shared; the mean is the probability | per combination |
| `rank` | its place, 1 = first | per combination |
| `regret` | level lost against the best one of the draw, by choosing it; 0 where it has the higher level | per combination |
| `tied` | 1 for the fewest combinations that hold the first place with 90 % | per combination |
| `p_none` | no combination meets the requirements; `axis` says whether of `combinations` or `models` | one for each list |

There are three kinds of list: model and context (`context` given); models under the log's deployment law (`context` null);
models under each declared what-if (`factor` = `what_if`, `level` = its name): "if half of the traffic moved to engine B".
A combination whose requirements the log cannot judge is refused by name and left out of the lists. p_best over a list and
p_none add up to 1. Identified by two combinations. Unit: probability; rank a ratio; regret in the outcome's differences.
Source: Chick and Inoue 2001 (expected opportunity cost of a selection).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from divergence.estimands.coherence import checked, coordinates, meets, not_asked, sides_of
from divergence.estimands.combinations import Combinations, combinations
from divergence.estimands.cost_per_success import known_spend
from divergence.estimands.rank_agreement import tied
from divergence.estimands.rows import Rows, about, answered, refuse, unit_of
from divergence.estimands.spend import Prices, checked_prices
from divergence.estimate import Estimate
from divergence.identification import needs
from divergence.identification.log_design import LogDesign
from divergence.identification.question import Need, Question
from divergence.joint.laws import Law
from divergence.joint.posterior import Posterior
from divergence.orders import share_of_first

QUESTION, TEXT = "best_combination", "the best combination of model and context, and how sure that is"
COORDINATES = ("model", "context", "factor", "level", "statistic", "regime", "axis")


def choice_needs(design: LogDesign) -> Need:
    """Two combinations of model and context."""
    found = needs.level_needs(design, "deployment")
    if not found.met:
        return found
    judged_apart = needs.no_order(design, "deployment")
    if judged_apart:
        return Need(False, judged_apart)
    if design.cells.kind == "positive":
        return Need(False, f"A choice is by a score; {design.cells.outcome} is not one.")
    combinations_seen = int(design.arms.deployed.sum())
    if combinations_seen < 2:
        return Need(False, "It needs two combinations of model and context to choose from; this log has one.")
    unknown = unknown_requirement(design)
    if unknown:
        return Need(False, unknown)
    return Need(
        True,
        f"{needs.many(design.models['deployment'], 'model')} in "
        f"{needs.many(design.contexts['deployment'], 'deployment context')}.",
    )


def unknown_requirement(design: LogDesign) -> str | None:
    """Why a declared requirement is known of no combination."""
    if "bench_gap_max" in design.required or "excess_flips_max" in design.required:
        missing = needs.no_comparison(design)
        if missing:
            return f"A requirement is about the distance from the bench. {missing}"
    if "cost_per_success_max_usd" in design.required and not known_spend(design, "deployment"):
        return "A requirement is about the cost of a success, and no deployment row has a cost."
    return None


ROOM = Question(
    QUESTION,
    "the best combination",
    TEXT,
    choice_needs,
    # What a requirement is of one combination (its quantile, its cost where nothing succeeded, its flips) depends on rows
    # and successes there; that it is known nowhere is the design's.
    depends="each declared requirement must be known of two combinations",
    declared=("requirements",),
    example_call='acceptance={"quality_min": 0.5}',
    of_levels=True,
)


@answered(ROOM, "probability", checked_prices)
def best_combination(
    posterior: Posterior,
    *,
    acceptance: Mapping[str, float] | None = None,
    prices: Prices | None = None,
    currency: str = "USD",
    what_if: Mapping[str, Law] | None = None,
    outcome: str | None = None,
    items: str | None = None,
) -> Estimate:
    """Rows as in the table above. Raises InputError for a bound that is none, or a law over levels never seen."""
    posterior = about(posterior, items)
    bounds = checked(acceptance)
    fit = posterior[outcome]
    reason = not_asked(posterior, fit)
    found = (
        None
        if reason
        else combinations(fit, ("quality", *sides_of(bounds)), prices=prices, currency=currency, what_if=what_if)
    )
    if reason:
        return refuse(fit, QUESTION, TEXT, "probability", reason)
    assert found is not None  # the question's needs: judged deployment rows
    met = meets(found, bounds)
    met = np.all(list(met.values()), 0) if met else np.ones_like(found.draws["quality"], bool)
    out = Rows(fit, QUESTION, "probability", COORDINATES)
    listed = 0
    for members in lists(found):
        why = {k: reason for k in members if (reason := found.reason(k)) is not None}
        known = [k for k in members if k not in why]
        for k, reason in why.items():
            out.refuse(reason, **_place(found, k))
        if len(known) > 1:
            listed += 1
            _rank(out, found, known, met[:, known], unit_of(fit))
    if not listed:
        why = next(reason for members in lists(found) for k in members if (reason := found.reason(k)))
        return refuse(fit, QUESTION, TEXT, "probability", why)
    text = TEXT + (f" (the {found.left_out} combinations with low mean levels are left out)" if found.left_out else "")
    return out.estimate(text, fit.described_method)


def lists(found: Combinations) -> list[list[int]]:
    """Targets that compete with each other: single contexts; models under the deployment law; under each what-if."""
    groups: dict[tuple, list[int]] = {}
    for k, target in enumerate(found.targets):
        groups.setdefault((target.context is None, target.what_if), []).append(k)
    return list(groups.values())


def _place(found: Combinations, k: int) -> dict[str, str | None]:
    values = coordinates(found, found.targets[k])
    return dict(zip(COORDINATES[:4], values, strict=True)) | {"regime": "deployment"}


def _rank(out: Rows, found: Combinations, known: list[int], met: np.ndarray, unit: str) -> None:
    """All rows of one list; `met` (S, members)."""
    quality = found.draws["quality"][:, known]
    some = np.asarray(met.any(1))
    best = first_among(quality, met)
    held = tied(best[some]) if some.any() else np.zeros((1, len(known)))
    first = np.where(met, quality, -np.inf).max(1)
    regret = np.where(some[:, None], np.maximum(np.where(some, first, 0.0)[:, None] - quality, 0.0), 0.0)
    place = places(quality, met)
    likeliest = int(best.mean(0).argmax())
    axis = "models" if found.targets[known[0]].context is None else "combinations"
    if some.any():
        out.add(best[:, likeliest], statistic=None, **_place(found, known[likeliest]))
    else:
        out.refuse(
            f"none of the {len(known)} {axis} meets all requirements in any draw: there is no best one",
            axis=axis,
            **(_place(found, known[0]) | {"model": None, "context": None}),
        )
    out.add(1.0 - some, statistic="p_none", axis=axis, **(_place(found, known[0]) | {"model": None, "context": None}))
    for j, k in enumerate(known):
        where = _place(found, k)
        out.add(best[:, j], statistic="p_best", **where)
        out.add(place[:, j], unit="ratio", statistic="rank", **where)
        out.add(regret[:, j], unit=unit, statistic="regret", **where)
        out.add(np.full(len(quality), held[0, j]), unit="ratio", statistic="tied", **where)


def first_among(quality: np.ndarray, met: np.ndarray) -> np.ndarray:
    """Share of the first place among those that meet the requirements, (S, members); no one's where none does."""
    return share_of_first(np.where(met, quality, -np.inf)) * met.any(1, keepdims=True)


def places(quality: np.ndarray, met: np.ndarray) -> np.ndarray:
    """Place in every draw, 1 = first: those that meet the requirements first, then by level; ties in order of position."""
    order = np.lexsort((-quality, ~met), axis=1)
    return np.argsort(order, axis=1) + 1.0
