"""How many shared items would settle the verdict, if the difference stays as it is?

The smallest n at which the interval of the same flips in the same proportions lies on one side of -margin. Below the
number of shared items where the verdict is settled already; not a number where the difference itself sits on the margin.

Identification: that of the interval. Unit: items. Source: the interval of `moves`, at other sizes.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from divergence.comparison.moves import Moves, limits

LARGEST = 10_000_000  # items; a difference that needs more sits on the margin for every purpose
ROUNDS, POINTS = 3, 40  # of narrowing a geometric grid: nine decades to one in 3,000


def items_needed(
    seen: Moves, margin: float, confidence: float, widening: Callable[[np.ndarray], np.ndarray] | None = None
) -> list[int | None]:
    """The number of every group, None where no number up to ten million settles it; `margin` is above 0.

    `widening` gives the factor on the quantile of repeated looks when there are so many times the items.
    """
    low = 2.5 / seen.effective  # two units are the least that has an error
    high = LARGEST / seen.items
    settles = low < high
    low, high = np.where(settles, low, 1.0), np.where(settles, high, 2.0)
    place = np.arange(len(low))
    for _ in range(ROUNDS):
        factors = np.geomspace(low, high, POINTS, axis=1)
        lower, upper = limits(seen.times(factors), confidence, 1.0 if widening is None else widening(factors))
        settled = (lower >= -margin) | (upper < -margin)
        settles &= settled[:, -1]
        last = POINTS - 1 - np.argmax(~settled[:, ::-1], axis=1)  # the largest that does not settle it
        always = settled.all(axis=1)
        step = np.minimum(last + 1, POINTS - 1)
        high = np.where(always, low, factors[place, step])
        low = np.where(always, low, factors[place, np.minimum(last, POINTS - 1)])
    found = np.ceil(high * seen.items)
    return [int(number) if done else None for number, done in zip(found, settles, strict=True)]
