"""Chance that each model meets all requirements in each context: a map of models and contexts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from divergence.estimate import Estimate
from divergence.report.figures import theme
from divergence.report.figures.context_map import MODEL, TOP_LINE, across, down
from divergence.report.names import short, spoken, wrap
from divergence.report.palette import LIGHT
from divergence.report.words import brief_chance, chance, plural

if TYPE_CHECKING:
    import altair as alt

MOST = 200  # cells that are drawn: the likeliest to meet everything
SURE = 0.9  # cells written in bold: at least as sure as the intervals of the page


def rows(coherence: Estimate) -> pl.DataFrame:
    """One row a combination that can be judged: model, context, probability; the surest contexts first."""
    frame = coherence.to_frame().filter(
        pl.col("statistic").is_null() & pl.col("context").is_not_null() & pl.col("identified")
    )
    frame = frame.select("model", "context", chance="mean").sort("chance", descending=True).head(MOST)
    return frame.sort(pl.col("chance").max().over("context"), "context", descending=[True, False])


def sentence(coherence: Estimate) -> str:
    """In which contexts some model meets everything, and which combination is the surest."""
    data = rows(coherence)
    best = data.sort("chance", descending=True).row(0, named=True)
    names = spoken(data["model"]) | spoken(data["context"])
    sure = data.filter(pl.col("chance") >= SURE)
    places = sure["context"].n_unique()
    where = f", all of them in {plural(places, 'context')}" if sure.height > 1 else ""
    told = (
        f"{plural(sure.height, 'combination')} of {data.height} meet everything with at least {SURE:.0%}{where}"
        if sure.height != 1
        else f"One combination of {data.height} meets everything with at least {SURE:.0%}"
    )
    return (
        f"{told[:1].upper()}{told[1:]}; none has a higher probability than {names[best['model']]} in "
        f"{names[best['context']]} ({chance(best['chance'])})."
    )


def chart(coherence: Estimate) -> alt.LayerChart:
    """Cells coloured and written by the probability to meet all requirements; bold where that is sure."""
    import altair as alt

    data = rows(coherence)
    models, contexts = short(data["model"].unique().sort(), MODEL), short(data["context"].unique(maintain_order=True))
    data = data.with_columns(
        full=pl.col("context"),
        whole=pl.col("model"),
        text=pl.Series(map(brief_chance, data["chance"])),
        context=pl.col("context").replace({k: wrap(v) for k, v in contexts.items()}),
        model=pl.col("model").replace({k: wrap(v, TOP_LINE) for k, v in models.items()}),
    )
    tooltip = [
        alt.Tooltip("whole:N", title="model"),
        alt.Tooltip("full:N", title="context"),
        alt.Tooltip("text:N", title="meets everything"),
    ]
    look = [LIGHT["loss_cell"], LIGHT["middle"], LIGHT["gain_cell"]]
    colours = alt.Scale(domain=[0, 0.5, 1], range=look, interpolate="rgb")
    base = alt.Chart(data).encode(x=across(models), y=down(data["context"]), tooltip=tooltip)
    bold = f"datum.chance >= {SURE}"
    text = base.mark_text(
        fontSize=alt.ExprRef("width < 260 ? 10 : 12"), fontWeight=alt.ExprRef(f"{bold} ? 'bold' : 'normal'")
    )
    layers = [
        base.mark_rect(cornerRadius=2).encode(color=alt.Color("chance:Q", scale=colours, legend=None)),
        # no grey: it could not be read on a full colour
        text.encode(text=alt.Text("text:N"), color=alt.ColorValue(LIGHT["ink"])),
    ]
    height, wide = (row(data["context"]) * data["context"].n_unique() for row in (theme.row_height, theme.wide_row))
    return theme.finish(alt.layer(*layers), height, sentence(coherence), wide, across=theme.MAP)
