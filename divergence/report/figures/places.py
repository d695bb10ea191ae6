"""From bench place to place in deployment: one point a model, whatever their number, the interval of its place upright."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from divergence.report.board import Board
from divergence.report.figures import theme
from divergence.report.names import short
from divergence.report.palette import LIGHT
from divergence.report.words import join, number, plural, verb

if TYPE_CHECKING:
    import altair as alt

HEIGHT = 420
NAMED_ALL = 12  # models up to which every point has its name
NAME = 24  # characters of a name
NAME_SHARE, LINE_SHARE = 0.32, 0.035  # of the plot that a name takes across and upwards
NAMED = 3  # of many: the first, the farthest risers and fallers
FROM_ONE = "datum.value < 1 ? '' : datum.label"  # there is no place 0
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
        sure=(pl.col("rank_high") < pl.col("bench_rank_low")) | (pl.col("rank_low") > pl.col("bench_rank_high")),
    )
    if frame.height <= NAMED_ALL:
        return frame.with_columns(label=pl.Series(_apart(frame, frame["model"].to_list()), dtype=pl.String))
    far = frame.filter("sure").sort("climbed")
    special = frame.filter(pl.col("kind") != "deployed")["model"].head(4 * NAMED)
    wanted = [*special, *frame["model"].head(NAMED), *far["model"].head(NAMED), *far["model"].tail(NAMED)]
    return frame.with_columns(label=pl.Series(_apart(frame, wanted), dtype=pl.String))


def _apart(frame: pl.DataFrame, wanted: list[str]) -> list[str]:
    """The names of these models where they cover no other name, by turn; empty elsewhere."""
    names = short(frame["model"], NAME)
    at = {m: (x, y) for m, x, y in frame.select("model", "bench_place", "place").iter_rows()}
    width, line = NAME_SHARE * frame.height, LINE_SHARE * frame.height
    kept: list[str] = []
    for model in dict.fromkeys(wanted):
        x, y = at[model]
        if all(abs(y - at[m][1]) > line or abs(x - at[m][0]) > width for m in kept):
            kept.append(model)
    return [names[m] if m in kept else "" for m in frame["model"]]


def sentence(shown: Board) -> str:
    """How many places the bench gets right, and who moves farthest."""
    frame = points(shown)
    moved = frame.filter("sure").sort("climbed")
    if not moved.height:
        return f"No model of {number(frame.height)} surely leaves its bench place; bars are 90% intervals of places."
    up, down = moved.filter(pl.col("climbed") > 0).reverse(), moved.filter(pl.col("climbed") < 0)
    parts = []
    for part, word in ((up, "climb"), (down, "fall")):
        who = [f"{r['name']} ({r['bench_rank']:.0f} to {r['rank']:.0f})" for r in part.head(2).iter_rows(named=True)]
        if who:
            rest = part.height - len(who)
            also = f" (and {plural(rest, 'other')} {verb(rest, word + 's', word)})" if rest else ""
            parts.append(f"{join(who)} {verb(len(who), word + 's', word)}{also}")
    return (
        f"Of {plural(frame.height, 'model')}, {moved.height:,} surely {verb(moved.height, 'leaves its', 'leave their')} "
        f"bench place (the 90% intervals of the two places lie apart): {', '.join(parts)}. On the line a place is kept; "
        "above it a model climbs."
    )


def chart(shown: Board) -> alt.LayerChart:
    """Bench place to the right, place under the law upwards, the best in the upper left."""
    import altair as alt

    frame = points(shown)
    count = int(max(frame["bench_rank"].max() or 1, shown.rows.height))  # pyright: ignore[reportArgumentType]
    size, opacity = next((s, o) for most, s, o in SIZES if frame.height <= most)
    edge = max(0.5, count * 0.015)
    x = alt.X(
        "bench_place:Q",
        title="place on the bench",
        scale=alt.Scale(domain=[1 - edge, count + edge], nice=False),
        axis=alt.Axis(tickCount=6, format="d", grid=False, labelExpr=FROM_ONE),
    )
    scale = alt.Scale(domain=[1 - edge, count + edge], nice=False, reverse=True)
    y = alt.Y(
        "place:Q",
        title="place under the deployment law",
        scale=scale,
        axis=alt.Axis(tickCount=6, format="d", labelExpr=FROM_ONE),
    )
    every = {"deployed": ("neutral", "circle"), "forecast": ("muted", "diamond"), "incumbent": ("ink", "square")}
    kinds = [kind for kind in every if kind in frame["kind"]]  # a legend names what is drawn
    looks, marks = [LIGHT[every[kind][0]] for kind in kinds], [every[kind][1] for kind in kinds]
    legend = alt.Legend(title=None, orient="top") if len(kinds) > 1 else None
    colour = alt.Color("kind:N", scale=alt.Scale(domain=kinds, range=looks), legend=legend)
    shape = alt.Shape("kind:N", scale=alt.Scale(domain=kinds, range=marks), legend=legend)
    columns = [
        "model",
        "name",
        "label",
        "kind",
        "place",
        "bench_place",
        "bench_rank",
        "rank",
        "rank_low",
        "rank_high",
        "group",
    ]
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
    texts = base.encode(y=alt.Y("place:Q"), text=alt.Text("label:N"), color=alt.ColorValue(LIGHT["ink"]))
    named, right = alt.datum.label != "", alt.datum.bench_place > 0.7 * count
    rest, special = alt.datum.kind == "deployed", alt.datum.kind != "deployed"
    layers = [
        kept.mark_line(color=LIGHT["floor"], strokeDash=[3, 3]).encode(x=alt.X("a:Q"), y=alt.Y("b:Q")),
        base.mark_rule(strokeWidth=1.4, opacity=opacity).encode(y=alt.Y("rank_low:Q"), y2=alt.Y2("rank_high:Q")),
        base.transform_filter(rest).mark_point(filled=True, size=size, opacity=0.8).encode(y=y, shape=shape),
        base.transform_filter(special).mark_point(filled=True, size=max(size, 60), opacity=1).encode(y=y, shape=shape),
        texts.transform_filter(named & ~right).mark_text(align="left", baseline="middle", dx=7, fontSize=theme.LABEL - 1),
        texts.transform_filter(named & right).mark_text(align="right", baseline="middle", dx=-7, fontSize=theme.LABEL - 1),
    ]
    return theme.finish(alt.layer(*layers), HEIGHT, sentence(shown))
