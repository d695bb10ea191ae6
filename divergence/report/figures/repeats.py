"""Success k times in a row: how fast does a success rate fall when it has to hold every time?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from divergence.estimate import Estimate
from divergence.orders import first
from divergence.report.figures import curves
from divergence.report.words import phrase, plural

if TYPE_CHECKING:
    import altair as alt

TIMES = ("never", "once", "twice", "three times", "four times")


def rows(pass_power: Estimate) -> pl.DataFrame:
    """The unbiased counts, a row a power, with the power in `x`; the place whose rate falls most comes first.

    A place where one power is known only has no curve.
    """
    power = pl.col("statistic").str.extract(r"^pass\^(\d+)$", 1).cast(pl.Int64)
    frame = pass_power.to_frame().with_row_index("row").with_columns(x=power)
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
    lines = frame.partition_by("model", "context", "regime", maintain_order=True)
    falls = [pass_power.contrast(line["row"][0], line["row"][-1]) for line in lines]
    steepest = first(np.stack(falls, 1))
    one, last = lines[steepest.at].row(0, named=True), lines[steepest.at].row(-1, named=True)
    often = TIMES[last["x"]] if last["x"] < len(TIMES) else f"{last['x']} times"
    where = curves.places(pl.concat([line.head(1) for line in lines]))
    text = f"{where[steepest.at]} solves a task once with a chance of {phrase(one)}, {often} in a row with {phrase(last)}"
    lead = "" if len(lines) == 1 else f"Of {plural(len(lines), 'line')} {steepest.led('the steepest', where)}: "
    return f"{lead}{text}."


def chart(pass_power: Estimate) -> alt.LayerChart:
    """The counts over the power."""
    import altair as alt

    title = "successes in a row"
    x = alt.X("x:O", title=title, axis=alt.Axis(labelAngle=0, grid=False))
    return curves.draw(curves.chosen(rows(pass_power)), x, title, "solved every time, percent", sentence(pass_power))
