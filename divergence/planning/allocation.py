"""Where should the next requests go? Greedy, by what they gain per cost.

From nothing on, the move that lowers the goal's objective most per unit of cost is made, in steps of a fortieth of the
budget, until the budget is spent or no move gains. A move is

| kind | what | cost |
|---|---|---|
| `items` | the same new items at one place, or at several that are compared (`moves`) | one request an item and place |
| `trials` | further trials of one place's own items; of no use where replicates are copies | one request an item |
| `context` | a context that the log never saw, the same new items for every model | one request a model and item |

Where bench and traffic have items of their own, traffic items are bought for all contexts of a model at once. The bank may
hold only so many items that were not asked yet. `equal_shares` is the plain way: the same number of new items at every
logged place. Unit: that of the goal per unit of cost.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from divergence.planning.goals import Goal
from divergence.planning.knowledge import Knowledge
from divergence.planning.preposterior import Preposterior, Purchase

RIVALS = 9  # the best combination and the eight that are nearest to it: pairs that may be asked the same new items
STEPS = 40  # of a budget: a design is off by a fortieth at most
CANDIDATES_MAX = 64  # places that are looked at in every step, those that gain most in the first one
NOTHING = 1e-6  # of the objective: less is rounding


@dataclasses.dataclass(frozen=True)
class Move:
    """One kind of purchase at one place or, of a new context, at several."""

    kind: str
    """`items`, `trials` or `context`."""
    places: tuple[int, ...]
    """Indices of the places."""


@dataclasses.dataclass(frozen=True, eq=False)
class Step:
    """A design on the way, and what it costs."""

    design: Purchase
    """What was bought so far."""
    cost: float
    """What it costs, in the budget's unit."""
    move: Move | None
    """The last move; None = nothing was bought yet."""


def moves(known: Knowledge, goal: Goal) -> list[Move]:
    """Every move that could gain anything."""
    places = [k for k, place in enumerate(known.places) if place.kind != "new"]
    bench = [k for k in places if known.places[k].regime == "evaluation"]
    single = [k for k in places if known.alike or k in bench]
    out = [Move("items", (k,)) for k in single]
    groups: list[tuple[int, ...]] = []
    logged = [k for k in places if known.logged[k]]
    for model in dict.fromkeys(known.model[k] for k in logged):
        mine = [k for k in logged if known.model[k] == model]
        served = [k for k in mine if k not in bench]
        groups.append(tuple(served))
        if known.alike:
            groups += [tuple(mine), *((b, k) for b in mine if b in bench for k in served)]
    groups += [(int(goal.candidates[0]), int(k)) for k in goal.candidates[1:RIVALS] if known.alike]
    groups.append(tuple(logged))
    out += [Move("items", group) for group in dict.fromkeys(groups) if len(group) > 1]
    out += [Move("trials", (int(k),)) for k in np.flatnonzero(known.repeatable)]
    fresh: dict[str, list[int]] = {}
    for k, place in enumerate(known.places):
        if place.kind == "new":
            fresh.setdefault(place.context, []).append(k)
    return out + [Move("context", tuple(places)) for places in fresh.values()]


def bought(known: Knowledge, design: Purchase, move: Move, chunk: float, unit: str, bank: float) -> Purchase | None:
    """The design after a purchase of about `chunk`, at least one item (or one trial of each); None where there is none."""
    places = np.array(move.places)
    price = known.cost[unit][places]
    if not np.isfinite(price).all():
        return None
    if move.kind == "trials":
        return design.more(places, again=max(1.0, np.floor(chunk / max(float(price[0] * known.items[places[0]]), 1e-300))))
    room = np.floor(bank - design.items[places].max())
    number = min(max(1.0, np.floor(chunk / max(float(price.sum()), 1e-300))), room)
    return design.more(places, items=number) if number >= 1 else None


def allocate(
    of: Preposterior, budget: float, unit: str, bank: float = np.inf, start: Step | None = None, steps: int = STEPS
) -> list[Step]:
    """The way from `start` (nothing) to the budget, a design a step; it ends early where nothing gains any more."""
    known = of.known
    path = [start or Step(Purchase.nothing(len(known.places)), 0.0, None)]
    every = moves(known, of.goal)
    while True:
        here = path[-1]
        room = budget - here.cost
        chunk = min(budget / steps, room)
        value = of.objective(of.left(here.design))
        best: tuple[float, Step] | None = None
        gains = []
        for move in every:
            step = _affordable(of, here, move, chunk, room, unit, bank)
            gain = 0.0 if step is None else (value - of.objective(of.left(step.design))) / max(step.cost - here.cost, 1e-300)
            gains.append(gain)
            if step is not None and gain * (step.cost - here.cost) > NOTHING * max(value, 1e-300):
                best = (gain, step) if best is None or gain > best[0] else best
        if best is None:
            return path
        path.append(best[1])
        if len(every) > CANDIDATES_MAX:
            every = [every[k] for k in np.argsort(-np.array(gains), kind="stable")[:CANDIDATES_MAX]]


def _affordable(of: Preposterior, here: Step, move: Move, chunk: float, room: float, unit: str, bank: float) -> Step | None:
    design = bought(of.known, here.design, move, chunk, unit, bank)
    if design is None:
        return None
    cost = design.cost(of.known, unit)
    return Step(design, cost, move) if cost <= here.cost + room * (1 + 1e-9) else None


def equal_shares(known: Knowledge, budget: float, unit: str, bank: float = np.inf) -> Step:
    """The same number of new items at every logged place."""
    places = np.flatnonzero(known.logged)
    each = np.floor(budget / max(float(known.cost[unit][places].sum()), 1e-300) * (1 + 1e-12))
    design = Purchase.nothing(len(known.places)).more(places, items=min(each, bank))
    return Step(design, design.cost(known, unit), None)
