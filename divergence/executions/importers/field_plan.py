"""The paths of a mapping, walked once a record: dictionaries that several fields lie in are looked up once.

A record of a harness has some thirty mapped paths in five or six dictionaries, of which half are absent. Fields whose
dictionary is absent cost nothing more than that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from divergence.executions.importers.mapping import Field


class Line(NamedTuple):
    """One field, ready to be read."""

    column: str
    """Canonical column that it fills."""
    holder: int
    """Number of the dictionary that its path lies in."""
    leaf: str
    """Last name of its path."""
    aliases: tuple[tuple[int, str], ...]
    """The same of its aliases, in their order."""
    convert: Callable[[Any], Any]
    """The field's converter."""
    needed: bool
    """Is a row without it set aside?"""
    later: bool
    """May an earlier field have filled the column?"""
    field: Field
    """The field itself."""


class FieldPlan:
    """A tuple of fields, laid out for reading."""

    def __init__(self, fields: Iterable[Field]) -> None:
        self._numbers: dict[tuple[str, ...], int] = {(): 0}
        self._holders: list[tuple[int, str]] = []
        lines, columns = [], set()
        for field in fields:
            aliases = tuple(self._source(path) for path in field.aliases)
            later = field.column in columns
            columns.add(field.column)
            lines.append(Line(field.column, *self._source(field.path), aliases, field.convert, field.needed, later, field))
        self.lines = tuple(lines)

    def _source(self, path: str) -> tuple[int, str]:
        *parents, leaf = path.split(".")
        for length in range(1, len(parents) + 1):
            prefix = tuple(parents[:length])
            if prefix not in self._numbers:
                self._holders.append((self._numbers[prefix[:-1]], prefix[-1]))
                self._numbers[prefix] = len(self._numbers)
        return self._numbers[tuple(parents)], leaf

    def holders(self, record: Mapping[str, Any]) -> list[Any]:
        """The dictionaries of a record that the fields lie in, by number; None where one is absent."""
        found: list[Any] = [record if isinstance(record, dict) else None]
        for parent, name in self._holders:
            above = found[parent]
            part = above.get(name) if above is not None else None
            found.append(part if isinstance(part, dict) else None)
        return found


def from_alias(aliases: tuple[tuple[int, str], ...], holders: list[Any]) -> Any:
    """The value of the first alias that has one; None where none has."""
    for number, leaf in aliases:
        holder = holders[number]
        if holder is not None:
            value = holder.get(leaf)
            if value is not None:
                return value
    return None
