"""Damage to files: bytes replaced, cut out or added anywhere, and values of documents replaced by values of other kinds."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import strategies as st

from divergence.errors import InputError
from divergence.executions.importers import Privacy, import_log, write

ODD = [
    None,
    [],
    {},
    "",
    [1],
    {"a": {"b": [1]}},
    float("nan"),
    float("inf"),
    -1,
    10**30,
    2**64,
    True,
    "\ud800",
    "x\x00",
    "0001-01-01T00:00:00+14:00",
    "1e999",
    7,
    0.5,
    [["-1", "True"], ["-2", "False"]],
    "a" * 1500,
]
PLACE, KIND = st.floats(0, 1, exclude_max=True), st.sampled_from(["replace", "cut", "add", "end"])
EDIT = st.tuples(PLACE, KIND, st.binary(min_size=1, max_size=8))
STEPS = st.lists(st.integers(0, 40), min_size=1, max_size=6)


def changed(content: bytes, edits) -> bytes:
    """The content with bytes replaced, cut out, added, or put to its end."""
    for place, kind, new in edits:
        at = int(place * len(content))
        end = {"replace": at + len(new), "cut": at + 40, "add": at, "end": len(content)}[kind]
        content = content[:at] + (new if kind in ("replace", "add") else b"") + content[end:]
    return content


def replaced(value, steps, new):
    """The value with the part below the given steps replaced; a step is a place among keys or members."""
    if not steps or not isinstance(value, dict | list) or not value:
        return new
    if isinstance(value, list):
        at = steps[0] % len(value)
        return [*value[:at], replaced(value[at], steps[1:], new), *value[at + 1 :]]
    name = list(value)[steps[0] % len(value)]
    return {**value, name: replaced(value[name], steps[1:], new)}


def survives(files: dict[str, bytes], name: str, format: str | None = None) -> None:
    """Import the files: tables that keep the rules, or one sentence."""
    given = {"model": "m"} if format else {}  # a file alone, without what lies beside it, may not name its model
    with tempfile.TemporaryDirectory() as folder:
        for file, content in files.items():
            (Path(folder) / file).write_bytes(content)
        try:
            imported = import_log([Path(folder) / name], format, given, privacy=Privacy(salt=b"0" * 32))
        except InputError as error:
            assert "\n" not in str(error).strip()
            assert len(str(error)) > 20
            return
        if imported.rows or imported.telemetry.height:
            write(imported, Path(folder) / "out.parquet")
        else:
            with pytest.raises(InputError, match="Nothing was written"):
                write(imported, Path(folder) / "out.parquet")
        assert imported.executions["execution_id"].is_unique().all()
        scores = imported.executions["score"].drop_nulls()
        assert scores.is_between(0, 1).all()
