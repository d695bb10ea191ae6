"""What makes a success cost more in deployment than on the bench, as a waterfall whose steps sum to the whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from divergence.estimate import INTERVAL, Estimate
from divergence.orders import First, first
from divergence.report.figures import curves, theme
from divergence.report.palette import LIGHT
from divergence.report.words import axis_title, phrase, plural

if TYPE_CHECKING:
    import altair as alt

PARTS = {
    "price": "price of a token",
    "tokens": "tokens a call",
    "spend": "spend a call",
    "calls": "calls an attempt",
    "attempts": "attempts a task",
    "cache mix": "cached share",
    "failure": "failed attempts",
}
WHOLE = "all together"
READING = (
    "Deployment minus bench. Each bar begins where the one above ends; orange makes a success dearer, blue cheaper. "
    "The bars are means and sum exactly, the numbers below are medians."
)


def rows(cost_ledger: Estimate) -> pl.DataFrame:
    """The whole (`factor` null) and the parts of the model and context whose cost of a success changed most."""
    frame = cost_ledger.to_frame().with_row_index("row").filter(pl.col("identified") & pl.col("mean").is_not_null())
    whole = frame.filter(pl.col("factor").is_null())
    if not whole.height:
        return whole
    most = whole.row(changed(cost_ledger, whole).at, named=True)
    return frame.filter((pl.col("model") == most["model"]) & (pl.col("context") == most["context"]))


def changed(cost_ledger: Estimate, frame: pl.DataFrame) -> First:
    """Which of these rows is furthest from 0, as far as their draws tell."""
    return first(np.abs(cost_ledger.draws[:, frame["row"].to_numpy()]))


def sentence(cost_ledger: Estimate) -> str:
    """How much more a success costs where that changed most, and what most of it is made of."""
    frame = rows(cost_ledger)
    whole = frame.filter(pl.col("factor").is_null()).row(0, named=True)
    parts = frame.filter(pl.col("factor").is_not_null())
    names = curves.spoken_places(cost_ledger.to_frame())
    every = cost_ledger.to_frame().with_row_index("row")
    every = every.filter(pl.col("factor").is_null() & pl.col("identified") & pl.col("mean").is_not_null())
    where = curves.place(whole, names)
    text = f"one success of {where} costs {phrase(whole, signed=True)} against the bench"
    lead = text[0].upper() + text[1:]
    if every.height > 1:
        places = [curves.place(row, names) for row in every.iter_rows(named=True)]
        most = changed(cost_ledger, every).led("the one that changed most", places)
        lead = f"Of {plural(every.height, 'combination')} {most}: {text}"
    part, called = changed(cost_ledger, parts), [str(PARTS.get(factor, factor)) for factor in parts["factor"]]
    return f"{lead}. {part.led('Its largest part', called)}: {phrase(parts.row(part.at, named=True), signed=True)}."


def chart(cost_ledger: Estimate) -> alt.LayerChart:
    """The parts as steps, each from where the one before ended; their means sum to the whole's."""
    import altair as alt

    frame = rows(cost_ledger)
    parts = frame.filter(pl.col("factor").is_not_null() & (pl.col("mean") != 0)).to_dicts()
    steps, at = [], 0.0
    for row in parts:
        steps.append(_step(str(PARTS.get(row["factor"], row["factor"])), at, at + row["mean"], row))
        at += row["mean"]
    steps.append(_step(WHOLE, 0.0, at, frame.filter(pl.col("factor").is_null()).row(0, named=True)))
    data = pl.DataFrame(steps)
    title = f"{axis_title(frame['unit'][0])} a success"
    low, high = (f(f(data["start"]), f(data["end"]), 0.0) for f in (min, max))
    room = 0.05 * (high - low) or 1.0
    span = alt.Scale(domain=[low - room, high + room], nice=False)
    look = alt.Scale(domain=["more", "less", "sum"], range=[LIGHT["loss"], LIGHT["gain"], LIGHT["neutral"]])
    tooltip = [alt.Tooltip("name:N", title="part"), alt.Tooltip("value:N", title=f"median ({INTERVAL:.0%} interval)")]
    y = alt.Y("name:N", scale=alt.Scale(domain=data["name"].to_list()), axis=theme.name_axis())
    base = alt.Chart(data).encode(y=y, tooltip=tooltip)
    bars = base.mark_bar(height=14).encode(
        x=alt.X("start:Q", title=title, scale=span, axis=alt.Axis(tickCount=5)),
        x2=alt.X2("end:Q"),
        color=alt.Color("way:N", scale=look, legend=None),
    )
    zero = (
        alt.Chart(pl.DataFrame({"zero": [0.0]}))
        .mark_rule(color=LIGHT["neutral"], strokeDash=[2, 3])
        .encode(x=alt.X("zero:Q", title=title, scale=span))
    )
    return theme.finish(alt.layer(zero, bars), data.height * 30, sentence(cost_ledger))


def _step(name: str, start: float, end: float, row: dict) -> dict:
    way = "sum" if name == WHOLE else "more" if end >= start else "less"
    return {"name": name, "start": start, "end": end, "way": way, "value": phrase(row, signed=True)}
