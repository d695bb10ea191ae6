"""Effect of every context on every model, as a map: contexts down, models across, the change in each cell."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING

import polars as pl

from divergence.estimate import INTERVAL, Estimate
from divergence.report.figures import forest, theme
from divergence.report.names import short, spoken, wrap
from divergence.report.palette import LIGHT
from divergence.report.reading import identified
from divergence.report.words import capital, decimal, number, of_them, phrase, plural, scale, span, verb

if TYPE_CHECKING:
    import altair as alt

MODEL, SLANTED = 24, 17  # characters of a model's name across the top, and on a phone, where it is slanted
TOP_LINE = 12  # characters of one line of it
COLUMN = 78  # px, a column that is narrower has its name slanted
MODELS, CONTEXTS = 12, 30  # columns and rows that are drawn: those that move most


def rows(context_effect: Estimate) -> forest.Forest:
    """The effect of every context on every model, by context (the lowest mean first) and model."""
    frame, draws = identified(context_effect, "model")
    frame = frame.with_row_index("was").filter(pl.col("model").is_not_null() & pl.col("context").is_not_null())
    over = pl.col("median").mean().over("context").alias("over")
    frame = frame.with_columns(over).sort(["over", "context", "model"])
    names = short(context_effect.rows["context"].drop_nulls()) if "context" in context_effect.rows.columns else {}
    shown = [wrap(names[context]) for context in frame["context"]]
    built = forest.build(frame, draws[:, frame["was"].to_numpy()], shown, frame["context"].to_list())
    return dataclasses.replace(built, frame=built.frame.drop("was", "over"))


def _drawn(frame: pl.DataFrame) -> pl.DataFrame:
    """The models and contexts that move most, where there are more than a map can hold."""
    for column, most in (("model", MODELS), ("context", CONTEXTS)):
        reach = frame.group_by(column, maintain_order=True).agg(pl.col("median").abs().mean())
        kept = reach.sort("median", descending=True, maintain_order=True).head(most)[column]
        frame = frame.filter(pl.col(column).is_in(kept.to_list()))
    return frame


def beside(built: forest.Forest) -> str:
    """What stands beside the map: what is left out, and how many claims chance alone would make."""
    shown = _drawn(built.frame)
    left_out = shown.height < built.frame.height
    counts = [f"{shown[column].n_unique()} {column}s" for column in ("model", "context")]
    drawn = f"Drawn are {' and '.join(counts)}, by their mean movement. "
    how = "Bold numbers are those whose band excludes 0 when it must hold"
    return (drawn if left_out else "") + forest.multiplicity(built, how)


def sentence(context_effect: Estimate) -> str:
    """The cell furthest from 0, and how many cells stand out when all are held at once."""
    built = rows(context_effect)
    frame, names = built.frame, spoken(context_effect.rows["context"].drop_nulls())
    models = spoken(frame["model"])
    cells = [f"{models[m]} in {names[c]}" for m, c in frame.select("model", "context").iter_rows()]
    pointwise, together = forest.excluding_zero(built)
    return (
        f"Of {number(frame.height)} changes {forest.furthest(built, 'the largest', cells)}. "
        f"{capital(plural(pointwise, 'interval') if pointwise else 'no interval')} "
        f"{verb(pointwise or 1, 'excludes', 'exclude')} 0 when each is taken alone, "
        f"{of_them(together)} when all are held at once (bold)."
    )


def _cells(frame: pl.DataFrame, unit: str, models: dict[str, str]) -> pl.DataFrame:
    """One row a cell in shown units, with the texts of the tooltip."""
    factor = scale(unit)
    places = 0 if frame["median"].abs().to_numpy().max() * factor >= 10 else 1
    return pl.DataFrame(
        [
            {
                "context": row["name"],
                "model": wrap(models[row["model"]], TOP_LINE),
                "full": row["full"],
                "whole": row["model"],
                "change": row["median"] * factor,
                "text": decimal(row["median"] * factor, places, signed=True),
                "value": phrase(row, signed=True),
                "together": span(row["outer_lower"], row["outer_upper"], unit),
                "stands": row["outer_lower"] > 0 or row["outer_upper"] < 0,
            }
            for row in frame.iter_rows(named=True)
        ]
    )


def across(models: dict[str, str]) -> alt.X:
    """The models: their names on several lines, on a phone slanted and shorter."""
    import altair as alt

    slanted = short(models, SLANTED)
    brief = {wrap(name, TOP_LINE): slanted[model] for model, name in models.items()}
    lines = max(name.count("\n") for name in brief)
    tight = f"width < {COLUMN * len(brief)}"
    axis = alt.Axis(
        orient="top",
        title=None,
        labelColor=LIGHT["ink"],
        labelLimit=130,
        grid=False,
        labelLineHeight=theme.LINE_HEIGHT,
        labelExpr=f"{tight} ? {json.dumps(brief)}[datum.value] : split(datum.value, '\\n')",
        labelPadding=alt.ExprRef(f"{tight} ? 6 : {6 + theme.LINE_HEIGHT * lines}"),
        labelAngle=alt.ExprRef(f"{tight} ? 48 : 0"),
        labelAlign=alt.ExprRef(f"{tight} ? 'right' : 'center'"),
    )
    return alt.X("model:N", axis=axis, scale=alt.Scale(domain=list(brief), paddingInner=0.06, paddingOuter=0.02))


def down(names: pl.Series) -> alt.Y:
    """One row of the map a context."""
    import altair as alt

    scale = alt.Scale(paddingInner=0.06, paddingOuter=0.02)
    return alt.Y("context:N", sort=None, axis=theme.name_axis(names=names), scale=scale)


def chart(context_effect: Estimate) -> alt.LayerChart:
    """Cells coloured by the change, with its number; bold where the band that holds for all excludes 0."""
    import altair as alt

    built = rows(context_effect)
    frame = _drawn(built.frame)
    models = short(frame["model"].unique().sort(), MODEL)
    data = _cells(frame, built.unit, models)
    reach = float(data["change"].abs().to_numpy().max()) or 1.0
    tooltip = [
        alt.Tooltip("whole:N", title="model"),
        alt.Tooltip("full:N", title="context"),
        alt.Tooltip("value:N", title=f"change ({INTERVAL:.0%} interval)"),
        alt.Tooltip("together:N", title="held all at once"),
    ]
    shades = {"loss": "loss_cell", "gain": "gain_cell", "ink": "middle", "neutral": "middle"}
    look = [LIGHT[shades[name]] for name in forest.meanings(built.unit)]
    colours = alt.Scale(domain=[-reach, 0, reach], range=look, interpolate="rgb")
    base = alt.Chart(data).encode(x=across(models), y=down(data["context"]), tooltip=tooltip)
    weight = alt.ExprRef("datum.stands ? 'bold' : 'normal'")
    text = base.mark_text(fontSize=alt.ExprRef("width < 260 ? 10 : 12"), fontWeight=weight)
    layers = [
        base.mark_rect(cornerRadius=2).encode(color=alt.Color("change:Q", scale=colours, legend=None)),
        # no grey: it could not be read on a full colour
        text.encode(text=alt.Text("text:N"), color=alt.ColorValue(LIGHT["ink"])),
    ]
    height, wide = (row(data["context"]) * data["context"].n_unique() for row in (theme.row_height, theme.wide_row))
    return theme.finish(alt.layer(*layers), height, sentence(context_effect), wide, across=theme.MAP)
