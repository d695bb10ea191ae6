"""Reads the items of a plan: JSON lines, Parquet, or another tool's log that is to be replayed.

An item is a dict with `item`, `task`, `prompt`, `gold`, `scorer`, `examples`, `choices`; conversations have `turns`, agent
tasks `agent` (see `workloads`). Everything is checked here; what is returned needs no further check.
"""

from __future__ import annotations

import json
import types
from collections.abc import Mapping
from pathlib import Path

import polars as pl

from divergence.errors import InputError
from divergence.executions.quoted import quoted
from divergence.numerics import is_finite
from divergence.plain_files import regular
from divergence.probe import replay, scoring
from divergence.probe.plan import Plan
from divergence.probe.workloads import turn_name

NEEDED = ("item", "prompt", "gold", "scorer")
AGENT = {"wanted": dict, "max_calls": int, "length": (int, float)}


def read_items(
    plan: Plan, workload: str = "", scorers: Mapping[str, scoring.Function] = types.MappingProxyType({})
) -> list[dict]:
    """The items of the plan, or of one of its workloads, in file order. Raises `InputError`.

    A plan's items have names that differ; a workload's may repeat, as traffic does.
    """
    path = plan.folder / (workload or plan.items)
    rows = [_item(row, where, scorers) for row, where in _rows(path)]
    if not rows:
        raise InputError(f"The items file {path} holds no item; each line is one JSON object.")
    turns = {turn_name(row["item"], n) for row in rows for n, _ in enumerate(row.get("turns") or [], 1)}
    taken = next((row["item"] for row in rows if row["item"] in turns), None)
    if taken is not None:
        raise InputError(f"The item {taken!r} of {path.name} has the name of a turn of a conversation; names must differ.")
    seen: dict[str, dict] = {}
    for number, row in enumerate(rows, 1):
        before = seen.setdefault(row["item"], row)
        if before is not row and (not workload or before | {"session": None} != row | {"session": None}):
            raise InputError(
                f"The item {row['item']!r} stands twice, again in {path.name} line {number}; "
                + ("an item that repeats must be the same." if workload else "names must differ.")
            )
    return rows


def _rows(path: Path) -> list[tuple[object, str]]:
    """Raw items, and where each stands."""
    if replay.is_log(path):
        return [(row, f"{path.name} sample {n}") for n, row in enumerate(replay.items(path), 1)]
    regular(path)
    try:
        if path.suffix == ".parquet":
            rows = [{k: v for k, v in row.items() if v is not None} for row in pl.read_parquet(path).to_dicts()]
            return [(row, f"{path.name} row {n}") for n, row in enumerate(rows, 1)]
        lines = path.read_text(encoding="utf-8-sig").split("\n")  # a text may hold other ends of lines
    except OSError as error:
        raise InputError(
            f"The items {path} cannot be read: {error.strerror}; `items` is a JSON lines file, a Parquet file "
            "or a log to replay."
        ) from None
    except UnicodeDecodeError as error:
        raise InputError(f"The items {path} are not UTF-8 text (byte {error.start + 1}); save them as UTF-8.") from None
    except pl.exceptions.PolarsError as error:
        raise InputError(f"The items {path} cannot be read: {str(error).splitlines()[0]}.") from None
    out = []
    for number, line in enumerate(lines, 1):
        where = f"{path.name} line {number}"
        if line.strip():
            try:
                row = json.loads(line)
                json.dumps(row, ensure_ascii=False).encode()
            except UnicodeEncodeError:
                raise InputError(f"{where} holds half of a surrogate pair, which is no text.") from None
            except RecursionError:
                raise InputError(f"{where} is nested too deeply.") from None
            except ValueError as error:
                raise InputError(f"{where} is not JSON: {getattr(error, 'msg', error)}.") from None
            out.append((row, where))
    return out


def _item(row: object, where: str, scorers: Mapping[str, scoring.Function]) -> dict:
    if not isinstance(row, dict):
        raise InputError(f"{where} is not a JSON object; an item needs {', '.join(NEEDED)}.")
    if row.get("turns"):
        row = {"prompt": "", "gold": "", "scorer": "exact"} | row
    if "agent" in row:
        row = {"gold": "", "scorer": "exact"} | row
    _texts(row, where)
    row = {"task": None, "examples": [], "choices": []} | row
    pairs = isinstance(row["examples"], list) and all(isinstance(e, list) and len(e) == 2 for e in row["examples"])
    if not pairs or not all(isinstance(text, str) for example in row["examples"] for text in example):
        raise InputError(f"{where} has examples that are not pairs of question and answer.")
    if "agent" in row:
        return _agent(row, where)
    if not isinstance(row.get("turns") or [], list):
        raise InputError(f"{where} has turns that are not a list.")
    for number, turn in enumerate(row.get("turns") or [], 1):
        if not isinstance(turn, dict):
            raise InputError(f"{where} turn {number} is not a JSON object.")
        _texts({"item": row["item"], **turn}, f"{where} turn {number}")
        scoring.check({**row, **turn}, f"{where} turn {number}", scorers)
    if not row.get("turns"):
        scoring.check(row, where, scorers)
    return row


def _texts(row: dict, where: str) -> None:
    """What must be text is text; what may be text is, or is left out. Raises `InputError`."""
    missing = next((k for k in NEEDED if not isinstance(row.get(k), str)), None)
    if missing is not None or not row["item"]:
        raise InputError(f"{where} lacks the text field {missing or 'item'!r}; an item needs {', '.join(NEEDED)}.")
    odd = next((k for k in ("task", "session", "pattern") if not isinstance(row.get(k, ""), str | None)), None)
    if odd is not None:
        raise InputError(f"{where} has the {odd} {quoted(row[odd])}; it must be a text.")
    session = row.get("session") or ""
    if not (session.isascii() and session.isprintable()):
        raise InputError(f"{where} has the session {quoted(session)}; it is sent in a header and must be printable ASCII.")
    choices = row.get("choices") or []
    if not isinstance(choices, list) or not all(isinstance(choice, str) for choice in choices):
        raise InputError(f"{where} has the choices {quoted(choices)}; they must be a list of texts.")
    try:
        json.dumps(row, ensure_ascii=False, default=str).encode()
    except UnicodeEncodeError:
        raise InputError(f"{where} holds half a surrogate pair, which is no text; write the whole character.") from None


def _agent(row: dict, where: str) -> dict:
    task = row["agent"]
    for key, kind in AGENT.items():
        if not isinstance(task, dict) or not isinstance(task.get(key), kind) or isinstance(task.get(key), bool):
            raise InputError(f"{where} has an agent task without a valid {key!r}; it needs {', '.join(AGENT)}.")
    values = task["wanted"].values()
    if not all(isinstance(value, str) for value in values) or not is_finite(task["length"]):
        raise InputError(f"{where} has an agent task whose wanted values are not texts, or whose length is not finite.")
    if task["max_calls"] < 1 or not task["wanted"]:
        raise InputError(f"{where} has an agent task that allows no call, or wants no end state.")
    return row
