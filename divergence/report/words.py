"""Numbers as words: units, digits, intervals, counts and lists.

A number is shown with as many digits as its interval supports: two significant digits of the interval's width; shares and
points have at least one decimal, so that `71%` and `60.3%` do not stand side by side.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from divergence.orders import chance
from divergence.outcome_names import unit_named

if TYPE_CHECKING:
    from divergence.estimate import Estimate

MINUS = "\N{MINUS SIGN}"
MONEY = 8  # decimals of an amount of money at most: a call may cost a millionth
DEFAULT_WIDTH = 0.05  # of a number without an interval, in the unit: one digit for points
SCALES = {"probability": 100.0, "fraction": 100.0}
SUFFIXES = {"probability": "%", "fraction": " points", "s": " s", "usd": " USD", "nats": " nats", "ratio": ""}
AXES = {"probability": "percent", "fraction": "percentage points", "s": "seconds", "usd": "USD"}
SMALL = ["no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]


def question_name(estimate: Estimate) -> str:
    """A question's name in plain words."""
    return estimate.words or estimate.question.replace("_", " ")


def scale(unit: str) -> float:
    """Factor from the stored value to the shown one: fractions are shown as percentages."""
    return SCALES.get(unit, 1.0)


def axis_title(unit: str) -> str:
    """Name of the unit on an axis."""
    return AXES.get(unit, unit.replace("_", " "))


def digits(width: float, most: int = 4) -> int:
    """Decimals that leave two significant digits of a width given in shown units; from 0 to `most`."""
    if not math.isfinite(width) or width <= 0:
        return 1
    return min(most, max(0, 1 - math.floor(math.log10(width))))


def decimals(width: float | None, unit: str) -> int:
    """Decimals of a number in its shown unit whose interval is `width` (in the stored unit) wide; None = has none."""
    found = digits((math.nan if width is None else width) * scale(unit), MONEY if unit == "usd" else 4)
    return max(found, 1) if unit in SCALES else found


def decimal(value: float, places: int, signed: bool = False) -> str:
    """A number with a typographic minus and no negative zero."""
    text = f"{abs(value):,.{places}f}"
    if float(text.replace(",", "")) == 0:
        return text
    return (MINUS if value < 0 else "+" if signed else "") + text


def amount(value: float, unit: str, width: float = DEFAULT_WIDTH, signed: bool = False) -> str:
    """A value with its unit: `62.4%`, `−3.4 points`, `0.82 s`; `width` of its interval sets the digits."""
    return decimal(value * scale(unit), decimals(width, unit), signed) + SUFFIXES.get(unit, f" {unit.replace('_', ' ')}")


def exact(value: float, unit: str) -> str:
    """A declared number as it was declared, in shown units: `1 s`, `60%`, `1 point`, `0.00002 USD`."""
    shown = value * scale(unit)
    count = next(p for p in range(10) if p == 9 or abs(round(shown, p) - shown) < 1e-9 * max(abs(shown), 1e-9))
    text = decimal(shown, count)
    return text + (" point" if unit == "fraction" and text == "1" else SUFFIXES.get(unit, f" {unit}"))


def span(lower: float, upper: float, unit: str) -> str:
    """An interval without its unit: `−5.1 to −1.2`."""
    shown = decimals(upper - lower, unit)
    return f"{decimal(lower * scale(unit), shown)} to {decimal(upper * scale(unit), shown)}"


def phrase(row: dict, signed: bool = False) -> str:
    """The median and interval of one row of the results table: `−3.4 points (−5.1 to −1.2)`."""
    lower, upper = row["lower"], row["upper"]
    return f"{amount(row['median'], row['unit'], upper - lower, signed)} ({span(lower, upper, row['unit'])})"


def brief_chance(probability: float) -> str:
    """The same for a narrow column: `> 99%`."""
    return chance(probability).replace("less than", "<").replace("more than", ">")


def number(count: int) -> str:
    """A count in words up to nine."""
    return SMALL[count] if 0 <= count < len(SMALL) else f"{count:,}"


def of_them(count: int) -> str:
    """A count of some that were named before: `none`, `two`, `1,204`."""
    return number(count) if count else "none"


def plural(count: int, noun: str) -> str:
    """A count and its noun: `one model`, `12 contexts`."""
    return f"{number(count)} {noun if count == 1 else noun + 's'}"


def every(count: int, noun: str) -> str:
    """All of them: `the one model`, `both models`, `all 12 models`."""
    if count < 3:
        return f"the one {noun}" if count == 1 else f"both {noun}s"
    return f"all {plural(count, noun)}"


def seen(value: float | str) -> str:
    """The value of a diagnostic: three digits, or a whole number where it is large."""
    if isinstance(value, str):
        return value
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def verb(count: int, singular: str, many: str) -> str:
    """The form of the verb that fits the count."""
    return singular if count == 1 else many


def join(words: Sequence[str], most: int = 4) -> str:
    """A list in words: `a, b and c`; beyond `most` the rest is counted."""
    words = list(words)
    if not words:
        return ""
    if len(words) > most + 1:
        words = [*words[:most], f"{len(words) - most} more"]
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " and " + words[-1]


def sentence(text: str) -> str:
    """The text as a sentence: a stop at the end, a capital first unless it begins with a name such as `kv_cache`."""
    text = text.strip()
    first = text.split(" ", 1)[0]
    text = capital(text) if first.isalpha() else text
    return text if text.endswith((".", "!", "?")) else f"{text}."


def outcome_name(outcome: str) -> str:
    """A further outcome in words: `latency_s` is latency."""
    unit = unit_named(outcome)
    return outcome.removesuffix("" if unit == outcome else f"_{unit}").replace("_", " ") or outcome


def capital(text: str) -> str:
    """The text with a capital first letter."""
    return text[:1].upper() + text[1:]
