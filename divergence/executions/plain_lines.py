"""Lines of JSON that say one thing to every reader, told by one regular expression a file: the fast test of large files.

    {"regime":"evaluation","model":"m","score":1.0}

A line is plain where it is an object of known names, each at most once and in their usual order, with one number, truth
value, null or text a name (or a list of numbers, where the first lines have lists of numbers), no half of a surrogate pair
and no number that a reader may not hold. Polars reads such lines without a question, and no other name or kind of value can
come with them: what the first lines say of the columns then holds for all. Only lines that are not plain are looked at
further; where they are many, the whole file is.
"""

from __future__ import annotations

import graphlib
import io
import itertools
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO

import polars as pl

FIRST = 1000  # lines that tell the names, their order and the kinds of their values
FIRST_BYTES = 2**22  # that they have at most
NAMES = 100  # in one expression: from 200 on it takes a hundred times as long, as its states no longer fit into its cache
ODD_BYTES = 2**22  # of lines that are not plain, up to which they are looked at alone

SPACE = r"[ \t\r]*"
NUMBER = r"-?(?:0|[1-9][0-9]{0,14})(?:\.[0-9]+)?(?:[eE][+-]?[0-9]{1,2})?"
UNIT = r"u(?:[0-9a-cA-CefEF][0-9a-fA-F]{3}|[dD][0-7][0-9a-fA-F]{2}|[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})"
TEXT = rf'"(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|{UNIT}))*"'
SCALAR = f"(?:{TEXT}|{NUMBER}|null|true|false)"
VECTOR = rf"(?:null|\[{SPACE}(?:{NUMBER}{SPACE}(?:,{SPACE}{NUMBER}{SPACE})*)?\])"


def first_lines(file: IO[bytes], size: int = FIRST_BYTES) -> list[str] | None:
    """The first lines that are not blank; None where the first is longer than `size`, or where they are no text. Closes."""
    found, left = [], size
    with file:
        while len(found) < FIRST and left > 0 and (line := file.readline(left)):
            left -= len(line)
            if line.strip() and (left > 0 or line.endswith(b"\n")):
                found.append(line)
    try:
        return [line.decode() for line in found] if found or left > 0 else None
    except UnicodeDecodeError:
        return None


def in_order(records: Iterable[dict]) -> list[str]:
    """All names in an order that every record keeps, those that it has; else in the order in which they come first.

    >>> in_order([{"a": 1, "c": 2}, {"a": 1, "b": 0, "c": 2}])
    ['a', 'b', 'c']
    """
    before: dict[str, set[str]] = {}
    for one in records:
        for earlier, name in itertools.pairwise((None, *one)):
            before.setdefault(str(name), set()).update(() if earlier is None else (earlier,))
    try:
        return [*graphlib.TopologicalSorter(before).static_order()]
    except graphlib.CycleError:
        return [*before]


def plain(records: Sequence[dict], vectors: Iterable[str]) -> pl.Expr | None:
    """Is the text in `line` such a line? None where these records have no name in common, behind which a comma could stand,
    or more names than one expression finds fast. `vectors`: the names whose values are lists of numbers."""
    names, vectors = in_order(records), {*vectors}
    common = next((name for name in names if all(name in one for one in records)), None)
    if common is None or len(names) > NAMES:
        return None
    pairs = {}
    for name in names:
        key, value = re.escape(json.dumps(name, ensure_ascii=False)), VECTOR if name in vectors else SCALAR
        pairs[name] = f"{key}{SPACE}:{SPACE}{value}{SPACE}"
    place = names.index(common)
    before = "".join(f"(?:{pairs[name]},{SPACE})?" for name in names[:place])
    after = "".join(f"(?:,{SPACE}{pairs[name]})?" for name in names[place + 1 :])
    return pl.col("line").str.contains(rf"^{SPACE}\{{{SPACE}{before}{pairs[common]}{after}\}}{SPACE}$")


def odd_lines(path: Path, told: pl.Expr) -> pl.Series | None:
    """The lines that are neither plain nor blank; None where there are so many that the whole file has to be looked at."""
    odd = pl.scan_lines(path, name="line").filter(~told)
    size = odd.select(pl.col("line").str.len_bytes().sum()).collect(engine="streaming").item()
    if not size:
        return pl.Series("line", [], pl.String)
    if size > ODD_BYTES:
        return None
    return odd.filter(pl.col("line").str.contains(r"[^ \t\r]")).collect(engine="streaming")["line"]


def parse(lines: pl.Series, schema: Mapping[str, pl.DataType]) -> pl.DataFrame:
    """The records of lines as columns, through Polars. Raises what Polars raises."""
    text = (lines.str.join("\n").item() or "").encode()
    return pl.read_ndjson(io.BytesIO(text), schema=dict(schema)) if text else pl.DataFrame(schema=dict(schema))
