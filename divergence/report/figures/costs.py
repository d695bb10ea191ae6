"""What one success takes, by model and context: money where spend is known, else tokens or calls."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from divergence.estimate import INTERVAL, Estimate
from divergence.orders import first
from divergence.report.figures import curves, theme
from divergence.report.names import short, spoken, wrap
from divergence.report.palette import LIGHT
from divergence.report.words import axis_title, phrase, plural

if TYPE_CHECKING:
    import altair as alt

MOST = 10  # rows that are drawn
SHARES = {
    None: ("failed_share", "of its spend went into failures"),
    "tokens": ("", ""),
    "calls": ("calls_failed_share", "of its calls were made on attempts that failed"),
}
REGIMES = ["evaluation", "deployment"]


def rows(cost_per_success: Estimate) -> tuple[str | None, pl.DataFrame]:
    """The statistic that is known (None = money) and its rows by model and context, the dearest first."""
    frame = (
        cost_per_success.to_frame()
        .with_row_index("row")
        .filter(pl.col("identified") & pl.col("median").is_not_null() & pl.col("context").is_not_null())
    )
    for statistic in (None, "tokens", "calls"):
        found = frame.filter(pl.col("statistic").eq_missing(pl.lit(statistic, pl.String)))
        if found.height:
            return statistic, found.sort("median", descending=True, maintain_order=True)
    return None, frame.clear()


def sentence(cost_per_success: Estimate) -> str:
    """What a success takes where it takes most, and how much of it failures took."""
    statistic, frame = rows(cost_per_success)
    places = curves.places(frame)
    values = cost_per_success.draws[:, frame["row"].to_numpy()]
    most, least = first(values), first(values, highest=False)
    dearest, cheapest = (frame.row(found.at, named=True) for found in (most, least))
    text = f"One success of {places[0]} takes {phrase(dearest)}, failed attempts included"
    if frame.height > 1:
        told = f"Of {plural(frame.height, 'combination')}"
        if others := _without_cost(cost_per_success, statistic):
            told += f" whose cost of a success is known ({others:,} {'has' if others == 1 else 'have'} none)"
        text = (
            f"{told} {most.led('the dearest', places)}: one success takes "
            f"{phrase(dearest)}, failed attempts included. {least.led('The cheapest', places)}: "
            f"{phrase(cheapest)}"
        )
    share, words = SHARES[statistic]
    lost = cost_per_success.where(statistic=share, **{k: dearest[k] for k in ("model", "context", "regime")}).to_frame()
    if share and lost.height and lost["median"][0] is not None:
        text += f". {phrase(lost.row(0, named=True))} {words if frame.height == 1 else words.replace('its', 'the')}"
        text += "" if frame.height == 1 else f" in {places[most.at]}"
    return f"{text}."


def _without_cost(cost_per_success: Estimate, statistic: str | None) -> int:
    """Combinations that have no such number, as those that never succeeded."""
    frame = cost_per_success.to_frame().filter(pl.col("statistic").eq_missing(pl.lit(statistic, pl.String)))
    return frame.filter(pl.col("context").is_not_null(), ~pl.col("identified")).height


def chart(cost_per_success: Estimate) -> alt.LayerChart:
    """Points with intervals, a row a model and context."""
    import altair as alt

    _, frame = rows(cost_per_success)
    frame = frame.head(MOST)
    models, contexts = short(frame["model"]), short(frame["context"])
    full = spoken(frame["model"]) | spoken(frame["context"])
    unit = frame["unit"][0]
    data = pl.DataFrame(
        [
            {
                "name": f"{k}\t{wrap(models[row['model']])}\n{wrap(contexts[row['context']])}",
                "full": curves.place(row, full),
                "regime": row["regime"] or "deployment",
                "value": phrase(row),
                **{n: row[n] for n in ("median", "lower", "upper")},
            }
            for k, row in enumerate(frame.iter_rows(named=True))
        ]
    )
    title, top = axis_title(unit), float(data["upper"].to_numpy().max()) * 1.05
    axis = alt.Axis(tickCount=5)

    def x(field: str) -> alt.X:
        return alt.X(f"{field}:Q", title=f"{title} a success", axis=axis, scale=alt.Scale(domain=[0, top], nice=False))

    look = alt.Scale(domain=REGIMES, range=[LIGHT["neutral"], LIGHT["ink"]])
    colour = alt.Color("regime:N", scale=look, legend=alt.Legend(title=None))
    shape = alt.Shape("regime:N", scale=alt.Scale(domain=REGIMES, range=["circle", "square"]), legend=alt.Legend(title=None))
    tooltip = [alt.Tooltip("full:N", title="where"), alt.Tooltip("value:N", title=f"median ({INTERVAL:.0%} interval)")]
    y = alt.Y("name:N", scale=alt.Scale(domain=data["name"].to_list()), axis=theme.name_axis(names=data["name"]))
    base = alt.Chart(data).encode(y=y, tooltip=tooltip)
    layers = [
        base.mark_rule(strokeWidth=3.5, strokeCap="round").encode(x=x("lower"), x2=alt.X2("upper:Q"), color=colour),
        base.mark_point(size=62, opacity=1, filled=True).encode(x=x("median"), color=colour, shape=shape),
    ]
    height, wide = (data.height * row(data["name"]) for row in (theme.row_height, theme.wide_row))
    return theme.finish(alt.layer(*layers), height, sentence(cost_per_success), wide)


def beside(cost_per_success: Estimate) -> str:
    """What is not drawn."""
    _, frame = rows(cost_per_success)
    text = f"The whole bar is the {INTERVAL:.0%} interval."
    return f"Drawn are {MOST} of {frame.height:,} combinations, by their medians. {text}" if frame.height > MOST else text
