"""What does an interval say of a margin? The three verdicts, and on which side of 0 the difference lies.

`no worse`: the whole interval lies above -margin. `worse`: the whole interval lies below it. `not settled`: neither.
For outcomes of which less is better (seconds, dollars, retries) the signs are turned round: `sign` = -1.
"""

from __future__ import annotations

import numbers

from divergence.errors import InputError

NO_WORSE, WORSE, NOT_SETTLED = "no worse", "worse", "not settled"
EXIT_CODES = {NO_WORSE: 0, WORSE: 4, NOT_SETTLED: 5}
"""Exit code of the command by verdict."""
MARGIN = 0.02
"""Default margin of scores between 0 and 1, fraction: two points, about what 200 items can settle without a flip."""


def verdict(lower: float, upper: float, margin: float, sign: int = 1) -> str:
    """The verdict of an interval of AFTER - BEFORE; `sign` is -1 where less is better."""
    low, high = (lower, upper) if sign > 0 else (-upper, -lower)
    if low >= -margin:
        return NO_WORSE
    return WORSE if high < -margin else NOT_SETTLED


def direction(lower: float, upper: float) -> str:
    """`lower`, `higher` or `open`: does the interval exclude 0, and on which side?"""
    return "lower" if upper < 0 else "higher" if lower > 0 else "open"


def checked(margin: float | None, confidence: float, bounded: bool, outcome: str) -> float:
    """The margin to use. Raises InputError where no verdict could ever be reached."""
    for name, value in (("margin", margin), ("confidence", confidence)):
        if value is not None and not isinstance(value, numbers.Real):
            raise InputError(f"The {name} is a number, seen {value!r}: for example 0.02 for two points, 0.95 for 95 %.")
    if not 0.5 < confidence < 1:
        raise InputError(f"The confidence lies above 0.5 and below 1, seen {confidence}: 0.95 is usual.")
    if margin is None:
        if bounded:
            return MARGIN
        raise InputError(f"{outcome} has no natural margin: say how much worse is too much with --margin, in its unit.")
    if not margin > 0 or margin == float("inf"):
        raise InputError(
            f"The margin is {margin}: with no room at all two runs of the same thing are never settled as no worse. Name a "
            "loss that you would accept, for example 0.02 for two points."
        )
    if bounded and margin >= 1:
        raise InputError(f"The margin is {margin}, and scores lie between 0 and 1: 2 points are 0.02.")
    return float(margin)
