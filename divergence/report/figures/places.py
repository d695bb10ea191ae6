"""From bench place to place in deployment: one point a model, whatever their number, the interval of its place upright."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from divergence.report.board import Board
from divergence.report.figures import theme
from divergence.report.palette import LIGHT
from divergence.report.words import join, plural, verb

if TYPE_CHECKING:
    import altair as alt

HEIGHT = 420
NAMED_ALL = 12  # models up to which every point has its name
NAMED = 3  # of many: the first, the farthest risers and fallers
SIZES = ((40, 70.0, 0.55), (300, 26.0, 0.3), (10**9, 9.0, 0.16))
"""Models up to which a point has this area (px^2) and its interval this opacity."""


def points(shown: Board) -> pl.DataFrame:
    """One row a model with a place on both sides; `kind`, and a `label` for those that are named."""
    frame = shown.rows.drop_nulls("bench_rank").with_columns(
        bench_place=pl.col("bench_rank").rank("ordinal"),
        climbed=pl.col("bench_rank") - pl.col("rank"),
    )
    frame = frame.with_columns(
        kind=pl.when("incumbent")
        .then(pl.lit("incumbent"))
        .when(mark="forecast")
        .then(pl.lit("forecast"))
        .otherwise(pl.lit("deployed")),
        sure=(pl.col("rank_high") < pl.col("bench_rank")) | (pl.col("rank_low") > pl.col("bench_rank")),
    )
    if frame.height <= NAMED_ALL:
        return frame.with_columns(label=pl.col("name"))
    far = frame.filter("sure").sort("climbed")
    named = {*frame["model"].head(NAMED), *far["model"].head(NAMED), *far["model"].tail(NAMED)}
    named |= set(frame.filter(pl.col("kind") != "deployed")["model"].head(4 * NAMED))
    return frame.with_columns(label=pl.when(pl.col("model").is_in(list(named))).then("name").otherwise(pl.lit("")))


def sentence(shown: Board) -> str:
    """How many places the bench gets right, and who moves farthest."""
    frame = points(shown)
    moved = frame.filter("sure").sort("climbed")
    if not moved.height:
        return f"No model of {frame.height:,} surely leaves its bench place; bars are 90% intervals of places."
    up, down = moved.filter(pl.col("climbed") > 0).reverse(), moved.filter(pl.col("climbed") < 0)
    parts = []
    for part, word in ((up, "climb"), (down, "fall")):
        who = [f"{r['name']} ({r['bench_rank']:.0f} to {r['rank']:.0f})" for r in part.head(2).iter_rows(named=True)]
        if who:
            parts.append(f"{join(who)} {verb(len(who), word + 's', word)} farthest")
    return (
        f"Of {plural(frame.height, 'model')}, {moved.height:,} surely {verb(moved.height, 'leaves its', 'leave their')} bench "
        f"place (outside the 90% interval): {', '.join(parts)}. On the line a place is kept; above it deployment is kinder."
    )


def chart(shown: Board) -> alt.LayerChart:
    """Bench place to the right, place under the law upwards, the best in the upper left."""
    import altair as alt

    frame = points(shown)
    count = int(max(frame["bench_rank"].max() or 1, shown.rows.height))  # pyright: ignore[reportArgumentType]
    size, opacity = next((s, o) for most, s, o in SIZES if frame.height <= most)
    edge = max(0.5, count * 0.015)
    x = alt.X(
        "bench_rank:Q",
        title="place on the bench",
        scale=alt.Scale(domain=[1 - edge, count + edge], nice=False),
        axis=alt.Axis(tickCount=6, format="d", grid=False),
    )
    scale = alt.Scale(domain=[1 - edge, count + edge], nice=False, reverse=True)
    y = alt.Y("rank:Q", title="place under the deployment law", scale=scale, axis=alt.Axis(tickCount=6, format="d"))
    kinds, looks = ["deployed", "forecast", "incumbent"], [LIGHT["gain"], LIGHT["loss"], LIGHT["ink"]]
    colour = alt.Color("kind:N", scale=alt.Scale(domain=kinds, range=looks), legend=alt.Legend(title=None, orient="top"))
    shape = alt.Shape("kind:N", scale=alt.Scale(domain=kinds, range=["circle", "diamond", "square"]), legend=None)
    columns = ["model", "name", "label", "kind", "bench_rank", "rank", "rank_low", "rank_high", "group"]
    base = alt.Chart(frame.select(columns)).encode(
        x=x,
        color=colour,
        tooltip=[
            alt.Tooltip("model:N"),
            alt.Tooltip("kind:N"),
            alt.Tooltip("bench_rank:Q", title="place on the bench", format=".0f"),
            alt.Tooltip("rank:Q", title="place under the law", format=".0f"),
            alt.Tooltip("rank_low:Q", title="from", format=".0f"),
            alt.Tooltip("rank_high:Q", title="to", format=".0f"),
            alt.Tooltip("group:Q", title="tied group", format=".0f"),
        ],
    )
    kept = alt.Chart(pl.DataFrame({"a": [1.0, float(count)], "b": [1.0, float(count)]}))
    names = base.transform_filter(alt.datum.label != "").encode(
        y=alt.Y("rank:Q"), text=alt.Text("label:N"), color=alt.value(LIGHT["ink"])
    )
    rest, special = alt.datum.kind == "deployed", alt.datum.kind != "deployed"
    layers = [
        kept.mark_line(color=LIGHT["floor"], strokeDash=[3, 3]).encode(x=alt.X("a:Q"), y=alt.Y("b:Q")),
        base.mark_rule(strokeWidth=1.4, opacity=opacity).encode(y=alt.Y("rank_low:Q"), y2="rank_high:Q"),
        base.transform_filter(rest).mark_point(filled=True, size=size, opacity=0.8).encode(y=y, shape=shape),
        base.transform_filter(special).mark_point(filled=True, size=max(size, 60), opacity=1).encode(y=y, shape=shape),
        names.mark_text(align="left", baseline="middle", dx=7, fontSize=theme.LABEL - 1),
    ]
    return theme.finish(alt.layer(*layers), HEIGHT, sentence(shown))
