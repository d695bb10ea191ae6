"""From the raw columns of one file to canonical columns of canonical types.

A value that cannot be typed becomes null, and its text is kept beside it in a column named `FAILED + name`, so that
what happens to it is decided once, by the rules and by the check of optional columns, and never silently.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping

import polars as pl

from divergence.configuration import Configuration, ValueMeaning
from divergence.executions.files import Source
from divergence.executions.names import FAILED, FILE_NUMBER, GIVEN_REGIME, GROUP, ROW, TIMES
from divergence.executions.random_groups import is_kept
from divergence.executions.schema import COLUMNS, Column
from divergence.plain_text import VISIBLE

VERBATIM = ("answer", "gold")  # an empty answer is an answer


def renamed(source: Source, configuration: Configuration) -> dict[str, str]:
    """Canonical (or factor) name -> raw column of this file, after `[columns]`."""
    mapped = {name: raw for name, raw in configuration.columns.items() if raw in source.columns}
    return {**{name: name for name in source.columns}, **mapped}


def as_label(name: str, dtype: pl.DataType) -> pl.Expr:
    """A scalar column as text; whole numbers stored as floats or decimals lose their `.0`, so that 8, 8.0 and 8.00 are one
    level. NaN, as data frames write a missing number, is missing."""
    column = pl.col(name)
    if dtype.is_float():
        whole = column.cast(pl.Int64, strict=False)
        text = pl.when(whole.cast(dtype) == column).then(whole.cast(pl.String)).otherwise(column.cast(pl.String))
        return pl.when(column.is_not_nan()).then(text)
    if dtype.is_decimal():
        return column.cast(pl.String).str.replace(r"\.0+$", "")
    return column if dtype == pl.String else column.cast(pl.String)


def is_no_label(dtype: pl.DataType) -> bool:
    """Has a value of this type no text of its own, so that none of them can be typed as a label?"""
    return dtype.is_nested() or dtype in (pl.Binary, pl.Object)


def _not_blank(text: pl.Expr) -> pl.Expr:
    """A label, null where it is blank: text formats and data frames write a missing label as an empty text."""
    begun = (text >= "!") & (text < "\x7f")  # by a letter or sign of ASCII, as nearly all are: cheaper to see
    return pl.when(begun | pl.when(~begun).then(text).str.contains(VISIBLE)).then(text)


def _shown(name: str, dtype: pl.DataType) -> pl.Expr:
    """A short text of any value, for messages."""
    if is_no_label(dtype):
        return pl.when(pl.col(name).is_not_null()).then(pl.lit(f"a value of type {dtype}"))
    return pl.col(name).cast(pl.String, strict=False)


def _number(name: str, dtype: pl.DataType, column: Column) -> pl.Expr:
    if dtype == pl.String:
        plain = pl.col(name).cast(pl.Float64, strict=False)
        text = pl.when(plain.is_null()).then(pl.col(name)).str.strip_chars()  # what costs more is asked of the rest alone
        number = text.cast(pl.Float64, strict=False)
        if column.name == "score":  # what was right or wrong is often logged as a truth value
            lower = text.str.to_lowercase()
            percent = text.str.strip_suffix("%").str.strip_chars().cast(pl.Float64, strict=False) / 100
            number = pl.when(text.str.ends_with("%")).then(percent).otherwise(number)
            number = pl.when(lower == "true").then(1.0).when(lower == "false").then(0.0).otherwise(number)
        return pl.coalesce(plain, number)
    if dtype == pl.Duration and column.unit == "s":
        return pl.col(name).dt.total_microseconds() / 1e6
    if dtype.is_numeric() or dtype == pl.Boolean:
        return pl.col(name).cast(pl.Float64, strict=False)
    return pl.lit(None, pl.Float64)


def _whole_number(name: str, dtype: pl.DataType) -> pl.Expr:
    if dtype.is_integer():
        return pl.col(name).cast(pl.Int64, strict=False)
    if dtype == pl.String:
        plain = pl.col(name).cast(pl.Int64, strict=False)
        text = pl.when(plain.is_null()).then(pl.col(name)).str.strip_chars()
        number = _if_whole(text.cast(pl.Float64, strict=False))
        return pl.coalesce(plain, text.cast(pl.Int64, strict=False), number)
    if dtype.is_numeric():
        return _if_whole(pl.col(name).cast(pl.Float64, strict=False))
    return pl.lit(None, pl.Int64)


def _if_whole(number: pl.Expr) -> pl.Expr:
    whole = number.cast(pl.Int64, strict=False)
    return pl.when(whole.cast(pl.Float64) == number).then(whole)


def _instant(name: str, dtype: pl.DataType) -> pl.Expr:
    """A UTC instant; what carries no zone is not an instant."""
    if isinstance(dtype, pl.Datetime) and dtype.time_zone is not None:
        return pl.col(name).dt.convert_time_zone("UTC").dt.cast_time_unit("us")
    if dtype == pl.String:
        # A database writes the zone as hours alone, `2025-12-10 12:00:00+00`, and a person writes a space before it.
        written = pl.col(name).str.strip_chars().str.replace(r"\s*([+-]\d{2})$", "${1}:00").str.replace(r"\s*UTC$", "Z")
        return written.str.to_datetime("%+", time_unit="us", time_zone="UTC", strict=False)
    return pl.lit(None, pl.Datetime("us", "UTC"))


def _vector(name: str, dtype: pl.DataType) -> pl.Expr:
    if isinstance(dtype, (pl.List, pl.Array)) and dtype.inner.is_numeric():
        return pl.col(name).cast(pl.List(pl.Float32), strict=False)
    return pl.lit(None, pl.List(pl.Float32))


def typed(column: Column, raw: str, dtype: pl.DataType) -> list[pl.Expr]:
    """The canonical column, and beside it the text of the values that could not be typed."""
    value = _value(column, raw, dtype)
    return [value.alias(column.name), _failed(column, raw, dtype, value)]


def _typed_once(frame: pl.LazyFrame, column: Column, raw: str, dtype: pl.DataType) -> tuple[pl.LazyFrame, list[pl.Expr]]:
    """The same, and the frame that they are selected from: what is parsed is parsed once, and not in both."""
    if column.dtype == pl.String:
        return frame, typed(column, raw, dtype)
    value = pl.col(f"__typed_{column.name}")
    frame = frame.with_columns(_value(column, raw, dtype).alias(value.meta.output_name()))
    return frame, [value.alias(column.name), _failed(column, raw, dtype, value)]


def _value(column: Column, raw: str, dtype: pl.DataType) -> pl.Expr:
    """A raw column in the type of a canonical one, null where it cannot be."""
    if column.dtype == pl.String:
        if is_no_label(dtype):
            return pl.lit(None, pl.String)
        return as_label(raw, dtype) if column.name in VERBATIM else _not_blank(as_label(raw, dtype))
    if column.dtype == pl.Float64:
        value = _number(raw, dtype, column)
    elif column.dtype == pl.Int64:
        value = _whole_number(raw, dtype)
    elif column.dtype == pl.Datetime:
        value = _instant(raw, dtype)
    else:
        value = _vector(raw, dtype)
    return value.cast(column.dtype)


def _failed(column: Column, raw: str, dtype: pl.DataType, value: pl.Expr) -> pl.Expr:
    """The text of the raw values that are there, and of which nothing came."""
    if column.dtype == pl.String and not is_no_label(dtype):
        return pl.lit(None, pl.String).alias(FAILED + column.name)
    if dtype == pl.String and column.dtype != pl.String:
        left = pl.when(value.is_null()).then(pl.col(raw))
        return pl.when(left.str.strip_chars() != "").then(left).alias(FAILED + column.name)
    missing = pl.col(raw).is_null()
    if dtype.is_float() and column.dtype == pl.Int64:
        missing |= pl.col(raw).is_nan()  # how other libraries write a missing whole number
    failed = pl.when(value.is_null() & ~missing).then(_shown(raw, dtype))
    return failed.cast(pl.String).alias(FAILED + column.name)


def graded(name: str, raw: str, dtype: pl.DataType, grades: tuple[str, ...]) -> list[pl.Expr]:
    """The place of each value among the grades, as a number from 0, and beside it the text of what is none of them."""
    label = as_label(raw, dtype)
    label = label.str.strip_chars() if dtype == pl.String else label
    places = {grade: float(place) for place, grade in enumerate(grades)}
    place = label.replace_strict(places, default=None, return_dtype=pl.Float64)
    given = label.is_not_null() & (label != "")
    given = given & pl.col(raw).is_not_nan() if dtype.is_float() else given
    return [place.alias(name), pl.when(place.is_null() & given).then(label).alias(FAILED + name)]


def meant(name: str, raw: str, dtype: pl.DataType, meaning: ValueMeaning) -> list[pl.Expr]:
    """The numbers that the levels of a column mean, and beside them the text of what means nothing.

    A level that is a number is met by every way to write it. A declared scale is applied later, by `scaled`.
    """
    label = as_label(raw, dtype).str.strip_chars()
    number = written = _number(raw, dtype, COLUMNS["score"])
    for level, value in meaning.levels.items():
        met = written == float(level) if _is_number(level) else label == level
        number = pl.when(met).then(pl.lit(float(value))).otherwise(number)
    failed = pl.when(number.is_null() & label.is_not_null() & (label != "")).then(label)
    return [number.cast(pl.Float64).alias(name), failed.alias(FAILED + name)]


def scaled(name: str, meaning: ValueMeaning, regimes: Iterable[str]) -> pl.Expr:
    """A column on a declared scale as 0 to 1, in the regimes of which it is known to be on that scale."""
    assert meaning.scale is not None
    low, high = meaning.scale
    value = (pl.col(name) - low) / (high - low)
    return pl.when(pl.col("regime").is_in(list(regimes))).then(value).otherwise(pl.col(name)).alias(name)


def canonical(
    source: Source,
    number: int,
    configuration: Configuration,
    extra: dict[str, Column],
    where: Mapping[str, tuple[str, ...]],
) -> pl.LazyFrame:
    """One file as canonical columns: those that it has, the constants, its regime, its name and row numbers.

    `extra` are columns beyond the schema that the configuration asks for (factors, an outcome of another name);
    `where` are the conditions on the rows that concern this table.
    """
    names = renamed(source, configuration)
    frame = kept(source, names, where)
    schema = source.schema
    expressions: list[pl.Expr] = []
    for column in {**COLUMNS, **extra}.values():
        if column.name in names and column.name == configuration.outcome and configuration.grades:
            expressions += graded(column.name, names[column.name], schema[names[column.name]], configuration.grades)
        elif column.name in names and column.name in configuration.values:
            meaning = configuration.values[column.name]
            expressions += meant(column.name, names[column.name], schema[names[column.name]], meaning)
        elif column.name in names:
            frame, made = _typed_once(frame, column, names[column.name], schema[names[column.name]])
            expressions += made
        elif column.name in configuration.constants:
            frame = frame.with_columns(pl.lit(configuration.constants[column.name]).alias(f"__constant_{column.name}"))
            expressions += typed(column, f"__constant_{column.name}", pl.String())
    if configuration.regime and configuration.regime.column in source.columns and source.regime is None:
        expressions = [e for e in expressions if e.meta.output_name() not in ("regime", FAILED + "regime")]
        expressions.append(_regime_by_level(configuration, schema[configuration.regime.column]))
    elif source.regime and "regime" not in names:
        expressions.append(pl.lit(source.regime).alias("regime"))
    if configuration.models:
        expressions = [_known_models(e, configuration) if e.meta.output_name() == "model" else e for e in expressions]
    return frame.select(
        *expressions,
        pl.col(FAILED + "record") if FAILED + "record" in schema else pl.lit(None, pl.String).alias(FAILED + "record"),
        pl.lit(source.regime, pl.String).alias(GIVEN_REGIME),
        pl.lit(number, pl.UInt32).alias(FILE_NUMBER),
        pl.lit(source.file, pl.String).alias("file"),
        pl.col(ROW).cast(pl.Int64).alias("row"),
        *(pl.col(name) for name in (TIMES, GROUP) if name in schema),
    )


def _known_models(name: pl.Expr, configuration: Configuration) -> pl.Expr:
    """The model's name, as [models] declares it where it does."""
    return _not_blank(name.replace(dict(configuration.models))).alias("model")


def sampled(source: Source, configuration: Configuration, clusters: tuple[str, ...], every: int) -> Source:
    """The file with the rows of one in `every` clusters, which are chosen before anything else is read of a row."""
    names, made = renamed(source, configuration), configuration.constants
    texts = [
        typed(COLUMNS[name], names[name], source.schema[names[name]])[0] if name in names else pl.lit(made[name])
        for name in clusters
        if name in names or name in made
    ]
    keep = is_kept(texts, every) if texts else pl.lit(False)
    return dataclasses.replace(source, frame=source.frame.filter(keep))


def _regime_by_level(configuration: Configuration, dtype: pl.DataType) -> pl.Expr:
    rule = configuration.regime
    assert rule is not None
    level = as_label(rule.column, dtype)
    return (
        pl.when(level.is_in(list(rule.evaluation)))
        .then(pl.lit("evaluation"))
        .when(level.is_not_null())
        .then(pl.lit("deployment"))
        .alias("regime")
    )


def kept(source: Source, names: dict[str, str], where: Mapping[str, tuple[str, ...]]) -> pl.LazyFrame:
    """The rows that `[where]` keeps; a file without the column has none of them."""
    frame = source.frame
    for name, levels in where.items():
        raw = name if name in source.columns else names.get(name)
        if raw is None:
            return frame.filter(pl.lit(False))
        dtype = source.schema[raw]
        keep = as_label(raw, dtype).is_in(list(levels))
        if dtype.is_numeric():
            numbers = [float(level) for level in levels if _is_number(level)]
            keep |= pl.col(raw).cast(pl.Float64).is_in(numbers)
        frame = frame.filter(keep)
    return frame


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
