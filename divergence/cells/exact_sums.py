"""Sums of floats that do not depend on the order of their terms: files, threads and machines add up to the same bytes.

A value is taken as a whole number of a fixed unit, 2^-70 below 2^20 and 2^-20 from there to 2^76, and whole numbers of 128
bits are added: exact, in any order, for up to 2^31 terms of any size. The sum becomes a float once, at the end. What is
rounded is each value, to 8e-22 below a million and to 5e-13 of itself above. Values from 2^76 (8e22) on are added as
floats, in the order in which they come; no measure of an execution is that large.
"""

from __future__ import annotations

import polars as pl

FINE, COARSE = 2.0**70, 2.0**20  # units a whole number
SMALL, LARGE = 2.0**20, 2.0**76  # where the coarse unit begins, and where whole numbers end
PARTS = (" fine", " coarse", " beyond")


def parts(name: str, value: pl.Expr) -> list[pl.Expr]:
    """The sum of a column of floats as three sums, which may be added to those of other rows; nulls count nothing."""
    size = value.abs()
    fine = pl.when(size < SMALL).then(value).otherwise(0.0)
    coarse = pl.when((size >= SMALL) & (size < LARGE)).then(value).otherwise(0.0)
    beyond = pl.when(size >= LARGE).then(value).otherwise(0.0)  # NaN is above everything, and stays NaN
    sums = (_whole(fine, FINE).sum(), _whole(coarse, COARSE).sum(), beyond.sum())
    return [each.alias(name + part) for each, part in zip(sums, PARTS, strict=True)]


def total(name: str) -> pl.Expr:
    """The sum whose three parts are columns of a frame."""
    fine, coarse, beyond = (pl.col(name + part).cast(pl.Float64) for part in PARTS)
    return (fine / FINE + coarse / COARSE + beyond).alias(name)


def _whole(value: pl.Expr, unit: float) -> pl.Expr:
    return (value * unit).round().cast(pl.Int128)
