"""The runs of one import: their settings as flat texts, and which repetition of an item an execution is.

A setting that a format maps to a serving factor needs nothing more; the others are handed to `Draft.run_settings`, which
makes those that differ between runs of one model part of the context. Settings are compared as flat texts,
`phases.profiling.type=concurrency`; names that look like secrets are left out. Sizes (how many items were run) are no
settings: they show in the rows.
"""

from __future__ import annotations

import bisect
import collections
import dataclasses
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from divergence.executions.importers import convert, factors, foreign_files
from divergence.executions.importers.mapping import Draft

PROSE = re.compile(r"prompt|instruction|template|message|policy|guideline|description", re.IGNORECASE)
"""Names of settings that hold texts; such a text is told by its hash."""
DEEPEST = 12  # levels of nested settings that are compared: no tool nests its own deeper


@dataclasses.dataclass
class Run:
    """One run of a tool: one model under one configuration."""

    name: str
    """How notes call it."""
    model: str | None
    """The model that it evaluated; None where only the caller knows it."""
    factors: dict[str, str]
    """Canonical serving factors that it states."""
    settings: dict[str, str]
    """Its other settings, flat."""


def flat(value: Any, skip: Iterable[str] = (), prefix: str = "") -> dict[str, str]:
    """Nested settings as dotted names and texts, without empty ones, secrets and the names or paths in `skip`.

    A list of dictionaries is named by the members' own `name`, else by place; other lists are one text.
    """
    found: dict[str, str] = {}
    if prefix.count(".") >= DEEPEST or not isinstance(value, dict):
        return found
    skip = frozenset(skip)
    for key, part in value.items():
        name = convert.printable(key)
        path = f"{prefix}{name}"
        if name in skip or path in skip or factors.private(name) or part is None or part in ("", [], {}):
            continue
        if isinstance(part, dict):
            found |= flat(part, skip, f"{path}.")
        elif isinstance(part, list) and all(isinstance(member, dict) for member in part):
            for place, member in enumerate(part):
                named = member.get("name")
                found |= flat(member, skip, f"{path}.{named if isinstance(named, str) else place}.")
        else:
            written = _written(part)
            if written is not None:
                found[path] = convert.digest(written) if PROSE.search(name) and " " in written else written
    return found


def _written(value: Any) -> str | None:
    if isinstance(value, int | float) and not isinstance(value, bool):
        number = float(value) if abs(value) < 2**53 else math.nan
        return repr(int(number)) if number.is_integer() else repr(value) if math.isfinite(number) else str(value)[:40]
    try:
        return convert.label(value) if isinstance(value, str | bool) else convert.compact(value)
    except (ValueError, RecursionError):
        return None


class Trials:
    """Counts the executions of one item by one model in one context, in the order in which they are read.

    Each is put into the draft before the next one is counted.
    """

    def __init__(self, draft: Draft) -> None:
        self._draft = draft
        self._seen: collections.Counter[Any] = collections.Counter()
        self._run: Run | None = None
        self._of_run: tuple[Any, ...] = ()

    def next(self, run: Run, item: Any) -> int:
        """The number of this execution, from 1."""
        if run is not self._run:  # the runs of one file come one after another
            self._run = run
            self._of_run = (tuple(sorted(run.factors.items())), tuple(sorted(run.settings.items())))
        key = (run.model, repr(item), *self._of_run)
        self._seen[key] += 1
        self._draft.counted(key)
        return self._seen[key]


def file_identity(path: Path) -> str:
    """The start of the file's SHA-256: the same file makes the same execution ids."""
    return foreign_files.sha256(path)[:16]


def host(address: Any) -> str | None:
    """Host and port of an address, without user, password, path or query."""
    if not isinstance(address, str):
        return None
    try:
        parts = urlsplit(address if "//" in address else f"//{address}")
        return f"{parts.hostname}:{parts.port}" if parts.hostname and parts.port else parts.hostname
    except ValueError:
        return None


def failures(draft: Draft, name: str, errors: Iterable[Any], rows: int, counted: str = "") -> None:
    """Say how many executions of a run ended in an error, and in which; `counted` says what the tool makes of them."""
    kinds = collections.Counter(convert.printable(kind) for kind in errors if kind)
    if not kinds:
        return
    listed = ", ".join(f"{times} {kind}" for kind, times in sorted(kinds.items(), key=lambda e: (-e[1], e[0])))
    draft.note(f"{name}: {kinds.total()} of {rows} executions ended in an error ({listed}). {counted}".rstrip())


def finite(value: Any, truth: bool = False) -> float | None:
    """A finite number, else None; `truth` takes true and false as 1 and 0."""
    known = isinstance(value, int | float) and (truth or not isinstance(value, bool))
    return float(value) if known and abs(value) <= convert.LARGEST_NUMBER else None


def text_of(value: Any) -> str | None:
    """A text that is there and says something, else None."""
    return value if isinstance(value, str) and value else None


def mapping_of(value: Any) -> Mapping[str, Any]:
    """A dictionary, or an empty one where the value is none."""
    return value if isinstance(value, dict) else {}


def list_of(value: Any) -> list[Any]:
    """A list, or an empty one where the value is none."""
    return value if isinstance(value, list) else []


def in_flight(spans: Sequence[tuple[float, float] | None]) -> list[int | None]:
    """For every request, how many others were in flight when it was sent; None for those without start and end.

    A request is in flight from its start, included, to its end, excluded; times are in one unit of one clock.
    """
    starts = sorted(span[0] for span in spans if span)
    ends = sorted(span[1] for span in spans if span)
    return [None if span is None else _others(*span, starts, ends) for span in spans]


def _others(start: float, end: float, starts: list[float], ends: list[float]) -> int:
    begun, ended = bisect.bisect_right(starts, start) - 1, bisect.bisect_right(ends, start) - (end <= start)
    return begun - ended


def elapsed(start: Any, end: Any) -> float | None:
    """Seconds between two instants of a log; None where one is absent or unreadable, or they stand in the wrong order."""
    try:
        instants = [convert.moment(value) for value in (start, end) if value is not None]
    except ValueError:
        return None
    first, last = (*instants, None, None)[:2]
    taken = (last - first).total_seconds() if first and last else -1.0
    return taken if taken >= 0 else None
