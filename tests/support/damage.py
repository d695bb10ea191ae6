"""Damage to files: bytes replaced, cut out or added anywhere, lines lost, repeated and exchanged, and values of documents
replaced by values of other kinds."""

from __future__ import annotations

import collections
import contextlib
import resource
import signal
import tempfile
from collections.abc import Iterator
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
    10**400,
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
    5e-324,
    1e308,
    -0.0,
    "9" * 400,
    [[[[]]]],
]
WORDS = [
    *(b"\n", b"\r", b"\r\n", b'"', b",", b"\t", b"\x00", b"\xff", b"\xef\xbb\xbf", b"{", b"[", b"]", b"}", b"1e400", b"-"),
    *(b"nan", b"NaN", b"9" * 400, b"[" * 3000, b'"a":', b"\\ud800", b"\\u0000", b"null", b"true", b"1e308"),
]
SLOW_S = 20  # a hang, on however busy a machine
MEMORY = 2**30  # bytes of a process that reads thousands of them
PLACE, KIND = st.floats(0, 1, exclude_max=True), st.sampled_from(["replace", "cut", "add", "end"])
EDIT = st.tuples(PLACE, KIND, st.binary(min_size=1, max_size=8) | st.sampled_from(WORDS))
LINES = st.tuples(PLACE, st.sampled_from(["lose", "repeat", "exchange"]), PLACE)
STEPS = st.lists(st.integers(0, 40), min_size=1, max_size=6)
TRIED: collections.Counter[str] = collections.Counter()
"""How many inputs of each format were read, for the record (`benchmarks/fuzz.py`)."""


def changed(content: bytes, edits) -> bytes:
    """The content with bytes replaced, cut out, added, or put to its end."""
    for place, kind, new in edits:
        at = int(place * len(content))
        end = {"replace": at + len(new), "cut": at + 40, "add": at, "end": len(content)}[kind]
        content = content[:at] + (new if kind in ("replace", "add") else b"") + content[end:]
    return content


def shuffled(content: bytes, edits) -> bytes:
    """The content with lines lost, repeated at other places, or exchanged."""
    lines = content.splitlines(keepends=True)
    for place, kind, other in edits:
        if lines:
            one, two = int(place * len(lines)), int(other * len(lines))
            if kind == "lose":
                del lines[one]
            elif kind == "repeat":
                lines.insert(two, lines[one])
            else:
                lines[one], lines[two] = lines[two], lines[one]
    return b"".join(lines)


@contextlib.contextmanager
def within(seconds: float) -> Iterator[None]:
    """TimeoutError where the block takes longer; in the main thread."""

    def late(*_):
        raise TimeoutError(f"not done in {seconds} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def peak() -> int:
    """The most memory that this process had, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


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
    TRIED[format or "any"] += 1
    given = {"model": "m"} if format else {}  # a file alone, without what lies beside it, may not name its model
    with tempfile.TemporaryDirectory() as folder:
        for file, content in files.items():
            (Path(folder) / file).write_bytes(content)
        try:
            with within(SLOW_S):
                imported = import_log([Path(folder) / name], format, given, privacy=Privacy(salt=b"0" * 32))
        except InputError as error:
            assert str(error).isprintable()
            assert 20 < len(str(error)) <= 300
            return
        if imported.rows or imported.telemetry.height:
            write(imported, Path(folder) / "out.parquet")
        else:
            with pytest.raises(InputError, match="Nothing was written"):
                write(imported, Path(folder) / "out.parquet")
        assert imported.executions["execution_id"].is_unique().all()
        scores = imported.executions["score"].drop_nulls()
        assert scores.is_between(0, 1).all()
