"""A kind of effects: what the model, the equations and the questions ask of it, and what it answers if it says nothing else.

A kind says its name, how its effects enter the arms (`loads`), what they run over (`axes`), whether they are of one model,
of a context, of deployment as a whole, and whether their standard deviation is `given`. Its words in the equations follow
from these; `terms` has the kinds that there are.
"""

from __future__ import annotations

import abc
import dataclasses
from typing import ClassVar

import numpy as np

Entries = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Rows (arms), columns (effects of the term, from 0 on) and values of a loading matrix."""


@dataclasses.dataclass(frozen=True)
class Places:
    """Where arms stand: what a kind needs to know of them to say which of its effects enter them, and how much of each."""

    model: np.ndarray
    """Code of the model, shape (A,)."""
    deployed: np.ndarray
    """Is the arm in deployment, shape (A,)."""
    context: np.ndarray
    """Code of the context's label in the log, shape (A,)."""
    regime: np.ndarray
    """Regime of the context in the log, 0 = evaluation, 1 = deployment, shape (A,); `deployed` may ask otherwise."""
    label: np.ndarray
    """The same, counted from 0 on among the labels in use, shape (A,)."""
    labels: int
    """Labels in use."""
    plain: int
    """The label that has no effects of its own (a single bench context); -1 where there is none."""
    shares: dict[str, np.ndarray]
    """Per factor the share of each level that has an effect, shape (A, levels)."""
    moved: np.ndarray
    """How many answers the context changes in the model, over the mean; 1 where all are alike, shape (A,)."""
    whole: np.ndarray
    """The same for what deployment does as a whole: 1 where that does not scale with it, shape (A,)."""

    def every(self, columns: np.ndarray | int, values: np.ndarray | float) -> Entries:
        """One entry an arm."""
        rows = np.arange(len(self.model))
        return rows, np.broadcast_to(columns, rows.shape), np.broadcast_to(values, rows.shape)


@dataclasses.dataclass(frozen=True)
class Kind(abc.ABC):
    """A kind of exchangeable effects."""

    of_model: ClassVar[bool] = False
    """Is each effect that of one model?"""
    of_context: ClassVar[bool] = False
    """Does it tell contexts apart?"""
    of_deployment: ClassVar[bool] = False
    """Is it what deployment does as a whole?"""
    given: ClassVar[bool] = False
    """Is its standard deviation its width, and no coordinate?"""

    @property
    def free(self) -> bool:
        """Is its standard deviation a coordinate of its own, after those of theta?"""
        return not self.given

    @property
    @abc.abstractmethod
    def name(self) -> str:
        """Its symbol in the equations, with what it is of after a colon."""

    @abc.abstractmethod
    def loads(self, at: Places) -> Entries:
        """Which of its effects enter which arms, and how much of each."""

    @property
    def axes(self) -> tuple[str, ...]:
        """What its effects run over, the last one fastest: `model`, `context`, `FACTOR_level`; none for a single number."""
        return ("model",) if self.of_model else ()

    @property
    def symbol(self) -> str:
        """Its effects in the equations, where their law is told; alike in terms of which one line tells all."""
        return self.name

    @property
    def scale(self) -> str:
        """Their standard deviation there, where it is a coordinate."""
        return f"sigma_{self.symbol}"

    @property
    def entry(self) -> str:
        """How one of them stands in the level of model m, regime r and context c."""
        return self.symbol + self.place

    @property
    def place(self) -> str:
        """What of m, c and the level of a factor in c an effect is that of."""
        short = {"model": "m", "context": "c", "context_level": "c"}
        over = [short.get(axis) or f"{axis.removesuffix('_level')}(c)" for axis in self.axes]
        return f"[{','.join(over)}]" if over else ""

    @property
    def where(self) -> str:
        """What follows their law: which levels they enter, if not all; `{count}` is how many terms are told in one line."""
        return ""

    @property
    def grows(self) -> str:
        """What of it is multiplied by the share of answers that a context changes, as the equations write it; '' = nothing.
        Of what is `of_deployment` that holds where the design is `hinged`."""
        return ""

    @property
    def subject(self) -> str:
        """What its effects go with: `context`, or the name of a serving factor."""
        return "context"
