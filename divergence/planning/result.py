"""The plan as a value: designs, equal shares beside them, the floor, single moves, and what to say about them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any


@dataclasses.dataclass(frozen=True)
class PlannedCell:
    """What is to be asked of one model in one context."""

    model: str
    """Name of the model."""
    context: str
    """Label of the context."""
    regime: str
    """`evaluation` or `deployment`."""
    items: int
    """Items to be asked."""
    trials: int
    """Trials of each."""
    new_items: bool = True
    """Are the items new ones? Else those that were asked here already are asked again."""


@dataclasses.dataclass(frozen=True)
class PlannedDesign:
    """A purchase and what it is expected to buy."""

    requests: int
    """Requests, over all cells."""
    cells: tuple[PlannedCell, ...]
    """What is asked where, the most first."""
    width: float
    """Mean width of the goal's 90 % intervals afterwards, in the goal's unit."""
    width_lower: float
    """What the width of a later fit exceeds in 95 % of cases."""
    width_upper: float
    """What it stays below in 95 % of cases."""
    regret: float | None
    """Expected regret afterwards (`decision`: in the outcome's unit; `reversal`: chance of a wrong order), else None."""
    usd: float | None
    """US dollars; None where no cost is known."""
    tokens: float | None = None
    """Tokens; None where none were counted."""
    seconds: float | None = None
    """Seconds of answering, one request after the other; None where no latency was logged."""


@dataclasses.dataclass(frozen=True)
class SingleMove:
    """One purchase by itself, for the table of what there is to buy."""

    kind: str
    """`items`, `trials`, `context`, `model` or `labels`."""
    what: str
    """In words."""
    amount: int
    """Items, trials, or labels."""
    requests: int
    """Requests it takes; 0 for labels of what was logged."""
    usd: float | None
    """US dollars; None where no cost is known."""
    width: float | None
    """Width afterwards; None where it does not change the goal's width."""
    regret: float | None
    """Expected regret afterwards; None for goals that are widths."""
    gain: float
    """Fall of the goal's objective, in the goal's unit; for a new context or model of a decision, the expected improvement
    of the chosen level."""


@dataclasses.dataclass(frozen=True)
class MeasurementPlan:
    """What to measure next, and what it buys: made by `dv.plan(posterior)`.

    Widths are of 90 % intervals in the goal's unit, regret in units of the level.

    >>> import divergence as dv
    >>> from divergence.simulate import simulate, world
    >>> posterior = dv.fit(dv.collapse(dv.read(simulate(world("baseline"), 0)[0])), seed=0)
    >>> found = dv.plan(posterior, goal="gap", budget=500)
    >>> found.decides, found.designs[0].requests <= 500, found.to_dict()["budget"]["unit"]
    (False, True, 'requests')
    """

    goal: str
    """The goal, as it was asked for."""
    outcome: str
    """Name of the outcome."""
    unit: str
    """Unit of the widths."""
    budget: float
    """The budget of the first design."""
    budget_unit: str
    """`requests`, `tokens`, `usd` or `seconds`."""
    width: float
    """Mean width of the goal's 90 % intervals now."""
    regret: float | None
    """Expected regret now; None for goals that are widths."""
    designs: tuple[PlannedDesign, ...]
    """The design of the budget, then those of other budgets, in order of size."""
    uniform: tuple[PlannedDesign, ...]
    """Equal shares of the same budgets."""
    floor: float
    """Width that no further item of these contexts removes."""
    floor_why: str
    """Why it stays."""
    moves: tuple[SingleMove, ...]
    """What there is to buy, what gains most per cost first."""
    curve: tuple[Mapping[str, float | None], ...]
    """Points of width or regret over the budget: `cost`, `planned`, `equal`."""
    notes: tuple[str, ...]
    """Sentences that belong beside the numbers."""
    parts: tuple[Mapping[str, Any], ...] = ()
    """Parts of the variance of each logged arm, per item (`variance_parts`)."""
    over: str = "logged"
    """Which contexts the goal is about: the `logged` ones, or `new` ones that the log never saw."""

    @property
    def decides(self) -> bool:
        """Is the goal a choice, judged by regret?"""
        return self.regret is not None

    def to_dict(self) -> dict:
        """For machines: `plan.json`."""
        return {
            "goal": self.goal,
            "contexts": self.over,
            "outcome": self.outcome,
            "unit": self.unit,
            "budget": {"unit": self.budget_unit, "amount": self.budget},
            "now": {"width": self.width, "regret": self.regret},
            "designs": [_design(d) for d in self.designs],
            "uniform": _design(self.uniform[0]) if self.uniform else None,
            "uniform_designs": [_design(d) for d in self.uniform],
            "floor": {"width": self.floor, "why": self.floor_why},
            "moves": [dataclasses.asdict(m) for m in self.moves],
            "curve": [dict(point) for point in self.curve],
            "variance_parts": [dict(part) for part in self.parts],
            "notes": list(self.notes),
        }

    def __repr__(self) -> str:
        from divergence.planning.words import text

        return text(self)

    def _repr_html_(self) -> str:
        from divergence.planning.page import fragment

        return fragment(self)


def _design(design: PlannedDesign) -> dict:
    return {
        "requests": design.requests,
        "cells": [dataclasses.asdict(cell) for cell in design.cells],
        "width": design.width,
        "width_lower": design.width_lower,
        "width_upper": design.width_upper,
        "regret": design.regret,
        "usd": design.usd,
        "tokens": design.tokens,
        "seconds": design.seconds,
    }
