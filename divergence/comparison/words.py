"""A comparison in words: the first line, and the numbers as people read them (points where scores lie between 0 and 1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from divergence.comparison.comparison import Comparison, Difference, Group, Part

CHANGED_SHOWN = 120  # characters of a value in a sentence


def number(value: float, unit: str, signed: bool = True) -> str:
    """One value of the outcome: `+1.4` points for a fraction, `+0.35` in the unit else."""
    if abs(value) == float("inf"):
        return "no limit"
    if unit != "fraction":
        return f"{value:{'+' if signed else ''}.4g}"
    points = 100 * value
    written = f"{points:{'+' if signed else ''}.1f}"
    if written.strip("+-0.") == "" and abs(points) >= 5e-7:
        written = f"{points:{'+' if signed else ''}.2g}"
    return written.replace("+0.0", "0.0").replace("-0.0", "0.0") if abs(points) < 0.05 else written


def interval(difference: Difference, unit: str) -> str:
    """`-0.5 points (-2.1 to +1.2)`."""
    name = "points" if unit == "fraction" else unit
    limits = f"{number(difference.lower, unit)} to {number(difference.upper, unit)}"
    return f"{number(difference.estimate, unit)} {name} ({limits})"


def count(value: float) -> str:
    """A count that replicates may make fractional: `4`, `3.5`."""
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.1f}"


def flipped(part: Part, unit: str = "fraction") -> str:
    """`25 of 220 answers changed, 4 scores flipped (2 down, 2 up)`."""
    flips, answers = part.flips, part.answers_changed
    what = "score{} flipped" if unit == "fraction" else "value{} moved"
    what = what.format("" if (flips.of if answers is None else flips.observed) == 1 else "s")
    ways = f"({count(flips.down)} down, {count(flips.up)} up)"
    if answers is None:
        return f"{count(flips.observed)} of {flips.of:,} {what} {ways}"
    return f"{count(answers.observed)} of {answers.of:,} answers changed, {count(flips.observed)} {what} {ways}"


def first_line(found: Comparison) -> str:
    """Verdict, difference, margin and flips in one line."""
    unit = found.unit
    items = "shared items" if found.population == "new" else "items (these very items)"
    margin = number(found.margin, unit, signed=False)
    return (
        f"{found.verdict}: {interval(found.difference, unit)} on {found.items.shared:,} {items}, margin {margin}; "
        f"{flipped(found.whole, unit)}"
    )


def floor(found: Comparison) -> str | None:
    """What is known of flips beyond those that repeating alone makes; None where scores are no 0 to 1."""
    flips = found.flips
    if found.unit != "fraction":
        return None
    if flips.floor is not None:
        return (
            f"Repeating alone flips {100 * flips.floor:.1f} % of items; beyond that {100 * flips.excess_lower:.1f} to "
            f"{100 * flips.excess_upper:.1f} % flipped."
        )
    return (
        f"How many flips repeating alone makes is not known (one run on a side): beyond it, at least "
        f"{100 * flips.excess_lower:.1f} (the net) and at most {100 * flips.excess_upper:.1f} % of the items flipped here, "
        "sampling error aside."
    )


def left_out(found: Comparison) -> str | None:
    """Items of one side only, in words; None where there are none."""
    items = found.items
    if not items.only_before + items.only_after:
        return None
    return f"Not compared: {items.only_before:,} items that only BEFORE has, {items.only_after:,} that only AFTER has."


def room(found: Comparison) -> str | None:
    """How many items can still move, and which way; None for outcomes without ends."""
    if found.saturated is None:
        return None
    both = found.saturated.right + found.saturated.wrong
    return (
        f"{found.saturated.right:,} items are right and {found.saturated.wrong:,} wrong in every run; "
        f"{found.items.shared - both:,} moved or lie between."
    )


def worst_first(found: Comparison) -> list[Group]:
    """The groups, those that lost most first."""
    return sorted(found.groups, key=lambda group: group.difference.estimate * found.sign)


def group_name(model: str | None, task: str | None, one_model: bool) -> str:
    """A group in few words: the task, with the model where there are several."""
    if one_model:
        return task or model or "all"
    return f"{model} · {task}" if task else str(model)


def shortened(text: str | None, most: int = CHANGED_SHOWN) -> str:
    """A text on one line, cut at the end; `not logged` for none."""
    if text is None:
        return "not logged"
    line = " ".join("".join(mark if mark.isprintable() else " " for mark in text).split())
    return line if len(line) <= most else line[: most - 3] + "..."
