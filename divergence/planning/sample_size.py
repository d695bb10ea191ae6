"""How many shared items does a `compare` need, before there is any log?

Of n items answered once a side, a share `flips` changes its score; the true difference is `difference`, so that
`up - down = difference` and `up + down = flips`. Two runs are told apart when Tango's score interval of the difference (the
one that `compare` gives for single runs) leaves 0 out:

    z(n) = difference sqrt(n) / sqrt(flips),    (z(n) is Tango's statistic at 0)
    power(n) = P(statistic > z_level) with down, up, none ~ Multinomial(n; (flips - d) / 2, (flips + d) / 2, 1 - flips)

The smallest n is found from the normal law and then by the exact multinomial law (normal above `EXACT_MAX` items).
Replicates divide the part of the flips that is noise. Unit: items. Identification: items are a random sample of the source.
Source: Tango 1998 (`comparison.tango`); Connor 1987 for the first guess.
"""

from __future__ import annotations

import dataclasses
import math
import statistics

import numpy as np

from divergence.calling import sentences
from divergence.errors import InputError

EXACT_MAX = 20_000  # items up to which the multinomial law is summed; above, it is the normal law to three digits
SEARCH = 60  # sizes at which the power is looked at: it is not quite monotone in n


@dataclasses.dataclass(frozen=True)
class SampleSize:
    """The number of shared items that a comparison needs."""

    items: int
    """Items."""
    power: float
    """Chance to tell the two runs apart with so many."""
    difference: float
    """Difference that is to be seen, outcome scale."""
    flips: float
    """Share of items whose score changes."""
    wanted: float
    """Power that was asked for."""
    confidence: float
    """Of the two-sided interval."""

    def to_dict(self) -> dict:
        """For machines."""
        return dataclasses.asdict(self)

    def __repr__(self) -> str:
        return (
            f"{self.items:,} shared items, one run a side, tell a difference of {100 * self.difference:g} points "
            "from 0 with a "
            f"chance of {self.power:.1%} where {100 * self.flips:g} % of the items flip "
            f"({self.confidence:.0%} two-sided, Tango's interval). Fewer flips need fewer items, in proportion."
        )


@sentences
def sample_size(difference: float, flips: float, power: float = 0.8, confidence: float = 0.95) -> SampleSize:
    """How many shared items does a comparison of two systems need to tell a difference from 0?

    `difference`: of the two shares that are right, above 0. `flips`: share of items whose score changes, at least the
    difference. `power`: chance to see it. `confidence`: of the two-sided interval (Tango's). Returns a SampleSize with the
    smallest number of `items`. Raises InputError for numbers that cannot be meant.

    >>> sample_size(0.02, 0.11).items
    2143
    """
    for name, value, low, high in (
        ("difference", difference, 0.0, 1.0),
        ("flips", flips, 0.0, 1.0),
        ("power", power, 0.0, 1.0),
        ("confidence", confidence, 0.5, 1.0),
    ):
        if isinstance(value, bool) or not (
            (math.isfinite(value) and low < value < high) or (name != "power" and value == 1.0)
        ):
            raise InputError(f"--{name} is {value}; it is a number above {low:g} and below {high:g}")
    if flips < difference:
        raise InputError(
            f"--flips {flips:g} is less than --difference {difference:g}: a difference of so much needs at least "
            "as many items "
            f"to flip; give --flips {difference:g} or more"
        )
    z, beta = (statistics.NormalDist().inv_cdf(p) for p in (0.5 + confidence / 2, power))
    guess = (z * math.sqrt(flips) + beta * math.sqrt(max(flips - difference**2, 1e-12))) ** 2 / difference**2
    low, high = max(1, int(guess * 0.5)), int(guess * 1.5) + 20
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if power_of(middle, difference, flips, z) >= power else (middle, high)
    # counts make it jagged: the smallest size from which on it holds for all that follow
    last = max(
        (n for n in range(max(1, high - SEARCH), high + SEARCH) if power_of(n, difference, flips, z) < power), default=0
    )
    items = last + 1
    return SampleSize(items, power_of(items, difference, flips, z), difference, flips, power, confidence)


def power_of(n: int, difference: float, flips: float, z: float) -> float:
    """Chance that Tango's statistic at 0 lies above the quantile z: `up - down >= z sqrt(up + down)`."""
    if n > EXACT_MAX:
        sd = math.sqrt(max(flips - difference**2, 1e-300))
        return statistics.NormalDist().cdf((difference * math.sqrt(n) - z * math.sqrt(flips)) / sd)
    from scipy.stats import binom

    spread = 8 * math.sqrt(n * flips * (1 - flips)) + 8
    moved = np.arange(max(1, int(n * flips - spread)), min(n, int(n * flips + spread) + 1) + 1)
    least = np.ceil((moved + z * np.sqrt(moved)) / 2 - 1e-9)  # up of so many that moved
    chance = binom.sf(least - 1, moved, (flips + difference) / (2 * flips))
    return float(binom.pmf(moved, n, flips) @ chance)
