"""How many shared items would settle the verdict, if the difference stays as it is?

The smallest n at which the interval of the same flips in the same proportions lies on one side of -margin. Below the
number of shared items where the verdict is settled already; not a number where the difference itself sits on the margin.

Identification: that of the interval. Unit: items. Source: the interval of `moves`, at other sizes.
"""

from __future__ import annotations

import numpy as np

from divergence.comparison.moves import Moves, limits

LARGEST = 10_000_000  # items; a difference that needs more sits on the margin for every purpose
ROUNDS, POINTS = 3, 40  # of narrowing a geometric grid: nine decades to one in 3,000


def items_needed(seen: Moves, margin: float, confidence: float) -> list[int | None]:
    """The number of every group, None where no number up to ten million settles it; `margin` is above 0."""
    found: list[int | None] = []
    for k in range(len(seen.items)):
        one = Moves(*(getattr(seen, name)[[k]] for name in _ARRAYS), scale=seen.scale)
        found.append(_smallest(one, margin, confidence))
    return found


_ARRAYS = ("items", "units", "effective", "total", "absolute", "square")


def _smallest(one: Moves, margin: float, confidence: float) -> int | None:
    low, high = 2.5 / float(one.effective[0]), LARGEST / float(one.items[0])  # two units are the least that has an error
    if high <= low:
        return None
    for _ in range(ROUNDS):
        factors = np.geomspace(low, high, POINTS)
        lower, upper = limits(one.times(factors), confidence)
        settled = (lower >= -margin) | (upper < -margin)
        if not settled[-1]:
            return None
        if settled.all():
            return int(np.ceil(low * one.items[0]))
        last = int(np.flatnonzero(~settled)[-1])
        low, high = factors[last], factors[last + 1]
    return int(np.ceil(high * one.items[0]))
