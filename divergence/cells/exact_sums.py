"""Sums of floats that do not depend on the order of their terms: files, threads and machines add up to the same bytes.

A value is taken as a whole number of a fixed unit: 2^-120 between 2^-75 and 2^-25, 2^-70 from there to 2^20, 2^-20 to 2^76.
Whole numbers of 128 bits are added: exact, in any order, for up to 2^31 terms of any size. The sum becomes a float once, at
the end. What is rounded is each value, to 5e-13 of itself from a million on and to 3e-14 of itself below. Values from 2^76
(8e22) on and below 2^-75 (3e-23) are added as floats, in the order in which they come; no measure of an execution is
that large or, but for a unit that nobody uses, that small.
"""

from __future__ import annotations

import polars as pl

RANGES = ((" tiny", -75, -25, 120), (" fine", -25, 20, 70), (" coarse", 20, 76, 20))
"""Name of the part, the powers of two from which and up to which values are in it, and how many units make 1, as a power."""
PARTS = (*(name for name, *_ in RANGES), " beyond")


def parts(name: str, value: pl.Expr) -> list[pl.Expr]:
    """The sum of a column of floats as four sums, which may be added to those of other rows; nulls count nothing."""
    size = value.abs()
    sums, whole = [], value == 0
    for part, low, high, unit in RANGES:
        inside = (size >= 2.0**low) & (size < 2.0**high)
        number = (pl.when(inside).then(value).otherwise(0.0) * 2.0**unit).round().cast(pl.Int128)
        sums.append(number.sum().alias(name + part))
        whole |= inside
    beyond = pl.when(whole).then(0.0).otherwise(value)  # NaN is in no range, and stays NaN
    return [*sums, beyond.sum().alias(name + PARTS[-1])]


def total(name: str) -> pl.Expr:
    """The sum whose parts are columns of a frame."""
    found = pl.col(name + PARTS[-1]).cast(pl.Float64)
    for part, _, _, unit in RANGES:
        found = found + pl.col(name + part).cast(pl.Float64) / 2.0**unit
    return found.alias(name)
