"""Map of behaviour: the evaluation at its origin, an arrow to each context, a dot for each model there.

The disc is the floor: what does not leave it is not shown to move more than reruns, and is told by name only.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from divergence.estimate import Estimate
from divergence.orders import first
from divergence.report.figures import theme
from divergence.report.names import short, spoken
from divergence.report.palette import LIGHT
from divergence.report.words import join, plural

if TYPE_CHECKING:
    import altair as alt

HEIGHT = 320  # px
NARROWEST = 270  # px: the plot on a phone
MARGIN = 1.2  # room for names around the points
MOST_NAMED = 6  # contexts with their name beside the arrow; more have numbers, and their names under the figure
IN_A_SENTENCE = 6  # of the numbered contexts
NAME = 20  # characters of such a name
CHARACTER = 6.6  # px
OUTSIDE = 14.0  # a name is this high: what a pixel outside the plot hides
CIRCLE = np.linspace(0, 2 * np.pi, 61)
NINETY = 2.146  # radius that holds 90 % of a two-dimensional normal, in standard deviations
OFFSETS = {"right": (9, 0, "left"), "left": (-9, 0, "right"), "above": (0, -13, "center"), "below": (0, 14, "center")}


def points(answer: Estimate) -> tuple[pl.DataFrame, np.ndarray]:
    """Model (None = all), context, x and y of what left the floor, farthest first; and their draws (D, points, 2)."""
    frame = answer.rows.with_row_index("was").with_columns(known=pl.Series([r is None for r in answer.reason]))
    frame = frame.filter(pl.col("known") & pl.col("statistic").is_null() & pl.col("context").is_not_null())
    first, second = (frame.filter(axis=a) for a in "12")
    draws = np.stack([answer.draws[:, part["was"].to_numpy()] for part in (first, second)], 2)
    middle = np.median(draws, axis=0)
    table = first.select("model", "context").with_columns(x=pl.Series(middle[:, 0]), y=pl.Series(middle[:, 1]))
    order = np.argsort(-np.hypot(*middle.T), kind="stable") if len(middle) else np.zeros(0, int)
    return table[order], draws[:, order]


def radius(answer: Estimate) -> float:
    """Radius of the floor."""
    return float(answer.where(statistic="floor").draws[0, 0])


def within(answer: Estimate) -> list[str]:
    """Contexts that do not leave the floor in any model."""
    frame = answer.rows.with_columns(known=pl.Series([r is None for r in answer.reason]))
    frame = frame.filter(pl.col("statistic").is_null() & pl.col("model").is_null() & ~pl.col("known"))
    return frame["context"].drop_nulls().unique(maintain_order=True).to_list()


def sentence(answer: Estimate) -> str:
    """Which context lies farthest, which do not leave the floor, how much of the movement the plane shows."""
    table, draws = points(answer)
    over = table["model"].is_null().to_numpy()
    contexts = table.filter(over)
    inside = within(answer)
    names = spoken([*contexts["context"], *inside])
    parts = []
    if contexts.height:
        far = first(np.hypot(*draws[:, over].transpose(2, 0, 1)))
        x, y = contexts.select("x", "y").row(far.at)
        told = far.led("Farthest from the evaluation", [names[c] for c in contexts["context"]])
        parts.append(
            f"{told}: its answers lie {np.hypot(x, y):.2f} of the distance between answers to different items away."
        )
    if inside:
        listed = join([names[c] for c in inside])
        parts.append(f"Within the floor: {listed}.")
    plane = float(np.median(answer.where(statistic="plane").draws))
    parts.append(f"Distances from the evaluation are exact; directions show {plane:.0%} of the movement.")
    heads = _heads(table)["context"].to_list()
    if len(heads) > MOST_NAMED:  # the chart has numbers in place of names
        spelled = spoken(heads)
        listed = [f"{k} {spelled[c]}" for k, c in enumerate(heads, 1)]
        for at in range(0, len(listed), IN_A_SENTENCE):
            parts.append(f"{'Then' if at else 'By their distance'}: {', '.join(listed[at : at + IN_A_SENTENCE])}.")
    return " ".join(parts)


def beside(answer: Estimate) -> str:
    """How to read it."""
    table, _ = points(answer)
    models = table.filter(pl.col("model").is_not_null())["model"].n_unique()
    dots = f" Dots are the {plural(models, 'model')} there." if models > 1 else ""
    return (
        "Arrows lead from the evaluation to contexts; ellipses hold 90 % of the draws over items. Neighbours moved the "
        f"same way.{dots} Inside the grey disc nothing is told apart from reruns."
    )


def _heads(table: pl.DataFrame) -> pl.DataFrame:
    """The points with an arrow: contexts over models, or the places of one model alone."""
    return table.filter(pl.col("model").is_null()) if table["model"].has_nulls() else table


def chart(answer: Estimate) -> alt.LayerChart:
    """Disc, arrows with their ellipses, dots, names."""
    import altair as alt

    table, draws = points(answer)
    floor = radius(answer)
    every = short(table["context"].unique(maintain_order=True), NAME)
    table = table.with_columns(
        name=pl.col("context").replace(every),
        who=pl.col("model").fill_null("all models"),
        far=(pl.col("x") ** 2 + pl.col("y") ** 2).sqrt(),
    )
    chosen = table["model"].is_null().to_numpy()
    if not chosen.any():
        chosen[:] = True  # one model alone
    if chosen.sum() > MOST_NAMED:
        place = {name: str(k) for k, name in enumerate(_heads(table)["context"], 1)}
        table = table.with_columns(name=pl.col("context").replace(place))
    heads = table.filter(chosen).with_columns(angle=90 - pl.arctan2("y", "x").degrees(), zero=pl.lit(0.0))
    rings = _ellipses(heads["context"].to_list(), draws[:, chosen])
    across, up, pixels = _axes(
        alt,
        np.concatenate(
            [table.select("x", "y").to_numpy(), rings.select("x", "y").to_numpy(), floor * np.array([[1, 1], [-1, -1]])]
        ),
    )
    x, y = across("x"), up("y")
    tip = [
        alt.Tooltip("who:N", title="model"),
        alt.Tooltip("context:N"),
        alt.Tooltip("far:Q", format=".2f", title="distance"),
    ]
    disc = pl.DataFrame({"x": floor * np.cos(CIRCLE), "y": floor * np.sin(CIRCLE), "order": np.arange(len(CIRCLE))})
    base = alt.Chart(heads)
    layers = [
        alt.Chart(disc)
        .mark_line(color=LIGHT["floor"], strokeWidth=1, fill=LIGHT["faint"], fillOpacity=0.8)
        .encode(x=x, y=y, order=alt.Order("order:Q")),
        alt.Chart(rings)
        .mark_line(color=LIGHT["gain_cell"], strokeWidth=1, fill=LIGHT["gain_cell"], fillOpacity=0.18)
        .encode(x=x, y=y, order=alt.Order("order:Q"), detail=alt.Detail("context:N")),
        alt.Chart(table.filter(~chosen))
        .mark_point(filled=True, size=22, opacity=0.55, color=LIGHT["neutral"])
        .encode(x=x, y=y, tooltip=tip),
        base.mark_rule(color=LIGHT["gain"], strokeWidth=1.5).encode(
            x=across("zero"), y=up("zero"), x2=alt.X2("x:Q"), y2=alt.Y2("y:Q")
        ),
        base.mark_point(shape="triangle-up", filled=True, size=90, opacity=1, color=LIGHT["gain"]).encode(
            x=x, y=y, angle=alt.Angle("angle:Q", scale=None), tooltip=tip
        ),
        alt.Chart(pl.DataFrame({"x": [0.0], "y": [0.0]}))
        .mark_point(shape="cross", filled=True, size=90, opacity=1, color=LIGHT["ink"])
        .encode(x=x, y=y),
    ]
    layers += _labels(alt, heads, x, y, pixels)
    return theme.finish(alt.layer(*layers), HEIGHT, sentence(answer))


def _axes(alt, corners: np.ndarray):
    """Makers of both axes, one unit as long on each whatever the page's width, and the pixels of a phone."""
    low, high = corners.min(0), corners.max(0)
    middle, half = (low + high) / 2, np.maximum(MARGIN * (high - low) / 2, 1e-3)
    reach = f"max({half[1]}, {half[0]} * height / width)"
    x, y = (
        alt.Scale(domainMin=alt.ExprRef(f"{m} - {r}"), domainMax=alt.ExprRef(f"{m} + {r}"), nice=False, zero=False)
        for m, r in zip(middle, (f"{reach} * width / height", reach), strict=True)
    )
    narrow = max(half[1], half[0] * HEIGHT / NARROWEST)
    axis = alt.Axis(tickCount=5, format=".1f")
    title = "1 = as far as answers to different items"
    return (
        lambda field: alt.X(f"{field}:Q", scale=x, axis=axis, title=title),
        lambda field: alt.Y(f"{field}:Q", scale=y, axis=axis, title=None),
        _Pixels(HEIGHT / (2 * narrow), middle),
    )


def _ellipses(names: list[str], draws: np.ndarray) -> pl.DataFrame:
    """Outlines of the 90 % ellipses."""
    parts = []
    for k, name in enumerate(names):
        values, axes = np.linalg.eigh(np.cov(draws[:, k].T))
        line = np.stack([np.cos(CIRCLE), np.sin(CIRCLE)], 1) * np.sqrt(np.maximum(values, 0)) * NINETY @ axes.T
        line = line + np.median(draws[:, k], axis=0)
        parts.append(pl.DataFrame({"context": name, "x": line[:, 0], "y": line[:, 1], "order": np.arange(len(CIRCLE))}))
    schema = {"context": pl.String, "x": pl.Float64, "y": pl.Float64, "order": pl.Int64}
    return pl.concat(parts) if parts else pl.DataFrame(schema=schema)


def _labels(alt, heads: pl.DataFrame, x, y, pixels: _Pixels) -> list:
    """Names beside the arrows' heads, each on the side where it covers least; farthest first."""
    at = pixels.of(heads.select("x", "y").to_numpy())
    taken = [(px - 7, py - 7, px + 7, py + 7) for px, py in [*at, *pixels.of(np.zeros((1, 2)))]]
    sides: dict[str, list[int]] = {side: [] for side in OFFSETS}
    for k, name in enumerate(heads["name"]):
        wide = CHARACTER * len(name)
        boxes = {}
        for side, (dx, dy, align) in OFFSETS.items():
            left = at[k][0] + dx - {"left": 0, "right": wide, "center": wide / 2}[align]
            boxes[side] = (left, at[k][1] + dy - 7, left + wide, at[k][1] + dy + 7)
        outward = "right" if at[k][0] >= NARROWEST / 2 else "left"
        side = min(
            boxes,
            key=lambda s: (
                sum(_overlap(boxes[s], box) for box in taken) + OUTSIDE * max(0, -boxes[s][0], boxes[s][2] - NARROWEST),
                s != outward,
            ),
        )
        taken.append(boxes[side])
        sides[side].append(k)
    return [
        alt.Chart(heads[index])
        .mark_text(dx=OFFSETS[side][0], dy=OFFSETS[side][1], align=OFFSETS[side][2])
        .encode(x=x, y=y, text=alt.Text("name:N"))
        for side, index in sides.items()
        if index
    ]


@dataclasses.dataclass(frozen=True)
class _Pixels:
    """Where points lie in the plot of a phone."""

    each: float
    middle: np.ndarray

    def of(self, points: np.ndarray) -> np.ndarray:
        """Pixels from the top left of points (n, 2)."""
        return (points - self.middle) * [self.each, -self.each] + [NARROWEST / 2, HEIGHT / 2]


def _overlap(one: tuple, two: tuple) -> float:
    """Area that two boxes share."""
    return max(0, min(one[2], two[2]) - max(one[0], two[0])) * max(0, min(one[3], two[3]) - max(one[1], two[1]))
