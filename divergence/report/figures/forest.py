"""The frame of every forest: one row an effect, its interval thick, the band that holds for all rows thin.

Shape and colour say the same thing twice: a triangle down is an interval below 0, a triangle up one above 0, an open
circle one that contains 0. Long forests show the rows furthest from 0; what is said about them counts them all.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from divergence.estimate import INTERVAL
from divergence.orders import first
from divergence.report.figures import theme
from divergence.report.multiplicity import expected_false, simultaneous
from divergence.report.palette import LIGHT
from divergence.report.silent import LEVEL_MATERIAL
from divergence.report.words import (
    axis_title,
    capital,
    decimal,
    every,
    exact,
    number,
    of_them,
    phrase,
    plural,
    scale,
    span,
    verb,
)

if TYPE_CHECKING:
    import altair as alt

SIGNS = ["below 0", "contains 0", "above 0"]
SHAPES = ["triangle-down", "circle", "triangle-up"]
LOWER_IS_BETTER = ("s", "usd")  # units of which less is better
SHARES = ("fraction", "probability")  # units on the 0..1 scale, where 5 points are what a reader acts on
MOST = 36  # rows of a forest that are drawn


@dataclasses.dataclass(frozen=True)
class Forest:
    """Rows of one forest, in shown order."""

    frame: pl.DataFrame
    """Rows of the results table with columns `name` (shown), `full` (tooltip), `outer_lower`, `outer_upper`, `sign`."""
    unit: str
    """Unit of the effects."""
    draws: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros((0, 0)))
    """Draws of the effects in the same order, shape (D, R); empty where only limits are known."""


def build(frame: pl.DataFrame, draws: np.ndarray, names: list[str], full: list[str]) -> Forest:
    """A forest of result rows (R) with their draws (D, R), names on the axis and in the tooltip, in this order."""
    outer = simultaneous(draws)
    sign = pl.when(pl.col("upper") < 0).then(pl.lit(SIGNS[0])).when(pl.col("lower") > 0).then(pl.lit(SIGNS[2]))
    added = dict(
        name=pl.Series(names, dtype=pl.String),
        full=pl.Series(full, dtype=pl.String),
        outer_lower=pl.Series(outer[:, 0], dtype=pl.Float64),
        outer_upper=pl.Series(outer[:, 1], dtype=pl.Float64),
        sign=sign.otherwise(pl.lit(SIGNS[1])),
    )
    return Forest(frame.with_columns(**added), frame["unit"][0] if frame.height else "fraction", draws)


def trimmed(forest: Forest) -> Forest:
    """The forest, or of a long one the rows furthest from 0, in the same order."""
    if forest.frame.height <= MOST:
        return forest
    order = forest.frame["median"].abs().arg_sort(descending=True).head(MOST).sort()
    return Forest(forest.frame[order], forest.unit, forest.draws[:, order.to_numpy()] if forest.draws.size else forest.draws)


def furthest(forest: Forest, word: str, names: Sequence[str]) -> str:
    """Which row lies furthest from 0, as far as the draws tell, and its number: `The largest effect is b (97%): ...`."""
    found = first(np.abs(forest.draws))
    return f"{found.led(word, names)}: {phrase(forest.frame.row(found.at, named=True), signed=True)}"


def excluding_zero(forest: Forest) -> tuple[int, int]:
    """How many intervals exclude 0, pointwise and held all at once."""
    outer = forest.frame.filter((pl.col("outer_lower") > 0) | (pl.col("outer_upper") < 0)).height
    return forest.frame.filter(pl.col("sign") != SIGNS[1]).height, outer


def multiplicity(forest: Forest, how: str = "The thin lines hold") -> str:
    """The sentence that stands beside a forest: how many claims chance alone would make, and how many survive."""
    rows = forest.frame.height
    if rows < 2:
        return ""
    _, survive = excluding_zero(forest)
    left = f"{of_them(survive)} of them {verb(survive or 1, 'excludes', 'exclude')}"
    left = ("both" if rows == 2 else "all of them") + " exclude" if survive == rows else left
    return (
        f"If nothing differed, about {decimal(expected_false(rows), 1)} of these {number(rows)} intervals would "
        f"exclude 0 by chance. {how} for {every(rows, 'row')} at once with {INTERVAL:.0%}: {left} 0."
    )


def beside(forest: Forest) -> str:
    """All that stands beside a forest: what is drawn, what its marks mean, what many intervals side by side do."""
    rows = forest.frame.height
    parts = [f"Drawn are {MOST} of {rows:,} rows, by the distance of their medians from 0."] if rows > MOST else []
    parts.append(f"Triangle: the {INTERVAL:.0%} interval (thick) excludes 0; circle: it contains 0.")
    if _shaded(trimmed(forest)):
        parts.append(f"Shaded: less than {exact(LEVEL_MATERIAL, 'fraction')}.")
    return " ".join([*parts, multiplicity(forest)]).strip()


def summary(forest: Forest, noun: str, down: str, up: str) -> str:
    """How many rows lie below, above and around 0, in words: `Two contexts lower the level; for one ...`."""
    total = forest.frame.height
    counts = {sign: forest.frame.filter(pl.col("sign") == sign).height for sign in SIGNS}
    parts = [
        f"{every(count, noun) if count == total else plural(count, noun)} {words.format(s='s' if count == 1 else '')}"
        for count, words in ((counts[SIGNS[0]], down), (counts[SIGNS[2]], up))
        if count
    ]
    if not parts:
        return f"For {every(total, noun)} the interval contains 0."
    rest = counts[SIGNS[1]]
    return capital(" and ".join(parts)) + (f"; for {plural(rest, noun)} the interval contains 0." if rest else ".")


def _picture(forest: Forest, headings: dict[int, str]) -> pl.DataFrame:
    """The rows in shown units, with the texts of the tooltip; a heading stands before the row of its number."""
    factor = scale(forest.unit)
    rows: list[dict] = []
    for place, row in enumerate(forest.frame.iter_rows(named=True)):
        if place in headings:
            rows.append({"name": headings[place]})
        rows.append(
            {
                "name": row["name"],
                "full": row["full"],
                "sign": row["sign"],
                "value": phrase(row, signed=True),
                **{n: row[n] * factor for n in ("median", "lower", "upper", "outer_lower", "outer_upper")},
                "together": span(row["outer_lower"], row["outer_upper"], forest.unit),
            }
        )
    return pl.DataFrame(rows, infer_schema_length=None)


def _extent(forest: Forest) -> list[float]:
    """The shown range, in shown units: every line and 0, with a little room."""
    low = min(forest.frame["outer_lower"].to_numpy().min(), 0.0) * scale(forest.unit)
    high = max(forest.frame["outer_upper"].to_numpy().max(), 0.0) * scale(forest.unit)
    room = 0.04 * (high - low) or 1.0
    return [low - room, high + room]


def _shaded(forest: Forest) -> list[float]:
    """The part of the range in which nobody would act; empty where that is all of it, or the unit has no such limit."""
    low, high = _extent(forest)
    reach = LEVEL_MATERIAL * scale(forest.unit)
    if forest.unit not in SHARES or (low >= -reach and high <= reach):
        return []
    return [max(-reach, low), min(reach, high)]


def draw(forest: Forest, description: str, what: str, headings: dict[int, str] | None = None) -> alt.LayerChart:
    """The chart of a (trimmed) forest of `what`, singular; effects that nobody would act on are shaded.

    `headings` are texts by the number of the row that they stand before.
    """
    import altair as alt

    data = _picture(forest, headings or {})
    title, extent = axis_title(forest.unit), _extent(forest)

    def x(field: str) -> alt.X:
        return alt.X(f"{field}:Q", title=title, axis=alt.Axis(tickCount=6), scale=alt.Scale(domain=extent, nice=False))

    tooltip = [
        alt.Tooltip("full:N", title=what),
        alt.Tooltip("value:N", title=f"median ({INTERVAL:.0%} interval)"),
        alt.Tooltip("together:N", title="held all at once"),
    ]
    y = alt.Y("name:N", scale=alt.Scale(domain=data["name"].to_list()), axis=theme.name_axis(bool(headings), data["name"]))
    look = [LIGHT[name] for name in meanings(forest.unit)]
    colour = alt.Color("sign:N", scale=alt.Scale(domain=SIGNS, range=look), legend=None)
    shape = alt.Shape("sign:N", scale=alt.Scale(domain=SIGNS, range=SHAPES), legend=None)
    base = alt.Chart(data.filter(pl.col("median").is_not_null())).encode(y=y, tooltip=tooltip)
    zero = alt.Chart(pl.DataFrame({"zero": [0.0]})).mark_rule(color=LIGHT["neutral"], strokeDash=[2, 3])
    layers = [
        *_band(_shaded(forest), x),
        zero.encode(x=x("zero")),
        base.mark_rule(strokeWidth=1).encode(x=x("outer_lower"), x2=alt.X2("outer_upper:Q"), color=colour),
        base.mark_rule(strokeWidth=3.5, strokeCap="round").encode(x=x("lower"), x2=alt.X2("upper:Q"), color=colour),
        base.mark_point(size=62, opacity=1, strokeWidth=1.8, fill=LIGHT["paper"]).encode(
            x=x("median"), color=colour, shape=shape
        ),
    ]
    height, wide = (data.height * row(data["name"]) for row in (theme.row_height, theme.wide_row))
    return theme.finish(alt.layer(*layers), height, description, wide)


def meanings(unit: str) -> tuple[str, str, str]:
    """The colours of less, the same and more: worse is worse, whether level, time or money; of others none is better."""
    if unit in SHARES:
        return "loss", "neutral", "gain"
    return ("gain", "neutral", "loss") if unit in LOWER_IS_BETTER else ("ink", "neutral", "ink")


def _band(limits: list[float], x: Callable[[str], alt.X]) -> list[alt.Chart]:
    """The band of effects that nobody would act on, where there is one."""
    import altair as alt

    if not limits:
        return []
    data = pl.DataFrame({"low": limits[:1], "high": limits[1:]})
    return [alt.Chart(data).mark_rect(color=LIGHT["band"]).encode(x=x("low"), x2=alt.X2("high:Q"))]
