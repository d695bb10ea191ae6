"""Serving factors: what each level of a factor does to the level, over models, against the factor's reference."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from divergence.estimate import Estimate
from divergence.report.figures import forest
from divergence.report.names import factor_name, middle, short, wrap
from divergence.report.reading import identified
from divergence.report.words import phrase

if TYPE_CHECKING:
    import altair as alt


def rows(serving_effect: Estimate) -> forest.Forest:
    """Effects over models, factor by factor, the factor with the widest effects first."""
    frame, draws = identified(serving_effect, "factor", "level", "axis")
    frame = frame.with_row_index("was").filter(pl.col("level").is_not_null())
    frame = frame.with_columns(reach=pl.col("median").abs().max().over("factor"))
    frame = frame.sort(["reach", "factor", "median"], descending=[True, False, False])
    names = []
    for (factor,), part in frame.group_by("factor", maintain_order=True):
        shown = short(part["level"])
        for level, axis in part.select("level", "axis").iter_rows():
            name = wrap(shown[level])
            if part.height == 1:  # one level needs no heading
                name = _under(f"{factor_name(_key(factor))} {shown[level]}", axis)
            names.append(f"{_key(factor)}\t{name}")
    full = [
        f"{factor_name(factor)} {level}{f' ({axis})' if axis else ''}"
        for factor, level, axis in frame.select("factor", "level", "axis").iter_rows()
    ]
    return forest.build(frame.drop("was", "reach"), draws[:, frame["was"].to_numpy()], names, full)


def _key(factor: str) -> str:
    """The factor on one line without a tab, which separates it from its level."""
    return " ".join(factor.split())


def _under(name: str, axis: str | None) -> str:
    """The name with the reference on a line of its own."""
    name = middle(name, LONG)
    return f"{wrap(name)}\n{wrap(middle(axis, LONG))}" if axis else wrap(name)


LONG = 44  # characters of a level or a reference: two lines on a phone


def _headings(built: forest.Forest) -> dict[int, str]:
    """The factor and its reference, before the first of its levels, where it has several."""
    headings = {}
    factors = built.frame["factor"].to_list()
    for k, (factor, axis) in enumerate(built.frame.select("factor", "axis").iter_rows()):
        if factors.index(factor) == k and factors.count(factor) > 1:
            headings[k] = _under(factor_name(_key(factor)), axis)
    return headings


def sentence(serving_effect: Estimate) -> str:
    """Which levels lower or raise the outcome, and which most."""
    built = rows(serving_effect)
    text = forest.summary(built, "factor level", "lower{s} the outcome", "raise{s} it")
    if built.frame.height == 1:
        only = built.frame.row(0, named=True)
        return f"{text} It is that of {only['full']}: {phrase(only, signed=True)}."
    return f"{text} {forest.furthest(built, 'The largest effect', built.frame['full'].to_list())}."


def chart(serving_effect: Estimate) -> alt.LayerChart:
    """Forest of the levels under a heading for each factor."""
    built = forest.trimmed(rows(serving_effect))
    return forest.draw(built, sentence(serving_effect), "factor and level", _headings(built))
