"""A plan in words and numbers, for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from divergence.planning.result import MeasurementPlan, PlannedDesign

CELLS, MOVES = 12, 8  # rows that a terminal shows; plan.json holds all
NAMED = 3  # cells that one sentence names
WORTH = 0.95  # of what is open: a plan that leaves more is no advice
LEAST = 1e-4  # of a width or a loss of shares: a hundredth of a point
LONGEST = 60  # characters of a name


def text(plan: MeasurementPlan) -> str:
    """The whole plan: headline, cells, what else there is, notes."""
    first, equal = plan.designs[0], plan.uniform[0]
    lines = [headline(plan), f"  now            {_state(plan.width, plan.regret, plan)}"]
    lines.append(f"  planned        {_design(first, plan)}")
    lines.append(f"  equal shares   {_design(equal, plan)}")
    lines.append(f"  floor          width {plan.floor:.3g}: {plan.floor_why}")
    if first.cells:
        lines += ["", "ask next"]
        rows = [("model", "context", "items", "trials", "which")]
        rows += [
            (short(c.model), short(c.context), f"{c.items:,}", str(c.trials), "new" if c.new_items else "asked before")
            for c in first.cells[:CELLS]
        ]
        lines += _table(rows)
        if len(first.cells) > CELLS:
            lines.append(f"  and {len(first.cells) - CELLS} more (all are in plan.json)")
    if plan.moves:
        lines += ["", "what there is to buy, one thing at a time"]
        rows = [("kind", "what", "amount", "requests", "gain", "width after", "regret after")]
        rows += [
            (
                m.kind,
                short(m.what, LONGEST + 20),
                f"{m.amount:,}",
                f"{m.requests:,}",
                f"{m.gain:.3g}",
                "" if m.width is None else f"{m.width:.3g}",
                "" if m.regret is None else f"{m.regret:.3g}",
            )
            for m in _shown(plan)
        ]
        lines += _table(rows)
    return "\n".join([*lines, *([""] if plan.notes else []), *(f"note: {note}" for note in plan.notes)])


def _shown(plan: MeasurementPlan) -> list:
    """The first moves, and the first one of every other kind."""
    first = list(plan.moves[:MOVES])
    kinds = {m.kind for m in first}
    for move in plan.moves[MOVES:]:
        if move.kind not in kinds:
            kinds.add(move.kind)
            first.append(move)
    return first


def headline(plan: MeasurementPlan) -> str:
    """One sentence: what the budget buys, and against what."""
    first, equal = plan.designs[0], plan.uniform[0]
    name = "expected regret" if plan.decides else f"mean width of 90 % intervals{_never_seen(plan)}"
    now, after, shared = (
        (plan.regret, first.regret, equal.regret) if plan.decides else (plan.width, first.width, equal.width)
    )
    if not first.cells:
        return f"{plan.goal} ({plan.outcome}): nothing that is for sale lowers its {name} of {now:.3g}."
    budget = amount(plan.budget, plan.budget_unit)
    return (
        f"{plan.goal} ({plan.outcome}): {budget} bring the {name} from {now:.3g} to {after:.3g} (equal shares: {shared:.3g})"
    )


def _never_seen(plan: MeasurementPlan) -> str:
    """What must be said of intervals that are wider than those of the log's own contexts."""
    return " over contexts that the log never saw" if plan.over == "new" else ""


def amount(number: float, unit: str) -> str:
    """A budget in words."""
    return f"{number:,.4g} USD" if unit == "usd" else f"{number:,.0f} {unit}"


def short(name: str, longest: int = LONGEST) -> str:
    """A name that fits a column; the middle goes."""
    if len(name) <= longest:
        return name
    half = (longest - 1) // 2
    return f"{name[:half]}…{name[-half:]}"


def _state(width: float, regret: float | None, plan: MeasurementPlan) -> str:
    told = f"width {width:.3g} ({plan.unit})"
    return told if regret is None else f"{told}, expected regret {regret:.3g}"


def _design(design: PlannedDesign, plan: MeasurementPlan) -> str:
    told = f"{_state(design.width, design.regret, plan)}; 90 % of later fits between {design.width_lower:.3g} and "
    told += f"{design.width_upper:.3g}; {design.requests:,} requests"
    return told + (f", {design.usd:.4g} USD" if design.usd is not None else "")


def _table(rows: list[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    return ["  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def advice(plan: MeasurementPlan) -> str:
    """What to measure next in two sentences, for the first screen of a report; '' where nothing that is for sale helps."""
    first, equal = plan.designs[0], plan.uniform[0]
    now, after, shared = (
        (plan.regret, first.regret, equal.regret) if plan.decides else (plan.width, first.width, equal.width)
    )
    if not first.cells or now is None or after is None or shared is None or after > WORTH * now:
        return ""
    if plan.unit == "fraction" and now < LEAST:
        return ""  # nobody acts on a hundredth of a point
    which = ["items" if c.new_items else "asked again" for c in first.cells]
    cells = [f"{c.model} in {short(c.context)} ({c.items:,} {w})" for c, w in zip(first.cells, which, strict=True)]
    told = ", ".join(cells[:NAMED]) + (f" and {len(cells) - NAMED} more" if len(cells) > NAMED else "")
    what = "expected loss of the choice" if plan.decides else f"mean width of the {plan.goal} intervals{_never_seen(plan)}"
    places = 1 if now >= 0.01 else 2
    points = (f"{100 * value:.{places}f}" for value in (now, after, shared))
    unit = "points" if plan.unit == "fraction" else plan.unit
    before, then, alike = points if plan.unit == "fraction" else (f"{value:.3g}" for value in (now, after, shared))
    return (
        f"The next {amount(plan.budget, plan.budget_unit)} would go to {told}: the {what} would fall from "
        f"{before} to {then} {unit} (with equal shares to {alike}). The verb plan writes them as a plan to run."
    )
