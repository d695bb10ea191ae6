"""The figure of any answer: one row a number, its median as a dot, its interval as a line.

What `estimate.plot()` shows. Questions with a figure of their own have it in a file beside this one; this frame asks
nothing of the question but rows, units and draws. Numbers of one unit share an axis; the most frequent unit is drawn.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from divergence.errors import NotIdentifiedError
from divergence.report.figures import theme
from divergence.report.palette import LIGHT
from divergence.report.words import amount, axis_title, plural, scale, sentence
from divergence.shown import ROWS

if TYPE_CHECKING:
    import altair as alt

    from divergence.estimate import Estimate

WIDTH = 520  # px: fits a notebook's column and a phone turned on its side
NAME = 46  # characters of a row's name


def rows(answer: Estimate) -> pl.DataFrame:
    """The identified headline numbers of the most frequent unit, in shown units.

    Columns `name`, `middle`, `lower`, `upper`, `value`, `unit`. Headline numbers name no statistic; where there is none,
    all are taken. A number whose draws say yes or no has its mean as the middle and no line. Raises NotIdentifiedError
    where none is identified.
    """
    frame = answer.to_frame().with_columns(
        yes_or_no=pl.Series(((answer.draws == 0) | (answer.draws == 1)).all(0)),
        name=pl.Series([_name(answer, row) for row in answer.rows.iter_rows(named=True)], dtype=pl.String),
    )
    known = frame.filter(pl.col("median").is_not_null())
    if known["statistic"].null_count():  # the answers themselves; parts and variants name a statistic
        known = known.filter(pl.col("statistic").is_null())
    if not known.height:
        raise NotIdentifiedError(
            f"{answer.question} has no number to draw: {'; '.join(answer.reasons) or 'it has no rows'}."
        )
    unit = known["unit"].mode(maintain_order=True)[0]
    known = known.filter(pl.col("unit") == unit)
    factor = scale(unit)
    limits = [pl.when("yes_or_no").then(pl.col("mean")).otherwise(pl.col(n)).alias(n) for n in ("lower", "upper")]
    known = known.with_columns(*limits, middle=pl.when("yes_or_no").then(pl.col("mean")).otherwise(pl.col("median")))
    texts = [
        amount(row["middle"], unit, _width(row["lower"], row["upper"]), signed=unit == "fraction")
        for row in known.iter_rows(named=True)
    ]
    shown = [(pl.col(n) * factor).alias(n) for n in ("middle", "lower", "upper")]
    return known.with_columns(*shown, value=pl.Series(texts, dtype=pl.String)).select(
        "name", "middle", "lower", "upper", "value", "unit"
    )


def caption(answer: Estimate, drawn: pl.DataFrame) -> str:
    """What stands over the figure: the question, and what of it is not drawn."""
    left, refused = answer.rows.height - min(drawn.height, ROWS), sum(reason is not None for reason in answer.reason)
    parts = [sentence(answer.text)]
    if left - refused > 0:
        parts.append(f"Not drawn: {plural(left - refused, 'more number')}.")
    if refused:
        parts.append(f"Not identified: {plural(refused, 'number')}.")
    return " ".join(parts)


def chart(answer: Estimate) -> alt.LayerChart:
    """The figure. Raises NotIdentifiedError where no number is identified."""
    import altair as alt

    found = rows(answer)
    data = found.head(ROWS)
    order = data["name"].to_list()
    x = alt.X("lower:Q", title=axis_title(found["unit"][0]), axis=alt.Axis(tickCount=6), scale=alt.Scale(zero=False))
    y = alt.Y("name:N", scale=alt.Scale(domain=order), axis=alt.Axis(title=None, labelLimit=320, labelColor=LIGHT["ink"]))
    tooltip = [alt.Tooltip("name:N", title="which"), alt.Tooltip("value:N", title="value")]
    base = alt.Chart(data).encode(y=y, tooltip=tooltip)
    layers = [
        base.mark_rule(strokeWidth=3, strokeCap="round", color=LIGHT["gain"]).encode(x=x, x2=alt.X2("upper:Q")),
        base.mark_point(filled=True, size=60, opacity=1, color=LIGHT["gain"]).encode(x=alt.X("middle:Q")),
    ]
    if data["lower"].min() < 0 < data["upper"].max():  # type: ignore[operator]
        zero = alt.Chart(pl.DataFrame({"zero": [0.0]})).mark_rule(color=LIGHT["neutral"], strokeDash=[2, 3])
        layers.insert(0, zero.encode(x=alt.X("zero:Q")))
    title = alt.TitleParams(caption(answer, found), anchor="start", fontWeight="normal", fontSize=13, limit=WIDTH + 200)
    drawn = theme.finish(alt.layer(*layers), max(60, data.height * theme.row_height(order)), caption(answer, found))
    return drawn.properties(width=WIDTH, title=title)


def _name(answer: Estimate, row: dict) -> str:
    """A row by the coordinates that tell it from others; the whole number by the question's name."""
    pairs = [(name, row[name]) for name in answer.dims if row[name] is not None]
    text = " · ".join(value for _, value in pairs) or answer.question.replace("_", " ")
    return text if len(text) <= NAME else f"{text[: NAME // 2]}…{text[-NAME // 2 + 1 :]}"


def _width(lower: float | None, upper: float | None) -> float:
    """Width of an interval that may lack a limit, for digits."""
    width = (upper if upper is not None else np.nan) - (lower if lower is not None else np.nan)
    return float(width) if np.isfinite(width) and width > 0 else 0.05
