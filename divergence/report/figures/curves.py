"""Curves with their intervals, a line a model and context: what repeats and survival are drawn with."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import polars as pl

from divergence.report.figures import theme
from divergence.report.names import short, spoken
from divergence.report.palette import LIGHT
from divergence.report.words import phrase

if TYPE_CHECKING:
    import altair as alt

MOST = 4  # lines that are drawn: more cannot be told apart
DASHES = [[1, 0], [7, 4], [2, 3], [9, 3, 2, 3]]
SHAPES = ["circle", "square", "triangle-up", "diamond"]
NAME = 36  # characters of a name in the legend, which fits a phone
HEIGHT = 180  # px


def place(row: dict, names: dict[str, str]) -> str:
    """A model and its context as they are spoken."""
    parts = [names[row[key]] for key in ("model", "context") if row.get(key)]
    return " in ".join(parts)


def places(frame: pl.DataFrame) -> list[str]:
    """Model and context of every row as they are spoken; rows of the bench say so where deployment has the same place."""
    names = spoken_places(frame)
    shown = [place(row, names) for row in frame.iter_rows(named=True)]
    several = {name for name, count in Counter(shown).items() if count > 1}
    bench = frame["regime"] == "evaluation"
    return [f"{name} (bench)" if name in several and on else name for name, on in zip(shown, bench, strict=True)]


def spoken_places(frame: pl.DataFrame) -> dict[str, str]:
    """The spoken names of all models and contexts of result rows."""
    return spoken(frame["model"].drop_nulls()) | spoken(frame["context"].drop_nulls())


def chosen(frame: pl.DataFrame) -> pl.DataFrame:
    """The rows of the first `MOST` models and contexts."""
    keys = ["model", "context", "regime"]
    first = frame.select(keys).unique(maintain_order=True).head(MOST)
    return first.join(frame, on=keys, how="inner", nulls_equal=True, maintain_order="left")


def beside(frame: pl.DataFrame) -> str:
    """How many of the lines are drawn, where it is not all."""
    lines = frame.select("model", "context", "regime").n_unique()
    return f"Drawn are {MOST} of {lines:,} lines, by their medians." if lines > MOST else ""


def draw(frame: pl.DataFrame, x: alt.X, x_title: str, y_title: str, description: str) -> alt.LayerChart:
    """Lines over the column `x` of result rows that are probabilities, with their intervals."""
    import altair as alt

    names = spoken_places(frame)
    rows = [row | {"place": place(row, names)} for row in frame.iter_rows(named=True)]
    full = short(list(dict.fromkeys(row["place"] for row in rows)), NAME)
    data = pl.DataFrame(
        [
            {
                "x": row["x"],
                "line": full[row["place"]],
                "value": phrase(row),
                **{n: 100 * row[n] for n in ("median", "lower", "upper")},
            }
            for row in rows
        ]
    )
    lines = data["line"].unique(maintain_order=True).to_list()
    look = [LIGHT[name] for name in ("ink", "muted", "neutral", "floor")][: len(lines)]
    one = len(lines) == 1
    legend = None if one else alt.Legend(title=None, columns=1, symbolStrokeWidth=2, symbolOpacity=1)
    colour = alt.Color("line:N", scale=alt.Scale(domain=lines, range=look), legend=legend)
    dash = alt.StrokeDash("line:N", scale=alt.Scale(domain=lines, range=DASHES[: len(lines)]), legend=legend)
    shape = alt.Shape("line:N", scale=alt.Scale(domain=lines, range=SHAPES[: len(lines)]), legend=legend)
    top = min(100.0, float(data["upper"].to_numpy().max()) * 1.1)

    def y(field: str) -> alt.Y:
        return alt.Y(f"{field}:Q", title=y_title, scale=alt.Scale(domain=[0, top], nice=False), axis=alt.Axis(tickCount=5))

    tooltip = [
        alt.Tooltip("line:N", title="where"),
        alt.Tooltip("x:N", title=x_title),
        alt.Tooltip("value:N", title="median (interval)"),
    ]
    base = alt.Chart(data).encode(x=x, tooltip=tooltip)
    layers = [
        base.mark_rule(strokeWidth=1.6, opacity=0.45).encode(y=y("lower"), y2=alt.Y2("upper:Q"), color=colour),
        base.mark_line(strokeWidth=2).encode(y=y("median"), color=colour, strokeDash=dash),
        base.mark_point(size=60, filled=True, opacity=1).encode(y=y("median"), color=colour, shape=shape),
    ]
    return theme.finish(alt.layer(*layers), HEIGHT, description)
