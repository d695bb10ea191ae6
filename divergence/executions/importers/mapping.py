"""The engine of every importer: a declared mapping, applied to foreign records one by one.

A mapping is a tuple of `Field`: which canonical column, from which path of the foreign record, through which converter,
with a note for the reader. A record is a dictionary of dictionaries; `derived` in it holds what a format's module
worked out from several foreign fields (the fields read for that stand in the format's `READS`).

A needed column that is absent or unreadable sets the row aside with the rule that it breaks. An optional value that is
unreadable is left empty, and counted in a note. Names that carried data and that no field reads are collected.
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from divergence.executions.importers import convert, factors


@dataclasses.dataclass(frozen=True)
class Field:
    """One column of a mapping."""

    column: str
    """Canonical column that it fills."""
    path: str
    """Path in the foreign record, dots between the names."""
    convert: Callable[[Any], Any]
    """From the foreign value to the canonical one; raises ValueError with the end of a sentence."""
    note: str = ""
    """What a reader must know about it."""
    needed: bool = False
    """Is a row without it set aside?"""


@dataclasses.dataclass(frozen=True)
class Outcome:
    """One judgement of one execution."""

    metric: str
    """Name of the outcome, unique within the execution."""
    value: float | None
    """Its value; None where the label is not a number."""
    label: str | None
    """Its label as the judge wrote it; None where it wrote a number."""
    scorer: str | None
    """What judged."""


@dataclasses.dataclass(frozen=True)
class Place:
    """Where in which file a row comes from."""

    file: str
    """The file's path as given."""
    row: int
    """Line number, or position in the log, from 1."""


def dig(record: Any, path: str) -> Any:
    """The value at a dotted path of nested dictionaries, None where any step is absent."""
    for name in path.split("."):
        if not isinstance(record, dict):
            return None
        record = record.get(name)
    return record


class Draft:
    """An import in the making: rows, outcomes, rejections, notes and unmapped names, in the order in which they came.

    `constants` are the columns that the caller sets, which the foreign records then need not have.
    """

    def __init__(self, fields: Iterable[Field], reads: Iterable[str], constants: Mapping[str, str]):
        self.fields = tuple(fields)
        self.constants = dict(constants)
        self.rows: list[dict[str, Any]] = []
        self.outcomes: list[dict[str, Any]] = []
        self.rejected: list[dict[str, Any]] = []
        self.notes: list[str] = []
        self.unmapped: set[str] = set()
        self.sources: list[Path] = []
        self._counted: collections.Counter[str] = collections.Counter()
        self._secrets: set[str] = set()
        self._ids: set[str] = set()
        self._known = _tree([field.path for field in self.fields] + list(reads))

    def add(self, record: Mapping[str, Any], outcomes: Iterable[Outcome], place: Place) -> bool:
        """Map one record to one row and its outcomes; False where the row was set aside."""
        row: dict[str, Any] = {}
        for field in self.fields:
            if field.column in self.constants or row.get(field.column) is not None:
                continue
            foreign = dig(record, field.path)
            try:
                row[field.column] = None if foreign is None else field.convert(foreign)
            except ValueError as error:
                if field.needed:
                    self.reject(place, f"{field.column}_type", f"{field.path} {error}.")
                    return False
                self.count(f"{field.column} was left empty where {field.path} {error}")
            if field.needed and row[field.column] is None:
                self.reject(place, f"{field.column}_given", f"{field.path} is absent or empty.")
                return False
        if row["execution_id"] in self._ids:
            sentence = f"execution_id {convert.shown(row['execution_id'])} was already seen in this import."
            self.reject(place, "execution_id_unique", sentence)
            return False
        self._ids.add(row["execution_id"])
        self.rows.append(row)
        self.outcomes += [{"execution_id": row["execution_id"], **dataclasses.asdict(o)} for o in outcomes]
        return True

    def reject(self, place: Place, rule: str, sentence: str) -> None:
        """Set a row aside with the rule that it breaks."""
        self.rejected.append({"file": place.file, "row": place.row, "rule": rule, "sentence": sentence})

    def note(self, sentence: str) -> None:
        """Say something about the whole import, once."""
        if sentence not in self.notes:
            self.notes.append(sentence)

    def count(self, sentence: str) -> None:
        """Say something about single rows: the sentence is given once, with how often it was said."""
        self._counted[sentence] += 1

    def watch(self, name: str, part: Any) -> None:
        """Note which names of one part of a foreign record carry data and are not mapped."""
        if not isinstance(part, dict):
            return
        known = self._known.get(name, {})
        if known is not None:
            self._walk(part, known, name)

    def sentences(self) -> tuple[str, ...]:
        """All notes, the counted ones last."""
        counted = [f"{sentence} ({times} times)." for sentence, times in self._counted.items()]
        secrets = [f"Left out, since the name looks like a secret: {', '.join(sorted(self._secrets))}."]
        return (*self.notes, *counted, *(secrets if self._secrets else ()))

    def _walk(self, part: Mapping[str, Any], known: dict[str, Any], prefix: str) -> None:
        for name, value in part.items():
            if value is None or value in ("", [], {}):
                continue
            step = str(name) if name in known else "*"
            path = f"{prefix}.{convert.printable(step if step in known else name)}"
            below = known.get(step)
            if step not in known and factors.secret(str(name)):
                self._secrets.add(path)
            elif step not in known or (below is not None and not isinstance(value, dict)):
                self.unmapped.add(path)
            elif below is not None:
                self._walk(value, below, path)


def _tree(paths: Iterable[str]) -> dict[str, Any]:
    """Dotted paths as nested dictionaries; None ends a path and covers all below it."""
    root: dict[str, Any] = {}
    for path in sorted(paths, key=lambda path: path.count(".")):
        node: dict[str, Any] | None = root
        *parents, last = path.split(".")
        for name in parents:
            node = node.setdefault(name, {})
            if node is None:
                break  # a shorter path covers this one already
        else:
            node.setdefault(last, None)
    return root
