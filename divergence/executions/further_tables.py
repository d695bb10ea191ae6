"""The second and the third table of a log: further outcomes of the executions, and telemetry scraped in windows.

Their rows are judged as those of the first: one that breaks a rule is set aside with the rule, its file and its row.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import polars as pl

from divergence.configuration import ValueMeaning
from divergence.errors import InputError
from divergence.executions.columns import kept, meant, typed
from divergence.executions.files import Source
from divergence.executions.names import BROKEN, FAILED, ROW
from divergence.executions.rules import Rule, rejected_rows, with_broken
from divergence.executions.schema import TABLES, Column


def _given(column: str) -> Rule:
    return Rule(f"{column}_given", column, f"{column} is missing", pl.col(column).is_not_null())


def _readable(column: str, what: str) -> Rule:
    return Rule(f"{column}_type", column, f"{column} is not {what}", pl.col(FAILED + column).is_null())


RULES = {
    "outcomes": (
        _given("execution_id"),
        _given("metric"),
        _readable("value", "a number"),
        Rule("value_finite", "value", "value is NaN or infinite", pl.col("value").is_finite()),
    ),
    "telemetry": (
        _readable("window_start", "an instant with its zone"),
        _given("window_start"),
        _readable("window_s", "a number"),
        Rule("window_s_positive", "window_s", "window_s is missing or not above 0", pl.col("window_s") > 0),
        _given("metric"),
        _readable("value", "a number"),
        _given("value"),
    ),
}
"""The rules of each table."""


@dataclasses.dataclass(frozen=True)
class FurtherTable:
    """A checked second or third table."""

    frame: pl.LazyFrame
    """Its valid rows."""
    rejected: pl.DataFrame
    """The rows set aside: file, row, rule, sentence, value."""


def read_table(
    name: str,
    sources: list[Source],
    where: Mapping[str, tuple[str, ...]],
    accept: float,
    values: Mapping[str, ValueMeaning] | None = None,
) -> FurtherTable | None:
    """All files of one table, or None. Raises InputError if more than the fraction `accept` of its rows is rejected."""
    if not sources:
        return None
    frames = [_canonical(source, TABLES[name], where) for source in sources]
    frame = pl.concat(frames)
    if name == "outcomes":
        for outcome, meaning in (values or {}).items():
            number, _ = meant("value", "__written", pl.String(), meaning)
            written = pl.coalesce(FAILED + "value", "label", pl.col("value").cast(pl.String)).alias("__written")
            mine = pl.col("metric") == outcome
            frame = frame.with_columns(written).with_columns(
                pl.when(mine).then(number).otherwise("value").alias("value"),
                pl.when(~mine | number.is_null()).then(FAILED + "value").alias(FAILED + "value"),
            )
    rules = RULES[name]
    checked = with_broken(frame, rules)
    rows, broken = checked.select(pl.len(), pl.col(BROKEN).count().alias("broken")).collect(engine="streaming").row(0)
    if broken > accept * rows:
        first = rejected_rows(checked.filter(pl.col(BROKEN).is_not_null()).head(1), rules).row(0, named=True)
        raise InputError(
            f"{broken} of {rows} rows of the table {name} are rejected, accepted are {accept:.1%}; for example row "
            f"{first['row']} of {first['file']}: {first['sentence']}."
        )
    valid = checked.filter(pl.col(BROKEN).is_null()).select(*(column.name for column in TABLES[name]), "file", "row")
    return FurtherTable(valid, rejected_rows(checked, rules))


def metric(outcomes: pl.LazyFrame, name: str) -> pl.LazyFrame:
    """One metric by execution: execution_id, value, scorer. The same judgement written twice is one.

    Raises InputError if an execution has two that differ.
    """
    chosen = outcomes.filter(pl.col("metric") == name).select("execution_id", "value", "scorer").unique(maintain_order=True)
    twice = chosen.group_by("execution_id").len().filter(pl.col("len") > 1).head(1).collect(engine="streaming")
    if twice.height:
        identity = twice["execution_id"][0]
        scorers = chosen.filter(pl.col("execution_id") == identity).collect()["scorer"].drop_nulls().unique().sort()
        raise InputError(
            f"The execution {identity} has the outcome {name} {twice['len'][0]} times (scorers: "
            f"{', '.join(scorers) or 'not logged'}): keep one of them with --where scorer=NAME."
        )
    return chosen


def metrics(outcomes: pl.LazyFrame) -> list[str]:
    """Names of the metrics of an outcomes table."""
    return outcomes.select("metric").unique().collect(engine="streaming")["metric"].sort().to_list()


def _canonical(source: Source, columns: tuple[Column, ...], where: Mapping[str, tuple[str, ...]]) -> pl.LazyFrame:
    names = {name: name for name in source.columns}
    expressions: list[pl.Expr] = []
    for column in columns:
        if column.name in names:
            expressions += typed(column, column.name, source.schema[column.name])
        else:
            nothing = pl.lit(None, pl.String).alias(FAILED + column.name)
            expressions += [pl.lit(None, column.dtype).alias(column.name), nothing]
    place = [pl.lit(source.file, pl.String).alias("file"), pl.col(ROW).cast(pl.Int64).alias("row")]
    return kept(source, names, where).select(*expressions, *place)
