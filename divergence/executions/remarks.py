"""What reading saw in the rows that a reader should know: notes beside the answers, cautions that the audit tells first.

A combination of model and context whose every cost is 0 is read as not metered (`zero_cost`). Where some are above 0 nobody
knows, and it is said: if the zeros were not metered, the mean cost is too low by their share.
"""

from __future__ import annotations

import polars as pl

from divergence.configuration import Configuration
from divergence.executions.names import BROKEN
from divergence.executions.outcome import without_place
from divergence.executions.profile import Profile
from divergence.executions.schema import COLUMNS

MOSTLY = 0.5  # share of zeros from which on they may make the mean half of what it was
ROWS_MIN = 20  # metered rows below which a share says little


def notes(seen: Profile, unused: dict[str, str]) -> tuple[str, ...]:
    """Missing numbers that were written as NaN."""
    return tuple(
        f"{name}: {count.not_numbers} NaN values are read as missing."
        for name, count in seen.columns.items()
        if count.not_numbers and name not in unused
    )


def cautions(seen: Profile, configuration: Configuration, kind: str, frame: pl.LazyFrame) -> tuple[str, ...]:
    """Values of the outcome without a place on its scale, durations below 0, costs of which most are 0.

    `frame`: all rows, those that broke a rule too.
    """
    told = [without_place(configuration.outcome, kind, seen.outcome)] + [
        f"{count.negative:,} of {count.values:,} values of {name} are below 0, and no duration is: they are read as missing."
        for name, count in seen.columns.items()
        if name != configuration.outcome and name in COLUMNS and COLUMNS[name].unit == "s" and count.negative
    ]
    if "cost_usd" in seen.columns and seen.columns["cost_usd"].zero and configuration.zero_cost != "free":
        told += _mostly_free(frame.filter(pl.col(BROKEN).is_null()))
    return tuple(sentence for sentence in told if sentence)


def _mostly_free(frame: pl.LazyFrame) -> tuple[str, ...]:
    """A sentence on the combination with the most zeros among its costs, beside what others have; none where none has many.

    `frame`: the valid rows, with `model`, `context`, `regime` and `cost_usd`.
    """
    cost = pl.col("cost_usd")
    counts = frame.group_by("regime", "model", "context").agg(rows=cost.count(), zeros=(cost == 0).sum())
    known = (
        counts.collect(engine="streaming").filter(pl.col("rows") > 0).with_columns(share=pl.col("zeros") / pl.col("rows"))
    )
    many = known.filter(pl.col("rows") >= ROWS_MIN, pl.col("share") >= MOSTLY, pl.col("share") < 1)
    if not many.height:
        return ()
    row = many.sort("share", "rows", "model", "context", descending=[True, True, False, False]).row(0, named=True)
    rows, zeros = known["rows"].sum() - row["rows"], known["zeros"].sum() - row["zeros"]
    others = f", of all others {zeros / rows:.0%}" if rows else ""
    where, times = f"{row['model']} in {row['context']} ({row['regime']})", 1 / (1 - row["share"])
    return (
        f"Of the {row['rows']:,} costs of {where} {row['share']:.1%} are 0{others}: if they were not metered, its mean cost "
        f'is {times:.0f} times as large. Leave such costs empty, or declare `zero_cost = "free"`.',
    )
