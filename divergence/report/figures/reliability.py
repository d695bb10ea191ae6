"""Reliability of risks: do requests of risk p fail with frequency p? Bins on the diagonal's band are as right as can be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import polars as pl

from divergence.orders import AS_COUNTED
from divergence.report.figures import theme
from divergence.report.palette import LIGHT

if TYPE_CHECKING:
    import altair as alt

HEIGHT = 270  # px


def sentence(check: Mapping) -> str:
    """How far the risks are off, beside what a perfect score shows at this size; coverage with the worst context named."""
    inside = "which is within" if check["inside_null"] else "which is ABOVE"
    words = (
        f"On {check['rows']:,} rows that took part in nothing else ({check['clusters']:,} sessions or items), "
        f"predicted and observed failures differ by {100 * check['ece']:.1f} points on average, {inside} the "
        f"{100 * check['ece_null_95']:.1f} points that a perfect score stays below in 95 % of checks of this size."
    )
    if "ece_posterior_95" in check:
        words += (
            f" A score that is as unsure of its risks as this one says stays below "
            f"{100 * check['ece_posterior_95']:.1f} points, "
            f"which this one {'does' if check['inside_posterior'] else 'does NOT'}."
        )
    sets = check.get("sets")
    if sets and sets.get("worst") is not None:
        words += (
            f" Sets that should hold {sets['nominal']:.0%} of the outcomes held {sets['coverage']:.0%}; {AS_COUNTED} "
            f"the worst context is {sets['worst']} with {sets['worst_coverage']:.0%}."
        )
    return words


def chart(check: Mapping) -> alt.LayerChart:
    """Observed failures against risk, in bins of equal size, with the 95 % consistency band."""
    import altair as alt

    frame = pl.DataFrame(check["bins"]).with_columns(
        within=pl.col("failures").is_between(pl.col("band_lower"), pl.col("band_upper"))
    )
    x = alt.X("risk:Q", title="risk", scale=alt.Scale(domain=[0, 1]), axis=alt.Axis(format="%"))
    y = alt.Y("failures:Q", title="observed failures", scale=alt.Scale(domain=[0, 1]), axis=alt.Axis(format="%"))
    diagonal = (
        alt.Chart(pl.DataFrame({"risk": [0.0, 1.0], "failures": [0.0, 1.0]}))
        .mark_line(color=LIGHT["muted"], strokeDash=[4, 4], strokeWidth=1)
        .encode(x=x, y=y)
    )
    band = (
        alt.Chart(frame)
        .mark_area(color=LIGHT["faint"], opacity=0.7)
        .encode(x=x, y=alt.Y("band_lower:Q", title="observed failures"), y2=alt.Y2("band_upper:Q"))
    )
    points = (
        alt.Chart(frame)
        .mark_point(filled=True, size=64, opacity=1)
        .encode(
            x=x,
            y=y,
            color=alt.condition("datum.within", alt.value(LIGHT["ink"]), alt.value(LIGHT["loss"])),
            tooltip=[
                alt.Tooltip("risk:Q", format=".1%"),
                alt.Tooltip("failures:Q", format=".1%"),
                alt.Tooltip("n:Q", format=",.0f", title="rows"),
                alt.Tooltip("band_lower:Q", format=".1%"),
                alt.Tooltip("band_upper:Q", format=".1%"),
            ],
        )
    )
    return theme.finish(alt.layer(band, diagonal, points), HEIGHT, sentence(check))
