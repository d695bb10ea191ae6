"""Who is first of several numbers, from their joint draws: what every superlative and every order of the product asks.

A sentence may say that something is first, best, cheapest, largest ... only where it is so in at least `SURE` of the draws.
Below that it says who is likeliest to be, with the probability, and who else may be. What is arithmetic on the rows of the
log, and no inference, says so in two words (`AS_COUNTED`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from divergence.numerics import rankdata

SURE = 0.9
"""Probability from which on a superlative, or an order, is said without `likeliest`: that of the intervals (`INTERVAL`)."""
LEADS = 0.2
"""Probability below which nobody is called the likeliest: four times in five it would be another."""
AS_COUNTED = "as counted"
"""Stands in a sentence whose superlative is a count of rows, of checks or of draws, and claims nothing beyond them."""
OTHERS = 2  # further candidates that a sentence names


def share_of_first(draws: np.ndarray, highest: bool = True) -> np.ndarray:
    """Share of the first place in every draw, of draws (S, R): 1 for the largest (or smallest), shared where several are.

    >>> share_of_first(np.array([[0.2, 0.9, 0.9]])).tolist()
    [[0.0, 0.5, 0.5]]
    """
    best = draws == (draws.max(1, keepdims=True) if highest else draws.min(1, keepdims=True))
    return best / best.sum(1, keepdims=True)


def chance_first(draws: np.ndarray, highest: bool = True) -> np.ndarray:
    """Probability of each column of draws (S, R) to be the largest (or the smallest); ties share it. Shape (R,)."""
    return share_of_first(draws, highest).mean(0)


def places_of(draws: np.ndarray, highest: bool = True) -> np.ndarray:
    """Place in every draw, of draws (S, R): 1 + how many lie before it, so that equal numbers share the better place.

    >>> places_of(np.array([[0.2, 0.9, 0.9]])).tolist()
    [[3, 1, 1]]
    """
    ranked = rankdata(-draws if highest else draws, method="min", axis=1)
    return ranked.astype(int)


def contenders(chances: np.ndarray, sure: float = SURE) -> list[int]:
    """The fewest that together hold the first place with a probability of `sure`, the likeliest in front.

    >>> contenders(np.array([0.2, 0.5, 0.25, 0.05]))
    [1, 2, 0]
    """
    order = np.argsort(-chances, kind="stable")
    needed = int(np.searchsorted(np.cumsum(chances[order]), sure - 1e-9)) + 1
    return order[:needed].tolist()


def chance(probability: float) -> str:
    """A probability from draws: never 0% or 100%, which no number of draws can show.

    >>> chance(0.034), chance(0.999)
    ('3%', 'more than 99%')
    """
    if probability < 0.01:
        return "less than 1%"
    if probability > 0.99:
        return "more than 99%"
    return f"{100 * probability:.0f}%"


@dataclasses.dataclass(frozen=True)
class First:
    """Which of several is first, as far as their draws tell."""

    at: int
    """Number of the likeliest."""
    chance: float
    """Its probability to be first."""
    others: tuple[int, ...]
    """Who else holds the first place with it, the likeliest in front; empty where it is settled."""

    @property
    def settled(self) -> bool:
        """May a sentence say that it is first?"""
        return self.chance >= SURE

    @property
    def open(self) -> bool:
        """Is naming the likeliest no news, because it is so rarely first?"""
        return self.chance < LEADS and bool(self.others)

    def told(self, names: Sequence[str], word: str, start: bool = False) -> str:
        """After the name: `a is the cheapest (97%)`, or `b is likeliest to be the cheapest (61%; a may be)`; where no one
        leads, that. `start`: does a sentence begin with it?

        >>> First(0, 0.97, ()).told(["a", "b"], "the cheapest")
        'a is the cheapest (97%)'
        >>> First(1, 0.61, (0,)).told(["a", "b"], "the cheapest")
        'b is likeliest to be the cheapest (61%; a may be)'
        >>> First(1, 0.05, tuple(range(2, 40))).told(["a", "b"], "the cheapest")
        'no one leads (39 may be the cheapest, none with more than 5%)'
        """
        if self.open:
            return f"{'N' if start else 'n'}o one leads ({self._may(word)})"
        return f"{names[self.at]} is {'' if self.settled else 'likeliest to be '}{word} {self.bracket(names)}"

    def led(self, word: str, names: Sequence[str]) -> str:
        """Before the name: `The cheapest is a (97%)`, or `The cheapest is likeliest b (61%; a may be)`.

        >>> First(1, 0.61, (0,)).led("The cheapest", ["a", "b"])
        'The cheapest is likeliest b (61%; a may be)'
        >>> First(1, 0.05, tuple(range(2, 40))).led("The cheapest", ["a", "b"])
        'The cheapest is open (39 may be it, none with more than 5%), such as b'
        """
        if self.open:
            return f"{word} is open ({self._may('it')}), such as {names[self.at]}"
        return f"{word} is {'' if self.settled else 'likeliest '}{names[self.at]} {self.bracket(names)}"

    def _may(self, word: str) -> str:
        return f"{1 + len(self.others)} may be {word}, none with more than {chance(self.chance)}"

    def bracket(self, names: Sequence[str]) -> str:
        """The probability, and who else it may be."""
        may = [names[k] for k in self.others[:OTHERS]]
        left = len(self.others) - len(may)
        may += [f"{left} more"] * bool(left)
        return f"({chance(self.chance)}; {' or '.join(may)} may be)" if may else f"({chance(self.chance)})"


def first_of(chances: np.ndarray) -> First:
    """From the probability of each to be first."""
    holding = contenders(chances)
    found = float(chances[holding[0]])
    return First(holding[0], found, () if found >= SURE else tuple(holding[1:]))


def first(draws: np.ndarray, highest: bool = True) -> First:
    """From draws (S, R) of the numbers themselves, none of them missing."""
    return first_of(chance_first(draws, highest))
