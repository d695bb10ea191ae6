"""Which items is each system asked in each context, when a plan allots them? The same new ones for all, as far as each goes.

    [[allocation]]          items = 40: the first 40 items of the bank that nobody was asked before
    model = "*"             again = 5: five that this system was asked in this context before, asked once more (A/A)
    context = "bench"       trials = 1: repetitions of each

The bank is put into one order for all: tasks take turns by their share of the bank, items of one task in an order drawn
from the plan's name. So cells of different size share items, and every stretch of the order holds the tasks in the bank's
shares. What was asked before is named in the file `asked` (JSON lines of model, context, item), which `divergence plan`
writes; a conversation counts as asked when one of its turns was.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence

from divergence.errors import InputError
from divergence.probe.plan import Allocation, Context, Plan, System

ALL = "*"
Cell = tuple[str, str]
"""Model and context."""


def read_asked(plan: Plan) -> list[dict]:
    """What was asked before. Raises InputError for a file that cannot be read, or a line that says nothing of the kind."""
    if not plan.asked:
        return []
    path = plan.folder / plan.asked
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        rows = [json.loads(line) for line in lines if line.strip()]
    except OSError as error:
        raise InputError(
            f"What was asked before, {path}, cannot be read: {error.strerror}; `asked` is the file that "
            "`divergence plan` wrote."
        ) from None
    except ValueError as error:
        raise InputError(f"{path} is not JSON lines: {error}.") from None
    for number, row in enumerate(rows, 1):
        if not isinstance(row, dict) or not all(isinstance(row.get(k), str) for k in ("model", "context", "item")):
            raise InputError(f"{path.name} line {number} does not name model, context and item.")
    return rows


def check(plan: Plan) -> None:
    """Raises InputError for an allocation that names nobody, asks nothing, or is of traffic."""
    models, labels = [s.model for s in plan.system], [c.label for c in plan.context]
    for number, one in enumerate(plan.allocation, 1):
        for kind, name, known in (("model", one.model, models), ("context", one.context, labels)):
            if name != ALL and name not in known:
                raise InputError(
                    f"Allocation {number} names the {kind} {name!r}, which the plan does not have; it has "
                    f"{', '.join(known)}."
                )
        if one.items < 0 or one.again < 0 or one.items + one.again < 1 or one.trials < 1:
            raise InputError(
                f"Allocation {number} asks {one.items} items, {one.again} again, {one.trials} trials; it needs one item or "
                "more (`items` or `again`), and trials from 1 on."
            )
        traffic = next((c.label for c in plan.context if c.workload and one.context in (c.label, ALL)), None)
        if traffic is not None:
            raise InputError(
                f"Allocation {number} is about the context {traffic!r}, which has a workload of its own that is "
                "asked in its "
                "order; allocations are of the plan's items."
            )


def allotted(plan: Plan, items: Sequence[dict], asked: Sequence[Mapping]) -> dict[Cell, list[tuple[dict, int]]]:
    """Items and the trials of each by cell; empty where the plan allots nothing. The same in every run of the plan.

    Raises InputError where the bank has too few items that were not asked before.
    """
    if not plan.allocation:
        return {}
    turns = any(item.get("turns") for item in items)
    everything = {base_name(str(row["item"]), turns) for row in asked}
    fresh = [item for item in in_order(items, plan.name) if item["item"] not in everything]
    known = {item["item"]: item for item in items}
    before: dict[Cell, list[dict]] = {}
    for row in asked:
        item = known.get(base_name(str(row["item"]), turns))
        mine = before.setdefault((str(row["model"]), str(row["context"])), [])
        if item is not None and item not in mine[-1:]:
            mine.append(item)
    out: dict[Cell, list[tuple[dict, int]]] = {}
    for one in plan.allocation:
        for system in _named(plan.system, one.model):
            for context in _named(plan.context, one.context):
                cell = (system.model, context.label)
                chosen = _fresh(one, fresh, cell, len(items)) + _again(one, before.get(cell, []), cell, plan.name)
                have = out.setdefault(cell, [])
                taken = {item["item"] for item, _ in have}
                have += [pair for pair in chosen if pair[0]["item"] not in taken]
    return out


def _named(known, name: str):
    """The systems or contexts of that name."""
    return [k for k in known if name in (ALL, k.model if isinstance(k, System) else k.label)]


def _fresh(one: Allocation, fresh: list[dict], cell: Cell, bank: int) -> list[tuple[dict, int]]:
    if one.items > len(fresh):
        raise InputError(
            f"{cell[0]} in {cell[1]} is to be asked {one.items} items that were not asked before; {len(fresh)} of "
            f"the {bank} "
            "items of the bank are left: add items to it, or ask the same ones again (`again`)."
        )
    return [(item, one.trials) for item in fresh[: one.items]]


def _again(one: Allocation, before: list[dict], cell: Cell, seed: str) -> list[tuple[dict, int]]:
    if one.again > len(before):
        raise InputError(
            f"{cell[0]} in {cell[1]} is to be asked {one.again} items again; the file `asked` names {len(before)} "
            "of the bank's "
            "that it was asked before."
        )
    draw = random.Random(f"{seed}/again/{cell}")
    return [(item, one.trials) for item in draw.sample(before, one.again)]


def base_name(name: str, conversations: bool) -> str:
    """The item's name, where a turn of a conversation is named: `chat/t2` is of `chat`."""
    base, slash, turn = name.rpartition("/t")
    return base if slash and turn.isdecimal() and conversations else name


def in_order(items: Sequence[dict], seed: str) -> list[dict]:
    """The bank in the one order in which all cells take from it."""
    tasks: dict[object, list[dict]] = {}
    for item in items:
        tasks.setdefault(item["task"], []).append(item)
    placed = []
    for name, mine in sorted(tasks.items(), key=lambda pair: str(pair[0])):
        draw = random.Random(f"{seed}/bank/{name}")
        begin = draw.random()
        placed += [((k + begin) / len(mine), str(name), item) for k, item in enumerate(draw.sample(mine, len(mine)))]
    return [item for _, _, item in sorted(placed, key=lambda entry: entry[:2])]


def contexts_of(plan: Plan, cells: Mapping[Cell, list]) -> list[tuple[System, Context]]:
    """The systems and contexts that are asked anything."""
    return [(s, c) for s in plan.system for c in plan.context if not plan.allocation or cells.get((s.model, c.label))]
