"""The kinds of effects that a level is made of: one class a kind, and all that the rest of the model asks of it.

| kind | name | effects | is of one model | is of a context |
|---|---|---|---|---|
| `Intercept` | `alpha` | 1 | | |
| `Shift` | `shift` | 1 | | |
| `OwnItems` | `own_items` | 1 | | yes |
| `OwnItemsOfModel` | `own_items_of_model` | models | yes | yes |
| `Ability` | `theta_E`, `theta_D` | models | yes | |
| `FactorLevel` | `beta:f` | levels | | yes |
| `FactorLevelOfModel` | `gamma:f` | models x levels | yes | yes |
| `ContextEffect` | `u` | contexts | | yes |
| `Residual` | `delta` | models x contexts | yes | yes |
| `StandsApart` | `apart:k` | 1 | yes | yes |

What is of one model enters the arms of that model alone: it makes the blocks of large logs. What is of a context is not
known of a context never seen. What is `given` (`alpha`, both of own items) has its width for a standard deviation; of the
others it is drawn. To add a kind: its class here, its row in `design.make_design`, its width in `spec.Spec`.
"""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import numpy as np

from divergence.joint.kind import Entries, Kind, Places


@dataclasses.dataclass(frozen=True)
class Intercept(Kind):
    """What the levels of all models on the bench have in common."""

    given: ClassVar[bool] = True

    @property
    def name(self) -> str:
        return "alpha"

    def loads(self, at: Places) -> Entries:
        return at.every(0, 1.0)


@dataclasses.dataclass(frozen=True)
class Shift(Kind):
    """What deployment does to all models, whatever the context."""

    of_deployment: ClassVar[bool] = True

    @property
    def name(self) -> str:
        return "shift"

    def loads(self, at: Places) -> Entries:
        return at.every(0, at.deployed * at.whole)

    @property
    def entry(self) -> str:
        return "shift[r]"

    @property
    def where(self) -> str:
        return ",  shift[r] = shift in deployment, else 0"

    @property
    def grows(self) -> str:
        return self.symbol


@dataclasses.dataclass(frozen=True)
class OwnItems(Kind):
    """What the items of its own do to the level of traffic, in all models, where other contexts replay the bench."""

    contexts: tuple[int, ...]
    """Codes of the contexts that have items of their own."""
    of_context: ClassVar[bool] = True
    given: ClassVar[bool] = True

    @property
    def name(self) -> str:
        return "own_items"

    def loads(self, at: Places) -> Entries:
        return at.every(0, at.deployed * np.isin(at.context, self.contexts))

    @property
    def symbol(self) -> str:
        return "o"

    @property
    def entry(self) -> str:
        return "o[c]"

    @property
    def where(self) -> str:
        return f",  {self.entry} = {self.symbol}{self.place} where traffic of c has items of its own, else 0"


@dataclasses.dataclass(frozen=True)
class OwnItemsOfModel(OwnItems):
    """What they do to one model beyond that: items of another kind ask for another ability."""

    of_model: ClassVar[bool] = True

    @property
    def name(self) -> str:
        return "own_items_of_model"

    def loads(self, at: Places) -> Entries:
        return at.every(at.model, at.deployed * np.isin(at.context, self.contexts))

    @property
    def symbol(self) -> str:
        return "q"

    @property
    def entry(self) -> str:
        return "q[m,c]"


@dataclasses.dataclass(frozen=True)
class Ability(Kind):
    """How a model differs from the others in one regime."""

    deployed: bool
    """In deployment, or on the bench?"""
    of_model: ClassVar[bool] = True
    of_deployment: ClassVar[bool] = True

    @property
    def free(self) -> bool:
        return False  # both are made of three coordinates: a standard deviation, a ratio, a correlation

    @property
    def name(self) -> str:
        return "theta_D" if self.deployed else "theta_E"

    def loads(self, at: Places) -> Entries:
        share = np.where(at.deployed, at.whole, 0.0)
        return at.every(at.model, share if self.deployed else 1 - share)

    @property
    def entry(self) -> str:
        return "theta[m,r]"

    @property
    def grows(self) -> str:
        return "theta[m,D] - theta[m,E]"


@dataclasses.dataclass(frozen=True)
class FactorLevel(Kind):
    """What a level of a serving factor does to all models."""

    factor: str
    of_context: ClassVar[bool] = True
    letters: ClassVar[tuple[str, str]] = ("beta", "tau")
    """Of its effects and of their standard deviation in the equations."""

    @property
    def name(self) -> str:
        return f"{self.letters[0]}:{self.factor}"

    def loads(self, at: Places) -> Entries:
        rows, level = np.nonzero(at.shares[self.factor])
        values = at.shares[self.factor][rows, level]
        # Where only its label is known of a context, its effect grows with the answers that it changes.
        return rows, level, values * (at.moved[rows] if self.factor == "context" else 1.0)

    @property
    def axes(self) -> tuple[str, ...]:
        return (f"{self.factor}_level",)

    @property
    def symbol(self) -> str:
        return f"{self.letters[0]}_f"

    @property
    def scale(self) -> str:
        return f"{self.letters[1]}_f"

    @property
    def entry(self) -> str:
        return f"{self.letters[0]}_{self.factor}{self.place}"

    @property
    def grows(self) -> str:
        return f"beta_{self.factor}" if self.factor == "context" else ""

    @property
    def subject(self) -> str:
        return self.factor


@dataclasses.dataclass(frozen=True)
class FactorLevelOfModel(FactorLevel):
    """What it does to one model beyond that."""

    of_model: ClassVar[bool] = True
    letters: ClassVar[tuple[str, str]] = ("gamma", "psi")

    def loads(self, at: Places) -> Entries:
        rows, level = np.nonzero(at.shares[self.factor])
        values = at.shares[self.factor][rows, level]
        return rows, at.model[rows] * at.shares[self.factor].shape[1] + level, values

    @property
    def axes(self) -> tuple[str, ...]:
        return ("model", f"{self.factor}_level")

    @property
    def grows(self) -> str:
        return ""


@dataclasses.dataclass(frozen=True)
class ContextEffect(Kind):
    """What a context does to all models beyond its factors."""

    of_context: ClassVar[bool] = True

    @property
    def name(self) -> str:
        return "u"

    def loads(self, at: Places) -> Entries:
        return at.every(at.label, (at.label != at.plain) * 1.0)

    @property
    def axes(self) -> tuple[str, ...]:
        return ("context",)


@dataclasses.dataclass(frozen=True)
class Residual(Kind):
    """What a context does to one model beyond all that."""

    of_model: ClassVar[bool] = True
    of_context: ClassVar[bool] = True

    @property
    def name(self) -> str:
        return "delta"

    def loads(self, at: Places) -> Entries:
        return at.every(at.model * at.labels + at.label, (at.label != at.plain) * at.moved)

    @property
    def axes(self) -> tuple[str, ...]:
        return ("model", "context")

    @property
    def scale(self) -> str:
        return "s"

    @property
    def grows(self) -> str:
        return self.symbol


@dataclasses.dataclass(frozen=True)
class StandsApart(Kind):
    """What one model-context combination does that is like no other."""

    number: int
    """0 for the first that was found, and on."""
    model: int
    """Its model's code."""
    context: int
    """Its context's code."""
    regime: int
    """0 = evaluation, 1 = deployment, -1 = wherever the context occurs."""
    of_model: ClassVar[bool] = True
    of_context: ClassVar[bool] = True

    @property
    def name(self) -> str:
        return f"apart:{self.number}"

    def loads(self, at: Places) -> Entries:
        there = (at.model == self.model) & (at.context == self.context)
        return at.every(0, (there & (at.regime == self.regime) if self.regime >= 0 else there) * 1.0)

    @property
    def axes(self) -> tuple[str, ...]:
        return ()

    @property
    def symbol(self) -> str:
        return "epsilon[k]"

    @property
    def scale(self) -> str:
        return "a[k]"

    @property
    def where(self) -> str:
        return " in the {count} combinations that stand apart"
