"""What changed since an earlier report, as data: the page tells it, and computes none of it."""

from __future__ import annotations

import dataclasses

import polars as pl


@dataclasses.dataclass(frozen=True)
class Changes:
    """Two reports side by side."""

    name: str
    """The earlier report's folder."""
    rows: pl.DataFrame
    """One number a row that both reports hold: `question`, `statistic`, `model`, `context`, `outcome`, `unit`; `before`,
    `before_lower`, `before_upper`, `now`, `now_lower`, `now_upper`; `median`, `lower`, `upper` of the change, and
    `outer_lower`, `outer_upper`, which hold for all rows at once. All in the unit of the results table."""
    facts: tuple[str, ...]
    """What differs between the two runs beside the numbers, a sentence each: rows, models, declarations, versions."""
    same_data: bool = False
    """Were both made from the same bytes?"""
