"""What should be measured next, and what does it buy? `plan(posterior, goal=..., budget=...)`.

The steps, a file each: what is known of every place (`knowledge`, `variance_parts`), what is to be known better (`goals`),
what a purchase is worth before it is made (`preposterior`), where the next requests go (`allocation`), and what else there
is to buy (`offers`). Nothing is measured here, and nothing is fitted again.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

import numpy as np

from divergence.calling import sentences
from divergence.errors import InputError
from divergence.estimands.spend import Prices
from divergence.joint.choice import SHARED_MIN, why_not_items
from divergence.joint.posterior import Fit, Posterior
from divergence.numerics import is_finite, one_blas_thread
from divergence.planning.allocation import STEPS, Step, allocate, equal_shares
from divergence.planning.goals import OVER_CONTEXTS, Goal, goal_of, question_of
from divergence.planning.knowledge import UNITS, Knowledge, knowledge
from divergence.planning.offers import offers
from divergence.planning.preposterior import Preposterior, Purchase
from divergence.planning.result import MeasurementPlan, PlannedCell, PlannedDesign

BUDGET = 1000.0  # requests, where nothing is said
OTHERS = (0.25, 0.5, 2.0, 4.0)  # of the budget: the other designs, and the reach of the curve
NEW_CONTEXTS, NEW_PLACES = 8, 96  # contexts that a plan may open, and places that they may make
METHOD = (
    "After this purchase combinations share less than 95 % of their items, and the fit goes over to its item-level method: "
    "where answers are nearly copies over contexts its intervals are wider than predicted here; asking everyone the same "
    "items keeps the arm-level one."
)
LAW = (
    "Deployment contexts count by their rows in this log, and rows that a plan adds are no traffic: declare deployment_law "
    '("uniform", or the shares of your traffic) in divergence.toml, or the goal moves with what is measured.'
)
ARMS_MAX = 512  # combinations: 2,000 draws do not tell the covariance of more, and matrices of them fill the memory
POINTS = 24  # of the curve
ENDLESS = 1e12  # items: what no further item removes
TARGETS = ("width", "regret")


@sentences
@one_blas_thread()
def plan(
    posterior: Posterior,
    *,
    goal: str = "decision",
    budget: float | None = None,
    unit: str = "requests",
    contexts: str | None = None,
    bank: int | None = None,
    until: Mapping[str, float] | None = None,
    outcome: str | None = None,
    declared: Mapping | None = None,
) -> MeasurementPlan:
    """Which items, trials, contexts, models or labels to buy next, and what width or regret is that expected to leave?

    `posterior`: as `dv.fit` makes it; `outcome` names one of its outcomes.
    `goal`: `decision`, or the name of a question. `budget` in `unit` (`requests`, `tokens`, `usd` or `seconds`; 1,000
    requests where none is given). `contexts`: `logged`, or `new` for a level or gap over contexts that the log never saw
    (the default for scores where the log has one deployment context). `bank`: items that were not asked yet. `until`:
    `{"width": w}` or `{"regret": r}`, the goal; a budget is then found that reaches it, at most `budget`. `declared`:
    `acceptance`, `prices` and `currency` as `best_combination` takes them.

    Returns a MeasurementPlan; `designs[0].cells` says what to ask, of whom and how often. Raises InputError for what cannot
    be meant, NotIdentifiedError for a goal that the log does not answer.

    >>> import divergence as dv
    >>> from divergence.simulate import simulate, world
    >>> posterior = dv.fit(dv.collapse(dv.read(simulate(world("baseline"), 0)[0])), seed=0)
    >>> found = dv.plan(posterior, goal="decision", budget=1000)
    >>> found.designs[0].requests <= 1000, found.designs[0].regret <= found.regret
    (True, True)
    """
    fit, given = posterior[outcome], dict(declared or {})
    room = question_of(goal).name
    if len(fit.arms) > ARMS_MAX:
        raise InputError(
            f"the log has {len(fit.arms)} combinations of model, regime and context; a plan weighs at most {ARMS_MAX}: keep "
            "fewer with --where"
        )
    amount = _checked(budget, unit, bank, until)
    where = contexts or _default_contexts(fit, room)
    if where not in ("logged", "new"):
        raise InputError(f"contexts={where!r} is not known; choose 'logged' or 'new'")
    known = _known(fit, where, given)
    wanted = goal_of(goal, posterior, known, outcome, given, where)
    of = Preposterior(known, wanted, fit.seed)
    room_left = math.inf if bank is None else float(bank)
    _affordable(known, amount, unit, room_left)
    nothing = Purchase.nothing(len(known.places))
    now = PlannedDesign(0, (), of.width(nothing), 0.0, 0.0, of.regret(nothing), 0.0)
    floor, why = _floor(of, posterior, wanted, where, outcome, given)
    _reachable(now, floor, until, goal)
    path = allocate(of, amount, unit, room_left)
    if until:
        amount, path = _reaching(of, path, until, amount)
    moved = wanted.kind != "decision" and where == "logged" and fit.cells.declared_law == "logged"
    law = [LAW] if moved and fit.log_design.contexts["deployment"] > 1 else []
    if _leaves_arm_level(fit, known, path[-1].design):
        law.append(METHOD)
    notes = [*wanted.notes, *law, *_notes(known, path, amount, room_left, where, contexts)]
    walked = _further(of, path, amount, unit, room_left)
    budgets = [amount, *(share * amount for share in OTHERS)]
    designs = [_design(of, _at(walked, b)) for b in budgets]
    equal = [_design(of, equal_shares(known, b, unit, room_left)) for b in budgets]
    return MeasurementPlan(
        goal,
        fit.cells.outcome,
        wanted.unit,
        amount,
        unit,
        now.width,
        now.regret,
        tuple(designs),
        tuple(equal),
        floor,
        why,
        offers(of, fit, amount, unit, room_left),
        _curve(of, walked, amount, unit, room_left, now),
        tuple(notes),
        _parts(known),
        where,
    )


def _checked(budget: float | None, unit: str, bank: int | None, until: Mapping[str, float] | None) -> float:
    """The budget as a number. Raises InputError for what cannot be meant."""
    if unit not in UNITS:
        raise InputError(f"the unit {unit!r} of the budget is not known; choose one of {', '.join(UNITS)}")
    amount = BUDGET if budget is None else budget
    if isinstance(amount, bool) or not isinstance(amount, int | float) or not (is_finite(amount) and amount > 0):
        raise InputError(f"the budget is {amount} {unit}: nothing can be measured with it; give a number above 0")
    if bank is not None and bank < 1:
        raise InputError(
            "the bank has no items left that were not asked yet: add items to it, or ask the same ones again with `trials`"
        )
    for name, value in (until or {}).items():
        if name not in TARGETS or not (is_finite(value) and value > 0):
            raise InputError(f"until {name}={value} cannot be meant; say width=W or regret=R, above 0, in the goal's unit")
    return float(amount)


def _default_contexts(fit: Fit, room: str) -> str:
    # Of times and costs one context says nothing of the next: the width over new ones would be that of the prior's tail.
    one = fit.log_design.contexts["deployment"] == 1 and fit.cells.kind != "positive"
    return "new" if one and room in OVER_CONTEXTS else "logged"


def _known(fit: Fit, where: str, declared: Mapping) -> Knowledge:
    prices: Prices | None = declared.get("prices")
    currency = str(declared.get("currency") or "USD")
    if where == "logged":
        return knowledge(fit, prices=prices, currency=currency)
    count = max(1, min(NEW_CONTEXTS, NEW_PLACES // fit.design.n_models))
    return knowledge(fit, new_contexts=count, universe=True, prices=prices, currency=currency)


def _affordable(known: Knowledge, amount: float, unit: str, bank: float) -> None:
    """Raises InputError for a budget without a price, or of less than one request."""
    cost = known.cost[unit][known.logged]
    if not np.isfinite(cost).any():
        what = {
            "usd": "the log has no `cost_usd`, and no [prices] are declared in divergence.toml",
            "tokens": "the log counts no `input_tokens` and `output_tokens`",
            "seconds": "the log has no latency_s",
        }[unit]
        raise InputError(f"a budget in {unit} needs to know what a request costs: {what}; or give --requests N")
    if amount < np.nanmin(cost) or bank < 1:
        raise InputError(
            f"a budget of {amount:g} {unit} is less than one request at the cheapest place ({np.nanmin(cost):.3g} {unit}); "
            "give at least that"
        )


def _floor(
    of: Preposterior, posterior: Posterior, goal: Goal, where: str, outcome: str | None, declared: Mapping
) -> tuple[float, str]:
    """The width that no further item of the log's contexts removes, and why."""
    known = of.known
    everywhere = np.array([place.kind != "new" for place in known.places])
    width = of.width(Purchase.nothing(len(known.places)).more(np.flatnonzero(everywhere), items=ENDLESS))
    now = of.width(Purchase.nothing(len(known.places)))
    if where == "new":
        return width, (
            f"how far contexts differ: the log has {len(known.contexts['deployment'])}, and no further item of "
            "them says what "
            "another one does; only new contexts do"
        )
    if width > 0.02 * now:
        models = len(dict.fromkeys(place.model for place in known.places))
        return width, (
            f"what levels do not explain: it rests on how {models} models and {len(known.contexts.get('deployment', ()))} "
            "contexts spread, and only more of them say more"
        )
    told = "items enough make the levels of the logged contexts as sure as one likes"
    fit = posterior[outcome]
    room = question_of(goal.name).name
    if room in OVER_CONTEXTS and fit.log_design.contexts["deployment"] > 0:
        wider = _known(fit, "new", declared)
        broad = Preposterior(wider, goal_of(goal.name, posterior, wider, outcome, declared, "new"), fit.seed)
        left = broad.width(
            Purchase.nothing(len(wider.places)).more(np.flatnonzero([p.kind != "new" for p in wider.places]), items=ENDLESS)
        )
        told += (
            "; over contexts like them that the log never saw the width is "
            f"{broad.width(Purchase.nothing(len(wider.places))):.3g} "
            f"and no item of the logged ones brings it below {left:.3g}"
        )
    return 0.0, told


def _reachable(now: PlannedDesign, floor: float, until: Mapping[str, float] | None, goal: str) -> None:
    """Raises InputError for a target that is reached already, or that lies below the floor."""
    for name, value in (until or {}).items():
        seen = now.width if name == "width" else now.regret
        if seen is None:
            raise InputError(f"the goal {goal!r} is judged by its width, it has no regret; say width=W")
        if seen <= value:
            raise InputError(
                f"the goal is reached: the {name} of {goal} is {seen:.3g}, at most {value:g}; nothing needs to be "
                "measured, or "
                f"ask for a {name} below {seen:.3g}"
            )
        if name == "width" and value <= floor:
            raise InputError(
                f"a width of {value:g} cannot be reached by more items of these contexts: {floor:.3g} stay; measure new "
                "contexts or models, or ask for a wider one"
            )


def _value(of: Preposterior, design: Purchase, name: str) -> float:
    found = of.width(design) if name == "width" else of.regret(design)
    return math.inf if found is None else found


def _reaching(of: Preposterior, path: list[Step], until: Mapping[str, float], amount: float) -> tuple[float, list[Step]]:
    """The part of the way that reaches the target; all of it, and the whole budget, where none does."""
    for k, step in enumerate(path):
        if k and all(_value(of, step.design, name) <= value for name, value in until.items()):
            return step.cost, path[: k + 1]
    return amount, path


def _further(of: Preposterior, path: list[Step], amount: float, unit: str, bank: float) -> list[Step]:
    """The way on to larger budgets."""
    for share in OTHERS:
        if share > 1:
            path = [*path[:-1], *allocate(of, share * amount, unit, bank, path[-1], STEPS // 2)]
    return path


def _at(path: list[Step], budget: float) -> Step:
    """The last design of the way that the budget pays for."""
    return [step for step in path if step.cost <= budget * (1 + 1e-9)][-1]


def cells_of(known: Knowledge, design: Purchase) -> tuple[PlannedCell, ...]:
    """What is asked where, the most first."""
    out = []
    for k, place in enumerate(known.places):
        if design.items[k] > 0:
            number, trials = int(design.items[k]), int(design.trials[k])
            out.append(PlannedCell(place.model, place.context, place.regime, number, trials))
        if design.again[k] > 0:
            number, trials = int(known.items[k]), int(design.again[k])
            out.append(PlannedCell(place.model, place.context, place.regime, number, trials, new_items=False))
    return tuple(sorted(out, key=lambda cell: -cell.items * cell.trials))


def _design(of: Preposterior, step: Step) -> PlannedDesign:
    known, design = of.known, step.design
    lower, upper = of.width_limits(design)
    return PlannedDesign(
        int(design.requests(known).sum()),
        cells_of(known, design),
        of.width(design),
        lower,
        upper,
        of.regret(design),
        *(_told(design.cost(known, unit)) for unit in ("usd", "tokens", "seconds")),
    )


def _told(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _curve(
    of: Preposterior, path: list[Step], amount: float, unit: str, bank: float, now: PlannedDesign
) -> tuple[Mapping[str, float | None], ...]:
    """Width or regret over the budget: planned, and equal shares of the same cost."""
    name = "width" if now.regret is None else "regret"
    start = now.width if now.regret is None else now.regret
    points: list[Mapping[str, float | None]] = [{"cost": 0.0, "planned": start, "equal": start}]
    for budget in np.linspace(0, max(OTHERS) * amount, POINTS + 1)[1:]:
        step, equal = _at(path, budget), equal_shares(of.known, float(budget), unit, bank)
        planned, shared = (_value(of, s.design, name) for s in (step, equal))
        points.append({"cost": float(budget), "planned": planned, "equal": shared})
    return tuple(points)


def _notes(known: Knowledge, path: list[Step], amount: float, bank: float, where: str, asked: str | None) -> list[str]:
    """What belongs beside the numbers."""
    out = []
    copies = int(known.parts.copies.sum())
    if not known.parts.repeated:
        out.append(
            "No item was asked twice anywhere: how much of the noise is repeating is not known, and further trials are not "
            "offered. Asking a few items again would tell."
        )
    elif copies:
        out.append(
            f"Replicates are copies in {copies} of {len(known.parts.copies)} combinations (the same answer every time): "
            "further trials buy nothing there."
        )
    if where == "new" and asked is None:
        out.append(
            "The log has one deployment context, so the plan is about contexts like it that the log never saw: "
            "more items of "
            "the one leave their floor, new contexts lower it. How far contexts differ is the prior's guess until a second "
            "one is measured."
        )
    spent = path[-1].cost
    if spent < 0.95 * amount:
        reason = (
            "the bank has no more items"
            if np.isfinite(bank) and path[-1].design.items.max() >= bank
            else ("more of the same buys nothing")
        )
        out.append(f"The plan stops at {spent:,.4g} of {amount:,.4g}: {reason}.")
    if np.isfinite(bank):
        out.append(f"The bank holds {bank:,.0f} items that were not asked yet.")
    return out


def _leaves_arm_level(fit: Fit, known: Knowledge, design: Purchase) -> bool:
    """Does the purchase leave so few shared items that the next fit takes another method (`joint.choice`)?"""
    if not fit.method.startswith("arm-level") or why_not_items(fit.cells):
        return False
    here = np.flatnonzero(known.logged)
    arm, more = known.arm[here], design.items[here]
    shared = known.parts.together[np.ix_(arm, arm)] + np.minimum(more[:, None], more)
    share, regime = shared / (known.items[here] + more)[:, None], fit.arms.deployed[arm]
    alike = (regime[:, None] == regime) & ~np.eye(len(here), dtype=bool)
    others = alike.sum(1)
    if not others.any():
        return False
    return bool(((share * alike).sum(1)[others > 0] / others[others > 0]).mean() < SHARED_MIN)


def _parts(known: Knowledge) -> tuple[Mapping[str, float | str | None], ...]:
    """The parts of each logged arm's variance, per item."""
    parts, out = known.parts, []
    for k, place in enumerate(known.places):
        arm = known.arm[k]
        if arm < 0:
            continue
        replicate = float(parts.replicate[arm])
        out.append(
            dataclasses.asdict(place)
            | {
                "items": int(parts.items[arm]),
                "shared": float(parts.shared[arm]),
                "own": float(parts.own[arm]),
                "replicate": replicate if math.isfinite(replicate) else None,
                "session": float(parts.session[arm]),
                "relative_error": float(parts.error[arm]),
            }
        )
    return tuple(out)
