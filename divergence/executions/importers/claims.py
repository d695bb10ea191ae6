"""What a log says about itself, compared with what was read from it.

Most tools write an aggregate beside their rows: an accuracy, a count, a sum of tokens. An importer states it
(`Draft.claim`), and the same aggregate of the imported rows is compared with it. A difference beyond the rounding of
the stated number is a note with both numbers: rows are missing, a denominator differs, or something was misread.

    mean    of a metric of the outcomes, or of a canonical column, over the rows in scope
    sum     the same, summed
    count   of the rows in scope
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from decimal import Decimal

import polars as pl

from divergence.numerics import exact_sum

STATISTICS = ("mean", "sum", "count")
MACHINE = 1e-9
"""Relative difference that two orders of a float sum leave: a million rows at machine precision, with room."""


@dataclasses.dataclass(frozen=True)
class Claim:
    """One aggregate that a log states about itself."""

    metric: str
    """Name of the outcome, or of a canonical column."""
    value: float
    """The number that the log states, in the unit of the metric."""
    scope: Mapping[str, str]
    """Canonical column, or `file` -> its level in the rows that the number is about; empty = all rows."""
    statistic: str = "mean"
    """`mean`, `sum` or `count`."""


def differences(claims: list[Claim], rows: pl.LazyFrame, outcomes: pl.LazyFrame) -> list[str]:
    """A sentence for every claim that the imported rows do not bear out. `rows` have the column `__file`."""
    said = []
    for claim in claims:
        seen, of = observed(claim, rows, outcomes)
        if seen is None:
            said.append(f"{_named(claim)} is {claim.value:.6g} in the log itself, and no imported row carries it.")
        elif not agrees(claim.value, seen):
            said.append(f"{_named(claim)} is {claim.value:.6g} in the log itself, and {seen:.6g} in the {of} rows imported.")
    return said


def observed(claim: Claim, rows: pl.LazyFrame, outcomes: pl.LazyFrame) -> tuple[float | None, int]:
    """The same aggregate of the imported rows and how many rows it is of; None where no row carries the metric."""
    inside = rows.filter(*(pl.col("__file" if name == "file" else name) == level for name, level in claim.scope.items()))
    if claim.statistic == "count":
        height = inside.select(pl.len()).collect(engine="streaming").item()
        return float(height), height
    if claim.metric in rows.collect_schema():
        values = inside.select(pl.col(claim.metric).alias("value"))
    else:
        judged = outcomes.filter(pl.col("metric") == claim.metric)
        values = judged.join(inside.select("execution_id"), on="execution_id", how="semi").select("value")
    found = values.drop_nulls().select(pl.col("value").cast(pl.Float64)).collect(engine="streaming")["value"]
    if not len(found):
        return None, 0
    total = exact_sum(found)
    return (total if claim.statistic == "sum" else total / len(found)), len(found)


def agrees(stated: float, seen: float) -> bool:
    """Do two numbers agree within half a unit of the last digit that the stated one is written with?"""
    exponent = Decimal(repr(float(stated))).as_tuple().exponent
    places = -exponent if isinstance(exponent, int) else 0
    rounding = 0.5 * 10.0**-places if 1 <= places <= 6 else 0.0
    return math.isfinite(seen) and abs(stated - seen) <= max(rounding, MACHINE * max(1.0, abs(stated), abs(seen)))


def _named(claim: Claim) -> str:
    scope = ", ".join(f"{name} {level}" for name, level in claim.scope.items())
    what = "The number of rows" if claim.statistic == "count" else f"The {claim.statistic} of {claim.metric}"
    return f"{what}{f' for {scope}' if scope else ''}"
