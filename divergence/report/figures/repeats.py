"""Success k times in a row: how fast does a success rate fall when it has to hold every time?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from divergence.estimate import Estimate
from divergence.report.figures import curves
from divergence.report.words import phrase, plural

if TYPE_CHECKING:
    import altair as alt

TIMES = ("never", "once", "twice", "three times", "four times")


def rows(pass_power: Estimate) -> pl.DataFrame:
    """The unbiased counts, a row a power, with the power in `x`; the place whose rate falls most comes first.

    A place where one power is known only has no curve.
    """
    frame = pass_power.to_frame().with_columns(x=pl.col("statistic").str.extract(r"^pass\^(\d+)$", 1).cast(pl.Int64))
    frame = frame.filter(pl.col("x").is_not_null() & pl.col("identified")).sort("x", maintain_order=True)
    place = ("model", "context", "regime")
    fall = (pl.col("median").first() - pl.col("median").last()).over(*place)
    return (
        frame.with_columns(fall=fall, powers=pl.len().over(*place))
        .filter(pl.col("powers") > 1)
        .sort("fall", *place, descending=[True, False, False, False], maintain_order=True)
    )


def sentence(pass_power: Estimate) -> str:
    """The rate once and at the highest power, where it falls most."""
    frame = rows(pass_power)
    size = frame["powers"][0]
    one, last = frame.row(0, named=True), frame.row(size - 1, named=True)
    often = TIMES[last["x"]] if last["x"] < len(TIMES) else f"{last['x']} times"
    where, places = curves.place(one, curves.spoken_places(frame)), frame.select("model", "context", "regime").n_unique()
    text = f"{where} solves a task once with a chance of {phrase(one)}, {often} in a row with {phrase(last)}"
    return f"{text}." if places == 1 else f"Of {plural(places, 'line')} this falls most: {text}."


def chart(pass_power: Estimate) -> alt.LayerChart:
    """The counts over the power."""
    import altair as alt

    title = "successes in a row"
    x = alt.X("x:O", title=title, axis=alt.Axis(labelAngle=0, grid=False))
    return curves.draw(curves.chosen(rows(pass_power)), x, title, "solved every time, percent", sentence(pass_power))
