"""The first design as a plan that `divergence probe` runs: `next.toml`, and which items were asked before.

Where the plan that made the log is known, its endpoints, systems and contexts are copied with their paths turned to the new
folder; what it lacks stands there as a placeholder that `divergence probe next.toml --dry-run` refuses by name. Each
`[[allocation]]` says how many items of the bank, not asked before, one model gets in one context; all cells take them from
the same order, so that they share items. `asked.jsonl` beside it names what was asked (model, context, item).

A twentieth of the requests goes to asking again what was asked (A/A): between rounds a server may change under its name.
"""

from __future__ import annotations

import collections
import dataclasses
import datetime
import json
import os
import pathlib
import tomllib
from collections.abc import Mapping, Sequence
from typing import Any

from divergence.errors import InputError
from divergence.joint.posterior import Fit
from divergence.planning.result import MeasurementPlan, PlannedCell

AGAIN = 20  # one in so many requests asks again: enough to see five points of drift in a few rounds, cheap enough to keep
PLACEHOLDER = "REPLACE-ME"
FILES = ("next.toml", "asked.jsonl")


def probe_plan_beside(paths: Sequence[str | os.PathLike]) -> pathlib.Path | None:
    """The plan of a probe in the folder of a log (or in the one above), by its keys; None where there is none."""
    for path in paths:
        here = pathlib.Path(path)
        folders = [here, here.parent] if here.is_dir() else [here.parent, here.parent.parent]
        for folder in folders:
            for file in sorted(folder.glob("*.toml")):
                try:
                    table = tomllib.loads(file.read_text(encoding="utf-8"))
                except (OSError, ValueError):
                    continue
                if {"items", "system", "context"} <= table.keys():
                    return file
    return None


def asked_before(fit: Fit) -> list[dict[str, str]]:
    """What was asked, one entry a model, context and item."""
    counts, names = fit.cells.counts, fit.cells.levels
    keep = (counts["item"] >= 0) & (counts["rows"] > 0)
    seen = dict.fromkeys(
        (names["model"][m], names["context"][c], names["item"][i])
        for m, c, i in zip(*(counts[key][keep] for key in ("model", "context", "item")), strict=True)
    )
    return [{"model": m, "context": c, "item": i} for m, c, i in seen]


def next_plan(plan: MeasurementPlan, fit: Fit, folder: pathlib.Path, made_by: pathlib.Path | None) -> str:
    """The text of `next.toml`; `made_by` is the plan that made the log."""
    table = _copied(made_by, folder) if made_by is not None else _skeleton(fit)
    asked = collections.Counter((row["model"], row["context"]) for row in asked_before(fit))
    cells = _with_again(plan.designs[0].cells, asked)
    table |= {"waves": 1, "trials": 1, "asked": "asked.jsonl", "allocation": [_allocation(c) for c in cells]}
    _placeholders(table, cells, fit)
    head = (
        f"# What to measure next for the goal {_one_line(plan.goal)}: {plan.designs[0].requests} requests. Written by "
        "`divergence plan`;\n# look at it with `divergence probe next.toml --dry-run`, run it with `divergence "
        "probe next.toml "
        "-o FOLDER`.\n"
    )
    return head + dumped(table)


def _with_again(cells: Sequence[PlannedCell], asked: Mapping[tuple[str, str], int]) -> list[PlannedCell]:
    """The cells with a twentieth of the largest one's kind asked again, inside the same number of requests."""
    total = sum(c.items * c.trials for c in cells)
    known = [c for c in cells if c.new_items and c.trials == 1 and asked.get((c.model, c.context))]
    if not known:
        return list(cells)
    first = known[0]
    number = min(total // AGAIN, asked[first.model, first.context], first.items - 1)
    if number < 1:
        return list(cells)
    rest = [dataclasses.replace(c, items=c.items - number) if c is first else c for c in cells]
    return [*rest, dataclasses.replace(first, items=number, new_items=False)]


def _allocation(cell: PlannedCell) -> dict[str, Any]:
    number = {"items": cell.items} if cell.new_items else {"again": cell.items}
    return {"model": cell.model, "context": cell.context, **number, "trials": cell.trials}


def _copied(path: pathlib.Path, folder: pathlib.Path) -> dict[str, Any]:
    """The plan's table with its relative paths turned to `folder`."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(
            f"the probe plan {path} cannot be read: {error.strerror}; name one with --probe PLAN.toml"
        ) from None
    except ValueError as error:
        raise InputError(f"the probe plan {path} is not valid TOML: {error}") from None

    def turned(value: Any) -> Any:
        return (
            os.path.relpath((path.parent / value).absolute(), folder.absolute())
            if isinstance(value, str) and value
            else value
        )

    for key in ("items", "scorers"):
        if key in table:
            table[key] = turned(table[key])
    for context in _tables(table.get("context")):
        if "workload" in context:
            context["workload"] = turned(context["workload"])
        if isinstance(context.get("arrivals"), dict) and "trace" in context["arrivals"]:
            context["arrivals"]["trace"] = turned(context["arrivals"]["trace"])
    for served in _weighted(table):
        if str(served["weights"]).endswith(".gguf"):
            served["weights"] = turned(str(pathlib.Path(served["weights"]).expanduser()))
    for key in ("budget", "allocation", "asked"):  # of the round before
        table.pop(key, None)
    return table


def _tables(value: Any) -> list[dict]:
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []


def _weighted(table: Mapping) -> list[dict]:
    """Everything that names weights: systems, and replicas behind routers."""
    replicas = [
        replica
        for context in _tables(table.get("context"))
        for replica in _tables((context.get("router") or {}).get("replica"))
    ]
    return [entry for entry in [*_tables(table.get("system")), *replicas] if entry.get("weights")]


def _skeleton(fit: Fit) -> dict[str, Any]:
    """A plan with the log's models and contexts, and placeholders for what no log says."""
    return {
        "name": "next",
        "items": f"{PLACEHOLDER}-items.jsonl",
        "endpoint": {PLACEHOLDER: {"base_url": f"{PLACEHOLDER}: http(s)://host:port/v1"}},
        "system": [{"model": model, "endpoint": PLACEHOLDER} for model in fit.cells.levels["model"]],
        "context": [],
    }


def _placeholders(table: dict[str, Any], cells: Sequence[PlannedCell], fit: Fit) -> None:
    """Systems and contexts that the cells name and the plan lacks; those of the log with the factors that it says."""
    crossed = bool(table.get("factorial"))  # its contexts are made when it is read
    contexts, systems = _tables(table.get("context")), _tables(table.get("system"))
    factors = list(contexts[0].get("factors", {})) if contexts else list(fit.design.mixtures)
    for cell in cells:
        if cell.model not in [s.get("model") for s in systems]:
            systems.append({"model": cell.model, "endpoint": f"{PLACEHOLDER} {cell.model}"})
        if cell.context in [c.get("label") for c in contexts] or (crossed and "=" in cell.context):
            continue
        known = _levels(fit, cell.context)
        levels = {f: known.get(f, PLACEHOLDER) for f in factors if f != "context"}
        new = {} if known else {"endpoint": f"{PLACEHOLDER} {cell.context}"}
        contexts.append({"label": cell.context, "regime": cell.regime, "factors": levels, **new})
    table["context"], table["system"] = contexts, systems


def _levels(fit: Fit, context: str) -> dict[str, str]:
    """The levels of a logged context; empty for one that the log never saw."""
    names = fit.cells.levels["context"]
    if context not in names:
        return {}
    place = next(k for k, (_, c) in enumerate(fit.design.contexts) if c == names.index(context))
    return {f: fit.design.levels[f][int(m[place].argmax())] for f, m in fit.design.mixtures.items()}


def _one_line(text: str) -> str:
    return " ".join(text.split())


def dumped(table: Mapping[str, Any]) -> str:
    """A table as TOML: single values first, then tables, then lists of tables.

    >>> print(dumped({"a": 1, "t": {"x": {"y": "z"}}, "l": [{"b": True}]}).strip())
    a = 1
    <BLANKLINE>
    [t.x]
    y = "z"
    <BLANKLINE>
    [[l]]
    b = true
    """
    lines = [f"{_key(k)} = {_value(v)}" for k, v in table.items() if not _nested(v)]
    for name, value in table.items():
        if isinstance(value, dict):
            lines += _section([name], value)
        elif _nested(value):
            for entry in value:
                lines += ["", f"[[{_key(name)}]]", *(f"{_key(k)} = {_value(v)}" for k, v in entry.items())]
    return "\n".join(lines) + "\n"


def _section(names: list[str], table: Mapping[str, Any]) -> list[str]:
    """A table under its heading; tables of tables under theirs, deeper ones in line."""
    plain = {k: v for k, v in table.items() if not (isinstance(v, dict) and len(names) == 1)}
    lines = []
    if plain or not table:
        lines = ["", f"[{'.'.join(map(_key, names))}]", *(f"{_key(k)} = {_value(v)}" for k, v in plain.items())]
    for key, value in table.items():
        if key not in plain:
            lines += _section([*names, key], value)
    return lines


def _nested(value: Any) -> bool:
    return isinstance(value, dict) or (isinstance(value, list) and bool(value) and all(isinstance(e, dict) for e in value))


def _key(name: str) -> str:
    return name if name and all(c.isascii() and (c.isalnum() or c in "_-") for c in name) else json.dumps(name)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{_key(k)} = {_value(v)}" for k, v in value.items()) + " }" if value else "{}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    return repr(value)


def pilot(made_by: pathlib.Path, folder: pathlib.Path, items: int) -> str:
    """The text of a first round's plan: the same few items for every system in every context."""
    table = _copied(made_by, folder) | {"waves": 1, "trials": 1}
    table["allocation"] = [{"model": "*", "context": "*", "items": items}]
    return f"# Round 1: {items} items for every system in every context. Written by `divergence loop`.\n" + dumped(table)
