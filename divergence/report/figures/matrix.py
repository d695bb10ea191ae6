"""Five ways in which deployment can be another world: each contrast in multiples of what relabelling alone would show.

A bar that passes the line at 1 stands out of its null; the words beside it are the values of evaluation and deployment in
their own unit. Axes are never averaged.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from divergence.estimate import Estimate
from divergence.report.figures.theme import finish, name_axis
from divergence.report.names import wrap
from divergence.report.palette import LIGHT
from divergence.report.words import SUFFIXES, decimal, join

if TYPE_CHECKING:
    import altair as alt

MOST = 10.0  # multiples shown; beyond it a bar says "more than ten times", not how much
ALPHA = 0.05
LINES = {
    "outside": ("items the bench lacks", "nature"),
    "rank_correlation": ("quality goes with cheapness", "focus"),
    "context_tokens": ("prompt length", "state"),
    "turn": ("turn of the conversation", "state"),
    "contexts": ("serving contexts in use", "infrastructure"),
    "unseen": ("contexts never evaluated", "infrastructure"),
    "between_waves": ("spread between waves", "output"),
}
"""Statistic -> its name on the figure, and its axis."""


def rows(matrix: Estimate) -> pl.DataFrame:
    """One row a statistic that is known: names, both values, contrast, multiples of the null, p-value."""
    frame = matrix.to_frame()
    out = []
    for statistic, (name, axis) in LINES.items():
        mine = frame.filter(statistic=statistic)
        chance = frame.filter(statistic=f"{statistic} p")
        if not mine.height or mine["median"].null_count() == mine.height:
            continue
        values = {r["regime"]: r for r in mine.iter_rows(named=True)}
        contrast, floor = values[None]["median"], values[None]["noise_floor"]
        times = 0.0 if contrast == 0 else MOST if not floor else min(abs(contrast) / floor, MOST)
        unit = values[None]["unit"]
        told = _told(values["evaluation"]["median"], values["deployment"]["median"], unit)
        p = chance["mean"][0]
        out.append(
            {
                "statistic": statistic,
                "name": f"{axis}:\n{wrap(name)}",
                "axis": axis,
                "plain": name,
                "times": times,
                "told": told,
                "p": p,
                "apart": p < ALPHA and contrast != 0,
                "unit": unit,
            }
        )
    schema = {
        "statistic": pl.String,
        "name": pl.String,
        "axis": pl.String,
        "plain": pl.String,
        "times": pl.Float64,
        "told": pl.String,
        "p": pl.Float64,
        "apart": pl.Boolean,
        "unit": pl.String,
    }
    return pl.DataFrame(out, schema=schema)


def _told(bench: float, deployed: float, unit: str) -> str:
    """Both values with the same decimals: `from 1 to 12`."""
    factor = 100.0 if unit in ("probability", "fraction") else 1.0
    shown = bench * factor, deployed * factor
    whole = all(abs(value - round(value)) < 1e-9 for value in shown)
    places = 0 if whole else 2 if max(map(abs, shown)) < 1 else 1
    suffix = SUFFIXES.get(unit, "" if unit in ("ratio", "contexts", "turns") else f" {unit}")
    return f"from {decimal(shown[0], places)} to {decimal(shown[1], places)}{suffix}"


def sentence(matrix: Estimate) -> str:
    """Which axes stand out, with their values, and which do not."""
    table = rows(matrix)
    apart = table.filter("apart").sort("times", descending=True)
    if not apart.height:
        return "In nothing that was looked at does deployment differ from the bench by more than chance explains."
    found = [f"{plain} ({told})" for plain, told in apart.select("plain", "told").iter_rows()]
    quiet = table.filter(~pl.col("apart"))["plain"].to_list()
    rest = f" Not told apart: {join(quiet)}." if quiet else ""
    return f"Deployment differs from the bench in {join(found)}.{rest}"


def chart(matrix: Estimate) -> alt.LayerChart:
    """Bars of multiples of the null, with the values in words."""
    import altair as alt

    table = rows(matrix)
    order = table["name"].to_list()
    y = alt.Y("name:N", sort=order, axis=name_axis(names=order))
    x = alt.X(
        "times:Q",
        title="times what chance makes (95%)",
        scale=alt.Scale(domain=[0, MOST * 2.2], nice=False),
        axis=alt.Axis(values=[0, 1, 2, 5, 10], grid=True),
    )
    colour = alt.condition("datum.apart", alt.value(LIGHT["ink"]), alt.value(LIGHT["neutral"]))
    bars = (
        alt.Chart(table)
        .mark_bar(height=12, cornerRadius=2)
        .encode(
            x=x,
            y=y,
            color=colour,
            tooltip=[
                alt.Tooltip("plain:N", title="axis"),
                alt.Tooltip("told:N", title="evaluation to deployment"),
                alt.Tooltip("p:Q", title="p-value", format=".3f"),
            ],
        )
    )
    words = alt.Chart(table).mark_text(align="left", dx=6).encode(x=x, y=y, text=alt.Text("told:N"))
    line = (
        alt.Chart(pl.DataFrame({"times": [1.0]})).mark_rule(color=LIGHT["ink"], strokeDash=[3, 3]).encode(x=alt.X("times:Q"))
    )
    return finish(
        alt.layer(bars, line, words), 44 * max(table.height, 1) + 30, sentence(matrix), 28 * max(table.height, 1) + 20
    )
