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
import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from divergence.executions.importers import convert, factors
from divergence.executions.importers.claims import STATISTICS, Claim
from divergence.executions.importers.drafted_rows import COUNTED, DraftedRows
from divergence.executions.importers.field_plan import FieldPlan, from_alias
from divergence.executions.importers.privacy import Privacy
from divergence.executions.names import SEEN


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
    aliases: tuple[str, ...] = ()
    """Other paths of the same value, in other versions or dialects, tried after `path` in this order."""
    unit: str = ""
    """Unit of the foreign value where it is not the unit of the column."""
    authority: str = ""
    """What defines the foreign field, where it is not the authority of the whole format."""
    since: str = ""
    """Version of the tool, or of its conventions, that brought the field."""


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
    row: int | None
    """Line number, or position in the log, from 1; None for a file as a whole."""


@dataclasses.dataclass(frozen=True)
class Shared:
    """What the records of one run have in common, mapped once."""

    values: Mapping[str, Any]
    """Canonical column -> value."""
    rest: FieldPlan
    """The fields that still have to be read from each record."""


def dig(record: Any, path: str | Sequence[str]) -> Any:
    """The value at a path of nested dictionaries (dotted, or split), None where any step is absent."""
    for name in _split(path) if type(path) is str else path:
        if not isinstance(record, dict):
            return None
        record = record.get(name)
    return record


@functools.lru_cache(maxsize=4096)
def _split(path: str) -> tuple[str, ...]:
    return tuple(path.split("."))


class Draft:
    """An import in the making: rows, outcomes, rejections, notes and unmapped names, in the order in which they came.

    `constants` are the columns that the caller sets, which the foreign records then need not have. `privacy` holds
    what may be kept of texts and the salt of identities. `memory` is the importer's own, for one import. `progress` is
    told from time to time how many rows were read. Trials that were counted are in `trials`, by what they were counted
    for; where `apart` is set the rows say so too; `traces` are those that the calls stand in, and `over_calls` says that
    calls took something from other ones. All of these are for drafts that are read apart and put together (`joined`).
    """

    def __init__(
        self, fields: Iterable[Field], reads: Iterable[str], constants: Mapping[str, str], privacy: Privacy | None = None
    ):
        self.fields = tuple(fields)
        self.constants = dict(constants)
        self.privacy = privacy or Privacy()
        self.rows = DraftedRows(self.privacy)
        self.telemetry: list[dict[str, Any]] = []
        self.texts: list[dict[str, str]] = []
        self.rejected: list[dict[str, Any]] = []
        self.notes: list[str] = []
        self.claims: list[Claim] = []
        self.runs: dict[str, dict[str, str]] = {}
        self.told: dict[str, dict[str, str]] = {}
        self.memory: dict[str, Any] = {}
        self.progress: Callable[[str], None] | None = None
        self.unmapped: set[str] = set()
        self.sources: list[Path] = []
        self.apart = False
        self.over_calls = False
        self.traces = pl.Series(dtype=pl.String)
        self.trials: collections.Counter[str] = collections.Counter()
        self._counted_for: str | None = None
        self._counted: collections.Counter[str] = collections.Counter()
        self._secrets: set[str] = set()
        self._plan = FieldPlan(field for field in self.fields if field.column not in self.constants)
        self._known = _tree([path for f in self.fields for path in (f.path, *f.aliases)] + [*reads])
        self._settled: dict[str, tuple[set[str], dict[str, tuple[str, dict[str, Any]]]]] = {}

    def shared(self, record: Mapping[str, Any]) -> Shared:
        """Map once what all records of a run have in common: the columns whose first sources lie in `record`.

        Give the result to `add` with every record of the run, which holds these parts unchanged. Where the run leaves a
        column empty, `add` goes on with the column's further sources.
        """
        values: dict[str, Any] = {}
        rest: list[Field] = []
        open_columns: set[str] = set()
        holders = self._plan.holders(record)
        for line in self._plan.lines:
            field = line.field
            if field.column in values:
                continue
            if field.column in open_columns or field.path.partition(".")[0] not in record:
                open_columns.add(field.column)
                rest.append(field)
                continue
            try:
                given = from_alias(((line.holder, line.leaf), *line.aliases), holders)
                value = None if given is None else field.convert(given)
            except ValueError:
                rest.append(field)  # read again with each row, so that what is wrong with it is said of each row
                continue
            if value is not None:
                values[field.column] = value
            elif field.needed:
                rest.append(field)
        return Shared(values, FieldPlan(field for field in rest if field.column not in values))

    def add(
        self, record: Mapping[str, Any], outcomes: Iterable[Outcome], place: Place, shared: Shared | None = None
    ) -> bool:
        """Map one record to one row and its outcomes; False where the row was set aside.

        An execution that was seen before is set aside later, by `settle`.
        """
        row: dict[str, Any] = dict(shared.values) if shared else {}
        plan = shared.rest if shared else self._plan
        holders = plan.holders(record)
        for column, number, leaf, aliases, convert_value, needed, later, field in plan.lines:
            if later and row.get(column) is not None:
                continue
            holder = holders[number]
            given = None if holder is None else holder.get(leaf)
            if given is None and aliases:
                given = from_alias(aliases, holders)
            if given is not None:
                try:
                    row[column] = convert_value(given)
                except ValueError as error:
                    if needed:
                        self.reject(place, f"{column}_type", f"{field.path} {error}.")
                        return False
                    self.count(f"{column} was left empty where {field.path} {error}")
            if needed and row.get(column) is None:
                self.reject(place, f"{column}_given", f"{field.path} is absent or empty.")
                return False
        self.put(row, [(o.metric, o.value, o.label, o.scorer) for o in outcomes], place.file, place.row)
        return True

    def put(self, row: dict[str, Any], judged: list[tuple[Any, ...]], file: str, number: int | None) -> None:
        """Take a row that is mapped already (canonical column -> value), and its outcomes (metric, value, label, scorer)."""
        if self._counted_for is not None:
            row[COUNTED], self._counted_for = self._counted_for, None
        self.rows.add(row, judged, file, number)
        if self.rows.full:
            self.settle()
            if self.progress:
                self.progress(f"{self.rows.height} rows read")

    def extend(self, block: pl.DataFrame, judged: pl.DataFrame | None = None) -> set[str]:
        """Take many rows that are mapped already, by columns (`blocks.mapped`); those seen before are set aside.

        `judged` are their outcomes, as `DraftedRows.extend` takes them. Returns the ids of the rows set aside.
        """
        self.settle()
        again = list(self.rows.extend(block, judged)) if block.height else []
        self.seen_before(again)
        if self.progress and block.height:
            self.progress(f"{self.rows.height} rows read")
        return {identity for *_, identity in again}

    def counted(self, what: object) -> None:
        """The row that comes next was counted as a trial of `what`."""
        if self.apart:
            self._counted_for = convert.digest(repr(what))
            self.trials[self._counted_for] += 1

    def in_traces(self, names: pl.Series) -> None:
        """The calls read so far stand in the traces of these names."""
        if self.apart:
            self.traces = names.drop_nulls().unique()

    def absorb(self, part: Mapping[str, Any]) -> None:
        """Take what another draft has to say beside its rows (`said` of it), after what this one says."""
        for name in ("telemetry", "texts", "rejected", "claims", "sources"):
            getattr(self, name).extend(part[name])
        for name in ("runs", "told"):
            for file, settings in part[name].items():
                getattr(self, name).setdefault(file, {}).update(settings)
        for sentence in part["notes"]:
            self.note(sentence)
        self.unmapped |= part["unmapped"]
        self._secrets |= part["_secrets"]
        self._counted += part["_counted"]

    def said(self) -> dict[str, Any]:
        """Everything but the rows, for `absorb`."""
        names = ("telemetry", "texts", "rejected", "claims", "sources", "runs", "told", "notes", "unmapped")
        return {name: getattr(self, name) for name in (*names, "_secrets", "_counted", "trials", "traces", "over_calls")}

    def distinct(self, block: pl.DataFrame) -> pl.DataFrame:
        """A block with each of its executions once; the others are set aside, and bear on nothing worked out over rows."""
        again = ~block["execution_id"].is_first_distinct()
        if not again.any():
            return block
        self.seen_before(block.filter(again).select("__file", "__row", "execution_id").iter_rows())
        return block.filter(~again)

    def settle(self) -> None:
        """Bring the rows at hand into columns; an execution that was seen before is set aside."""
        self.seen_before(self.rows.settle())

    def seen_before(self, again: Iterable[tuple[str, int, str]]) -> None:
        """Set rows aside whose execution came before: file, line and id of each."""
        for file, row, identity in again:
            sentence = f"execution_id {convert.named(identity)} was already seen in this import."
            self.reject(Place(file, row), SEEN, sentence)

    def judge(self, identity: str, outcomes: Iterable[Outcome]) -> None:
        """Add judgements of an execution that stand apart from it: feedback, a table of scores."""
        for outcome in outcomes:
            self.rows.judge(identity, outcome.metric, outcome.value, outcome.label, outcome.scorer)

    def measure(self, window: Mapping[str, Any]) -> None:
        """Add one number of a window of telemetry, under the names of the canonical table `telemetry`."""
        self.telemetry.append(
            {k: convert.printable(value) if isinstance(value, str) else value for k, value in window.items()}
        )

    def keep_text(self, identity: str, role: str, text: Any) -> None:
        """Keep a prompt or a completion of an execution, if the user asked for texts; `role` is `prompt` or `response`."""
        if self.privacy.keep_text and isinstance(text, str) and text:
            self.texts.append({"execution_id": identity, "role": role, "text": convert.printable(text)})

    def claim(self, metric: str, value: Any, scope: Mapping[str, str] | None = None, statistic: str = "mean") -> None:
        """State an aggregate that the log itself carries; it is compared with the imported rows.

        `metric` is an outcome or a canonical column; `scope` names canonical columns, or `file` (as in `Place.file`).
        What is no finite number is not a claim.
        """
        if statistic not in STATISTICS:
            raise ValueError(f"a claim is one of {', '.join(STATISTICS)}, seen {statistic!r}")
        if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < convert.LARGEST_COUNT:
            self.claims.append(Claim(convert.printable(metric), float(value), dict(scope or {}), statistic))

    def run_settings(self, file: str, settings: Mapping[str, Any], told: Mapping[str, Any] | None = None) -> None:
        """State the settings of the run in `file` that no column holds; those that differ between runs become context.

        What is in `told` should change no answer: it makes no context, and is named where it differs. Secrets, and what
        says who somebody is, are left out at any depth.
        """
        for mine, given in ((self.runs.setdefault(file, {}), settings), (self.told.setdefault(file, {}), told or {})):
            for name, value in given.items():
                if value is not None and not factors.private(str(name).rpartition(".")[2]):
                    public = factors.without_secrets(value)
                    written = public if isinstance(public, str) else convert.compact(public)
                    mine[convert.printable(name)] = convert.printable(written)

    def reject(self, place: Place, rule: str, sentence: str) -> None:
        """Set a row aside with the rule that it breaks."""
        self._counted_for = None
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
        settled, below = self._settled.get(prefix) or self._settle_names(known, prefix)
        for name, value in part.items():
            if name in settled or (not value and (value is None or value in ("", [], {}))):
                continue
            nested = below.get(name, below.get("*"))
            if nested is None:
                settled.add(name)
                if "*" not in known:  # no name that the mapping reads
                    said = self._secrets if factors.secret(str(name)) else self.unmapped
                    said.add(f"{prefix}.{convert.printable(name)}")
                continue
            path, names = nested
            if isinstance(value, dict):
                inner = self._settled.get(path)
                if inner is None or not value.keys() <= inner[0]:
                    self._walk(value, names, path)
            else:
                self.unmapped.add(path)

    def _settle_names(self, known: dict[str, Any], prefix: str) -> tuple[set[str], dict[str, tuple[str, dict[str, Any]]]]:
        """Names that are covered as a whole or were said, and those below which the mapping reads some."""
        settled = {name for name, below in known.items() if below is None}
        below = {name: (f"{prefix}.{convert.printable(name)}", names) for name, names in known.items() if names is not None}
        self._settled[prefix] = settled, below
        return settled, below


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
