"""In which regimes is an outcome on its declared scale? A bench scored 0 or 1 may stand beside stars of one to five.

Values outside 0 to 1 are on the scale, values outside the scale are not. What is on both is left as it is, unless the scale
has no 0 and means another number by it: stars that are all 1 are the worst there are, and the best as a share. They are
stars where no other regime can be meant by the declaration; where one is, nobody knows, and it is refused. A scale within 0
to 1, as that of shares of failure (1 to 0), holds everywhere.
"""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from divergence.configuration import ValueMeaning
from divergence.errors import InputError


def regimes_on_scale(name: str, meaning: ValueMeaning, frame: pl.LazyFrame) -> tuple[str, ...]:
    """The regimes of the rows of `frame` whose values of `name` are on the scale of `meaning`, in order of their names."""
    assert meaning.scale is not None
    low, high = meaning.scale
    seen = (
        frame.filter(pl.col(name).is_not_null() & pl.col("regime").is_not_null())
        .group_by("regime")
        .agg(least=pl.col(name).min(), most=pl.col(name).max(), rows=pl.len())
        .collect(engine="streaming")
        .sort("regime")
    )
    if _within(meaning.scale):  # as of shares of failure: it can mean nothing else
        return tuple(seen["regime"])
    on, either = [], []
    for regime, least, most, rows in seen.iter_rows():
        if least < 0 or most > 1:
            on.append(regime)
        elif least >= min(low, high) > 0 and any((value - low) / (high - low) != value for value in (least, most)):
            either.append((regime, least, most, rows))
    if on and either:
        regime, least, most, rows = either[0]
        told = f"{least:g} in all" if least == most else f"between {least:g} and {most:g} in all"
        raise InputError(
            f"{name} is {told} {rows:,} {regime} rows: on the declared scale from {low:g} to {high:g}, as the {on[0]} rows "
            f"are, or as a share of 1? Read them by themselves: --where regime={regime}, without the scale for shares."
        )
    return tuple(sorted([*on, *(regime for regime, *_ in either)]))


def scale_notes(on_scale: Mapping[str, tuple[str, ...]], values: Mapping[str, ValueMeaning]) -> list[str]:
    """What was done to the outcomes that have a declared scale, in the regimes that are on it."""
    said = []
    for name, regimes in on_scale.items():
        scale = values[name].scale
        left = "" if scale is None or _within(scale) else "; where it lies within 0 to 1 already it is left as it is"
        said.append(f"{name} is read on its declared scale in {' and '.join(regimes) or 'no'} rows{left}.")
    return said


def _within(scale: tuple[float, float]) -> bool:
    """Do both ends lie between 0 and 1?"""
    return min(scale) >= 0 and max(scale) <= 1
