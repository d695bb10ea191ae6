"""Everything that reading must know about the rows, in one streaming pass: broken rules, untypable values, the
values of the outcome; and the combinations of factor levels. Counts only; no row is kept in memory.
"""

from __future__ import annotations

import dataclasses

import polars as pl

from divergence.executions.names import BROKEN, FAILED, TIMES
from divergence.executions.quoted import quoted_text
from divergence.executions.rules import NEEDED, Rule
from divergence.executions.schema import LARGEST, REGIMES, SMALLEST, Column

EVERY, NEVER = pl.lit(True), pl.lit(False)  # conditions that need not be asked of each row


@dataclasses.dataclass(frozen=True)
class ColumnCount:
    """What one column of the log holds."""

    values: int
    """Values present."""
    failed: int
    """Values that could not be typed."""
    example: str | None
    """One of them."""
    outside: int
    """Values outside the range of the schema, or infinite."""
    not_numbers: int
    """NaN values of an optional column, which are read as missing."""
    negative: int
    """Values below 0 of a duration or a cost."""
    zero: int
    """Values of a cost that are 0."""


@dataclasses.dataclass(frozen=True)
class OutcomeCount:
    """What the outcome's values are, among the rows that keep every rule."""

    values: int
    """Values present."""
    zero_or_one: int
    """Exactly 0 or exactly 1."""
    between: int
    """Strictly between 0 and 1."""
    without_trials: int
    """Strictly between 0 and 1, with no `score_n` above 1."""
    several_trials: int
    """With a `score_n` above 1."""
    positive: int
    """Above 0 and finite."""
    above_one: int
    """Above 1 and finite."""
    zero: int
    """Exactly 0."""
    negative: int
    """Below 0 and finite."""


@dataclasses.dataclass(frozen=True)
class Profile:
    """The counts of a log."""

    rows: int
    """All rows."""
    broken: dict[str, int]
    """Rows set aside, by the first rule that each breaks (rules that nobody breaks left out)."""
    regimes: dict[str, int]
    """Valid rows by regime."""
    columns: dict[str, ColumnCount]
    """By column, over all rows."""
    levels: dict[str, tuple[int, int, int]]
    """By factor, over valid rows: distinct levels in evaluation and in deployment (a missing one counts as a level),
    and distinct levels that are present in either."""
    outcome: OutcomeCount
    """The outcome's values."""


def profile(
    frame: pl.LazyFrame,
    columns: dict[str, Column],
    factors: list[str],
    outcome: str,
    rules: tuple[Rule, ...],
    apart: dict[str, Column] | None = None,
    rows: pl.LazyFrame | None = None,
) -> Profile:
    """One streaming pass over a frame that comes from `with_broken`: rows, or combinations with their `TIMES`.

    Columns that combinations do not tell apart are in `apart`, and looked at in the `rows` themselves.
    """
    valid = pl.col(BROKEN).is_null()
    ask: dict[str, pl.Expr] = {"rows": EVERY}
    for place, rule in enumerate(rules):
        ask[f"broken {rule.name}"] = pl.col(BROKEN) == place
    for regime in REGIMES:
        ask[f"regime {regime}"] = valid & (pl.col("regime") == regime)
    ask |= {f"outcome {name}": condition for name, condition in _outcome(pl.col(outcome), valid).items()}
    for column in columns.values():
        ask |= _column(column)
    plans = [_counts(frame, ask, columns), *([_combinations(frame.filter(valid), factors)] if factors else [])]
    found = pl.collect_all(plans, engine="streaming")  # together, as they share what is read and typed
    seen = found[0].row(0, named=True)
    if apart:
        more = _counts(
            frame if rows is None else rows,
            {name: e for column in apart.values() for name, e in _column(column).items()},
            apart,
        ).collect(engine="streaming")
        seen |= more.row(0, named=True)
        columns = columns | apart
    return Profile(
        rows=seen["rows"],
        broken={rule.name: seen[f"broken {rule.name}"] for rule in rules if seen[f"broken {rule.name}"]},
        regimes={regime: seen[f"regime {regime}"] for regime in REGIMES},
        columns={
            name: ColumnCount(**{f.name: seen[f"column {name} {f.name}"] for f in dataclasses.fields(ColumnCount)})
            for name in columns
        },
        levels=_levels(found[1], factors) if factors else {},
        outcome=OutcomeCount(**{f.name: seen[f"outcome {f.name}"] for f in dataclasses.fields(OutcomeCount)}),
    )


def _counts(frame: pl.LazyFrame, conditions: dict[str, pl.Expr], columns: dict[str, Column]) -> pl.LazyFrame:
    """One row: how many rows meet each condition, and an example of the values of each column that could not be typed."""
    if TIMES in frame.collect_schema():
        counted = {name: pl.col(TIMES).filter(condition).sum() for name, condition in conditions.items()}
    else:
        simple = {id(EVERY): pl.len(), id(NEVER): pl.lit(0, pl.UInt32)}
        counted = {name: simple[id(c)] if id(c) in simple else c.sum() for name, c in conditions.items()}
    examples = {f"column {name} example": quoted_text(pl.col(FAILED + name).first(ignore_nulls=True)) for name in columns}
    return frame.select(**counted, **examples)


def _combinations(valid: pl.LazyFrame, factors: list[str]) -> pl.LazyFrame:
    """The combinations of factor levels. One group-by over them streams; distinct counts over filters would not."""
    return valid.group_by("regime", *factors).agg()


def _levels(combinations: pl.DataFrame, factors: list[str]) -> dict[str, tuple[int, int, int]]:
    """Levels of every factor."""
    found = {}
    for factor in factors:
        in_regime = [combinations.filter(pl.col("regime") == regime)[factor].n_unique() for regime in REGIMES]
        found[factor] = (*in_regime, combinations[factor].drop_nulls().n_unique())
    return found


def _column(column: Column) -> dict[str, pl.Expr]:
    """Conditions on one column's values."""
    value, failed = pl.col(column.name), pl.col(FAILED + column.name)
    outside, not_numbers = NEVER, NEVER
    negative = value < 0 if column.unit in ("s", "USD") else NEVER
    zero = value == 0 if column.unit == "USD" else NEVER
    if column.name not in NEEDED:
        if column.dtype == pl.Float64:
            outside, not_numbers = value.is_infinite(), value.is_nan()
        if column.minimum is not None:
            below = value < column.minimum
            outside = below if outside is NEVER else outside | below
        if column.maximum is not None:  # NaN compares as the largest number, and is counted apart
            above = (value > column.maximum) & value.is_finite()
            outside = above if outside is NEVER else outside | above
    counts = {"values": value.is_not_null(), "failed": failed.is_not_null(), "outside": outside, "not_numbers": not_numbers}
    counts |= {"negative": negative, "zero": zero}
    return {f"column {column.name} {name}": condition for name, condition in counts.items()}


def outcome_count(frame: pl.LazyFrame, outcome: str) -> OutcomeCount:
    """What the values of one more outcome are, in one streaming pass over a frame that comes from `with_broken`."""
    counts = _counts(frame, _outcome(pl.col(outcome), pl.col(BROKEN).is_null()), {})
    return OutcomeCount(**counts.collect(engine="streaming").row(0, named=True))


def _outcome(value: pl.Expr, valid: pl.Expr) -> dict[str, pl.Expr]:
    several = (pl.col("score_n") > 1).fill_null(False)
    between = valid & (value > 0) & (value < 1)
    finite = valid & value.is_finite()
    return {
        "values": valid & value.is_not_null(),
        "zero_or_one": valid & ((value == 0) | (value == 1)),
        "between": between,
        "without_trials": between & ~several,
        "several_trials": valid & value.is_not_null() & several,
        "positive": finite & value.is_between(SMALLEST, LARGEST),
        "above_one": finite & (value > 1),
        "zero": valid & (value == 0),
        "negative": finite & (value < 0),
    }
