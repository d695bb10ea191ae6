"""Many foreign records at once: the declared mapping applied to columns instead of to single records.

A production log has millions of small records. `Gathered` collects their values by path, and `mapped` turns them into a
frame of canonical columns with the same fields, the same rejections and the same notes as `Draft.add`, column by column:
each value goes through the fast conversion of its field (`written.FAST`), and through the scalar one where that gives
nothing. Records that hold text which is no Unicode, or nested values, take the scalar way throughout.
"""

from __future__ import annotations

import contextlib
import operator
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import polars as pl

from divergence.executions import schema
from divergence.executions.importers import convert
from divergence.executions.importers.mapping import Draft, Field, Place, dig
from divergence.executions.importers.written import FAST, amount

RECORDS = 20_000  # records mapped together: enough for columns to pay, some 30 MB of text at most in usual logs
WAITING = 64  # records that wait to be spread into columns: few enough to be still in the cache
NOT_TEXTS = (TypeError, UnicodeEncodeError, OverflowError)
"""What Polars raises for values that are no texts: of other types, halves of a pair, numbers of hundreds of digits."""
SEPARATOR = "\x1f"  # between the members of a list that is compared as one text
ROW = "__row"  # the place of a record in its file, from 1
FILE = "__file"  # the file that it comes from, as in `Place.file`


class Gathered:
    """Values of foreign records by path, until they are mapped together."""

    def __init__(self, paths: Iterable[str]):
        self.paths = frozenset(paths)
        self.rows: list[int] = []
        self.files: list[str] = []
        self._waiting: list[Mapping[str, Any]] = []
        self._columns: dict[str, list[Any]] = {}

    def __len__(self) -> int:
        return len(self.rows)

    def add(self, row: int, values: Mapping[str, Any], file: str) -> None:
        """Take one record, `row` from 1 in its file, which must not change afterwards; other paths are passed over."""
        self.rows.append(row)
        self.files.append(file)
        self._waiting.append(values)
        if len(self._waiting) >= WAITING:
            self._spread()

    def column(self, path: str) -> list[Any] | None:
        """The values under one path, None for records without it; None where no record has it."""
        self._spread()
        column = self._columns.get(path)
        if column is None:
            return None
        column += [None] * (len(self.rows) - len(column))
        return None if _empty(column) else column

    def _spread(self) -> None:
        """Put the values of the records at hand into the columns."""
        records, self._waiting = self._waiting, []
        before = len(self.rows) - len(records)
        for path in self.paths.intersection(frozenset().union(*records)):
            column = self._columns.setdefault(path, [])
            column += [None] * (before - len(column))
            column += [record.get(path) for record in records]


class GivenColumns:
    """Values of foreign records by path that are columns already, of which some places count."""

    def __init__(self, rows: Sequence[int], files: Sequence[str], columns: Mapping[str, list[Any]], places: Sequence[int]):
        """`rows` and `files` are those of the places in `places`, `columns` have all places."""
        self.rows, self.files = rows, files
        self._columns = columns
        self._chosen = operator.itemgetter(*places) if len(places) > 1 else lambda whole: [whole[p] for p in places]
        self._put: dict[str, list[Any]] = {}

    def __len__(self) -> int:
        return len(self.rows)

    def put(self, path: str, values: list[Any]) -> None:
        """Give a column of the places that count."""
        self._put[path] = values

    def column(self, path: str) -> list[Any] | None:
        """The values under one path; None where no record has it."""
        if (column := self._put.get(path)) is None:
            whole = self._columns.get(path)
            column = [] if whole is None else list(self._chosen(whole))
        return None if _empty(column) else column


def _empty(column: list[Any]) -> bool:
    return all(value is None for value in column)


def paths_of(fields: Iterable[Field]) -> set[str]:
    """Every foreign path that a mapping reads."""
    return {path for field in fields for path in (field.path, *field.aliases)}


def mapped(draft: Draft, gathered: Gathered | GivenColumns, extra: Mapping[str, pl.DataType] | None = None) -> pl.DataFrame:
    """The records, of whatever files, as canonical rows, those that lack a needed column set aside in the draft.

    `extra` names foreign paths that are kept as they are, under their own names and of the given types, for what is
    worked out over several records. The frame has the columns `__file` and `__row` beside the canonical ones.
    """
    height, files = len(gathered), gathered.files
    frame = pl.DataFrame({ROW: gathered.rows, FILE: files}, schema={ROW: pl.Int64, FILE: pl.String})
    columns: dict[str, pl.Series] = {}
    set_aside: dict[int, tuple[str, str]] = {}
    for field in draft.fields:
        if field.column in draft.constants:
            continue
        values, found = _foreign(gathered, field), columns.get(field.column)
        if values is not None:
            series, problems = _converted(values, field)
            columns[field.column] = series if found is None else found.zip_with(found.is_not_null(), series)
            _problems(draft, field, problems, set_aside)
        if field.needed:
            _needed(field, columns.get(field.column), height, set_aside)
    for index in sorted(set_aside):
        rule, sentence = set_aside[index]
        draft.reject(Place(files[index], gathered.rows[index]), rule, sentence)
    frame = frame.with_columns(*(series.alias(name) for name, series in columns.items()))
    for path, dtype in (extra or {}).items():
        values = gathered.column(path)
        frame = frame.with_columns(_as_given(path, values if values is not None else [None] * height, dtype))
    kept = pl.Series([index not in set_aside for index in range(height)], dtype=pl.Boolean) if set_aside else None
    return frame if kept is None else frame.filter(kept)


def canonical(extra: Mapping[str, pl.DataType]) -> pl.DataFrame:
    """No row, with all canonical columns, those of `extra`, and file and row: the head of a concatenation."""
    return pl.DataFrame(schema={**schema.polars_schema(), **extra, FILE: pl.String(), ROW: pl.Int64()})


def _as_given(path: str, values: list[Any] | pl.Series, dtype: pl.DataType) -> pl.Series:
    """Values under their own name, in a type that is tried strictly first, which is faster by far."""
    if isinstance(values, pl.Series):
        return values.alias(path).cast(dtype)
    try:
        return pl.Series(path, values, dtype)
    except NOT_TEXTS:
        known = [v if v is None or type(v) is float or _fits(v) else convert.printable(v) for v in values]
        return pl.Series(path, known, dtype, strict=False)


def _fits(value: Any) -> bool:
    """Is it a whole number that a column holds?"""
    return isinstance(value, int) and abs(value) <= convert.LARGEST_COUNT


def _foreign(gathered: Gathered | GivenColumns, field: Field) -> list[Any] | pl.Series | None:
    values = gathered.column(field.path)
    for alias in field.aliases:
        other = gathered.column(alias)
        if values is None or other is None:
            values = other if values is None else values
        elif isinstance(values, pl.Series) and isinstance(other, pl.Series) and values.dtype == other.dtype:
            values = values.zip_with(values.is_not_null(), other)
        else:
            values = [
                first if first is not None else second for first, second in zip(_listed(values), _listed(other), strict=True)
            ]
    return values


def _listed(values: list[Any] | pl.Series) -> list[Any]:
    return values.to_list() if isinstance(values, pl.Series) else values


def _converted(values: list[Any] | pl.Series, field: Field) -> tuple[pl.Series, dict[int, str]]:
    dtype = schema.COLUMNS[field.column].dtype
    fast, texts = FAST.get(field.convert), _columnar(values, field)
    if fast is None or texts is None:
        alike = _alike(values, field, dtype) if isinstance(values, pl.Series) else None
        return (alike, {}) if alike is not None else _one_by_one(_listed(values), range(len(values)), field, None, dtype)
    series = pl.select(fast(pl.lit(texts))).to_series().cast(dtype)
    doubtful = (texts.is_not_null() & series.is_null()).arg_true().to_list()
    return _one_by_one(values, doubtful, field, series, dtype) if doubtful else (series, {})


def _columnar(values: list[Any] | pl.Series, field: Field) -> pl.Series | None:
    """The values as a column that a fast conversion reads; None where there is none."""
    if not isinstance(values, pl.Series):
        return _decimals(values) if field.convert is amount else _texts(values)
    if values.dtype == pl.String or (values.dtype == pl.Float64 and field.convert is amount):
        return values
    return None if values.dtype == pl.List(pl.String) else _texts(values.to_list())


def _alike(values: pl.Series, field: Field, dtype: pl.DataType) -> pl.Series | None:
    """A column of texts or of lists of texts, with those that are alike converted once; None where one is not sound."""
    if values.dtype not in (pl.String, pl.List(pl.String)):
        return None
    keys = values
    if values.dtype != pl.String:
        keys = values.list.join(SEPARATOR)
        if (keys.str.count_matches(SEPARATOR, literal=True) + 1 != values.list.len()).any():
            return None  # lists without members, and those that hold the separator
    kinds = pl.DataFrame({"key": keys, "value": values}).drop_nulls("key").unique("key", maintain_order=True)
    try:
        made = [field.convert(value) for value in kinds["value"].to_list()]
    except ValueError:
        return None
    return keys.replace_strict(kinds["key"], pl.Series(made, dtype=dtype), default=None, return_dtype=dtype)


def _one_by_one(
    values: list[Any] | pl.Series, places: Iterable[int], field: Field, series: pl.Series | None, dtype: pl.DataType
) -> tuple[pl.Series, dict[int, str]]:
    column: list[Any] = [None] * len(values) if series is None else series.to_list()
    problems: dict[int, str] = {}
    known: dict[Any, Any] = {}  # labels repeat: one conversion a value
    for place in places:
        value = values[place]
        if value is None:
            continue
        key = tuple(value) if type(value) is list and all(type(member) is str for member in value) else value
        try:
            if type(key) in (str, tuple):
                if key not in known:
                    known[key] = field.convert(value)
                column[place] = known[key]
            else:
                column[place] = field.convert(value)
        except ValueError as error:
            problems[place] = str(error)
    return pl.Series(column, dtype=dtype), problems


def _decimals(values: list[Any]) -> pl.Series | None:
    """Amounts that are decimal numbers already, else as texts."""
    if type(next((value for value in values if value is not None), None)) is float:
        with contextlib.suppress(*NOT_TEXTS):
            return pl.Series(values, dtype=pl.Float64)
    return _texts(values)


def _texts(values: list[Any]) -> pl.Series | None:
    """The values as texts; None where one of them is nested or no Unicode, or a switch."""
    if type(next((value for value in values if value is not None), None)) in (list, dict, bool):
        return None
    try:
        return pl.Series(values, dtype=pl.String)
    except NOT_TEXTS:
        pass  # not all are texts: numbers among them are written out below
    allowed = (str, int, float)
    if not all(value is None or (isinstance(value, allowed) and not isinstance(value, bool)) for value in values):
        return None
    try:
        return pl.Series([v if v is None or isinstance(v, str) else repr(v) for v in values], dtype=pl.String)
    except UnicodeEncodeError:
        return None


def _problems(draft: Draft, field: Field, problems: Mapping[int, str], set_aside: dict[int, tuple[str, str]]) -> None:
    for index, problem in problems.items():
        if field.needed:
            set_aside.setdefault(index, (f"{field.column}_type", f"{field.path} {problem}."))
        else:
            draft.count(f"{field.column} was left empty where {field.path} {problem}")


def _needed(field: Field, series: pl.Series | None, height: int, set_aside: dict[int, tuple[str, str]]) -> None:
    absent = range(height) if series is None else series.is_null().arg_true().to_list()
    for index in absent:
        set_aside.setdefault(index, (f"{field.column}_given", f"{field.path} is absent or empty."))


def seconds_between(start: pl.Expr, end: pl.Expr) -> pl.Expr:
    """Seconds from one instant to another, null where they go backwards."""
    passed = (end - start).dt.total_microseconds() / 1e6
    return pl.when(passed >= 0).then(passed)


def nested(record: Mapping[str, Any], steps: Mapping[str, tuple[str, ...]]) -> dict[str, Any]:
    """The values of a nested record by dotted path, for `Gathered.add`; `steps` are the paths, split."""
    return {path: value for path, names in steps.items() if (value := dig(record, names)) is not None}


def steps_of(paths: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Dotted paths, split once for `nested`."""
    return {path: tuple(path.split(".")) for path in paths}
