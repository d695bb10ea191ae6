"""Where agents break down: the share of episodes that have not failed by each step."""

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


PLACE = ("model", "context", "regime")


def rows(collapse_hazard: Estimate) -> pl.DataFrame:
    """Survival to the end of each band of steps, its last step in `x`; the place with the highest hazard comes first."""
    frame = collapse_hazard.to_frame()
    place = list(PLACE)
    hazard = frame.filter(pl.col("statistic").is_null() & pl.col("identified")).select(*place, hazard="median")
    last = pl.col("level").str.extract(r"(\d+)$", 1).cast(pl.Int64)
    frame = frame.filter((pl.col("statistic") == "survival") & pl.col("identified")).with_columns(x=last)
    frame = frame.join(hazard, on=place, how="inner", nulls_equal=True, maintain_order="left")
    return frame.sort("hazard", *place, "x", descending=[True, False, False, False, False])


def sentence(collapse_hazard: Estimate) -> str:
    """The hazard of a step and the half-life, where agents break down fastest."""
    frame = rows(collapse_hazard)
    lines = frame.unique(list(PLACE), maintain_order=True)
    hazards = collapse_hazard.where(statistic=None).known()
    at = [hazards.where(**line).draws[:, 0] for line in lines.select(PLACE).iter_rows(named=True)]
    fastest = first(np.stack(at, 1))
    mine = collapse_hazard.where(**lines.select(PLACE).row(fastest.at, named=True))
    hazard = mine.where(statistic=None).to_frame().row(0, named=True)
    where = curves.places(lines)
    text = f"each step that {where[fastest.at]} reaches breaks the episode with a chance of {phrase(hazard)}"
    half = mine.where(statistic="half_life").to_frame()
    if half.height and half["median"][0] is not None:
        text += f"; half of the episodes would be left after {phrase(half.row(0, named=True))}"
    slope = mine.where(statistic="slope").to_frame()
    if slope.height and slope["median"][0] is not None and slope["lower"][0] * slope["upper"][0] > 0:
        text += f". The hazard {'rises' if slope['lower'][0] > 0 else 'falls'} with the step"
    lead = "" if len(where) == 1 else f"Of {plural(len(where), 'line')} {fastest.led('the fastest to break', where)}: "
    return f"{lead}{text}." if lead else f"{text[0].upper()}{text[1:]}."


def chart(collapse_hazard: Estimate) -> alt.LayerChart:
    """Survival over the step."""
    import altair as alt

    frame = curves.chosen(rows(collapse_hazard))
    title = "step of the episode"
    x = alt.X("x:Q", title=title, axis=alt.Axis(tickCount=6, grid=False, format="d"))
    return curves.draw(frame, x, title, "not yet failed, percent", sentence(collapse_hazard))
