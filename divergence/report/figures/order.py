"""Bench order against deployed order: one line a model from its bench level to its deployed level, with intervals."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from divergence.estimate import INTERVAL, Estimate
from divergence.orders import SURE, chance, places_of
from divergence.report.figures import theme
from divergence.report.names import short, spoken
from divergence.report.palette import LIGHT
from divergence.report.reading import higher_is_better, levels, places
from divergence.report.words import amount, capital, join, phrase, plural, scale, verb

if TYPE_CHECKING:
    import altair as alt

MOVES = ["moves up", "keeps its place", "moves down"]
WIDE_NAME, NARROW_NAME = 26, 17  # characters of a name beside its line, on a desktop and on a phone
LINE, LETTER = 16, 6.6  # px between two names, and px of a letter in a wide system font
MOST, FIRST = 16, 3  # models that are drawn: first on the bench, and the first in deployment
DISTANCE = 22  # px between a side and its texts: the bars lie between them
SIDES = ("bench", "deployment")
BARS = f"the bars are {INTERVAL:.0%} intervals"


def spread(positions: np.ndarray, distance: float) -> np.ndarray:
    """Positions moved as little as an even push allows, so that neighbours are at least `distance` apart."""
    order = np.argsort(positions, kind="stable")
    groups: list[list[float]] = []  # [centre, members] of names that touch
    for value in positions[order]:
        groups.append([float(value), 1])
        while len(groups) > 1 and groups[-1][0] - groups[-2][0] < distance * (groups[-1][1] + groups[-2][1]) / 2:
            centre, members = groups.pop()
            total = groups[-1][1] + members
            groups[-1] = [(groups[-1][0] * groups[-1][1] + centre * members) / total, total]
    placed = np.concatenate([c + distance * (np.arange(n) - (n - 1) / 2) for c, n in groups]) if groups else positions
    result = np.empty(len(positions))
    result[order] = placed
    return result


def moves(bench: Estimate, deployed: Estimate) -> pl.DataFrame:
    """One row a model, in bench order: medians, intervals, places on both sides, and how its place moves."""
    known = levels(bench, deployed)
    before = np.arange(1, len(known.models) + 1)
    after = places(known.second["median"].to_numpy(), higher_is_better(deployed))
    columns: dict[str, object] = {"model": known.models, "before": before, "after": after}
    for side, frame in zip(SIDES, (known.first, known.second), strict=True):
        columns |= {f"{side}_{n}": frame[n] for n in ("median", "lower", "upper")}
        columns[f"{side}_words"] = [phrase(row) for row in frame.iter_rows(named=True)]
        columns[f"{side}_short"] = [
            amount(row["median"], row["unit"], row["upper"] - row["lower"]) for row in frame.iter_rows(named=True)
        ]
    move = np.sign(before - after)
    return pl.DataFrame(columns).with_columns(move=pl.Series([MOVES[1 - int(m)] for m in move], dtype=pl.String))


def sentence(bench: Estimate, deployed: Estimate) -> str:
    """What the figure shows: who climbs, who falls, who keeps the place, as far as the joint draws of both orders tell."""
    frame = moves(bench, deployed)
    names = spoken(frame["model"])
    if frame.height == 1:
        row = frame.row(0, named=True)
        return (
            f"The level of {row['model']} is {row['bench_words']} on the bench and {row['deployment_words']} in "
            f"deployment; {BARS}."
        )
    up, down = moving(bench, deployed)
    known = frame.with_columns(up=pl.Series(up), down=pl.Series(down))
    parts = []
    for way, word in (("up", "climb"), ("down", "fall")):
        moved = known.filter(pl.col(way) >= SURE).sort(way, descending=True, maintain_order=True)
        who = [f"{names[row['model']]} ({chance(row[way])})" for row in moved.iter_rows(named=True)]
        if who:
            parts.append(f"{join(who, 3)} {verb(len(who), word + 's', word)}")
    same = known.filter(1 - pl.col("up") - pl.col("down") >= SURE).height
    parts += [f"{plural(same, 'model')} {verb(same, 'keeps its', 'keep their')} place"] if same else []
    open_ = known.filter(pl.max_horizontal("up", "down", 1 - pl.col("up") - pl.col("down")) < SURE).height
    left = f"whether {plural(open_, 'model')} {verb(open_, 'changes', 'change')} place is not settled" if open_ else ""
    drawn = f" Drawn are {MOST} of {frame.height}, by their medians on the bench." if frame.height > MOST else ""
    told = "; ".join([*([f"From bench to deployment {', '.join(parts)}"] if parts else []), *([left] if left else [])])
    return f"{capital(told)}; {BARS}.{drawn}" if not parts else f"{told}; {BARS}.{drawn}"


def moving(bench: Estimate, deployed: Estimate) -> tuple[np.ndarray, np.ndarray]:
    """Probability of each model, in bench order, to stand higher and to stand lower in deployment than on the bench."""
    known = levels(bench, deployed)
    before = places_of(known.first_draws, higher_is_better(bench))
    after = places_of(known.second_draws, higher_is_better(deployed))
    return (after < before).mean(0), (after > before).mean(0)


def _ends(frame: pl.DataFrame, unit_scale: float, height: int) -> pl.DataFrame:
    """Two rows a model, one for each end of its line, with names placed so that they do not overlap."""
    low = min(frame[f"{side}_lower"].to_numpy().min() for side in SIDES) * unit_scale
    high = max(frame[f"{side}_upper"].to_numpy().max() for side in SIDES) * unit_scale
    sway = (np.arange(frame.height) - (frame.height - 1) / 2) * min(4.0, 24 / frame.height)
    wide, narrow = short(frame["model"], WIDE_NAME), short(frame["model"], NARROW_NAME)
    arrows = {MOVES[0]: " ▲", MOVES[1]: "", MOVES[2]: " ▼"}
    ends = []
    for side, place in zip(SIDES, ("before", "after"), strict=True):
        label = spread(frame[f"{side}_median"].to_numpy() * unit_scale, LINE * (high - low) / height)
        for k, row in enumerate(frame.iter_rows(named=True)):
            arrow = arrows[row["move"]] if side == SIDES[1] else ""
            ends.append(
                {
                    "side": side,
                    "model": row["model"],
                    "move": row["move"],
                    "sway": float(sway[k]),
                    "label": label[k],
                    **{n: row[f"{side}_{n}"] * unit_scale for n in ("median", "lower", "upper")},
                    "words": row[f"{side}_words"],
                    "place": row[place],
                    "left": f"{row[place]}  {row[f'{side}_short']}",
                    "wide": f"{row[place]}  {wide[row['model']]}  {row[f'{side}_short']}{arrow}",
                    "narrow": f"{row[place]} {narrow[row['model']]}{arrow}",
                }
            )
    return pl.DataFrame(ends)


def _sides(ends: pl.DataFrame) -> alt.X:
    """The two sides, with room for names at the right and for numbers at the left, less of both on a phone."""
    import altair as alt

    narrow = f"width < {theme.NARROW}"
    wide_room = LETTER * max(map(len, ends["wide"])) + DISTANCE
    narrow_room = LETTER * max(map(len, ends["narrow"])) + DISTANCE
    room = [
        alt.ExprRef(f"{narrow} ? 70 : 78"),
        alt.ExprRef(f"width - ({narrow} ? {narrow_room:.0f} : {wide_room:.0f})"),
    ]
    axis = alt.Axis(
        orient="top",
        title=None,
        labelAngle=0,
        labelFontSize=13,
        labelFontWeight="bold",
        labelPadding=10,
        labelFlush=False,
        labelAlign="center",
        labelColor=LIGHT["ink"],
        grid=False,
        labelExpr="datum.value == 'bench' ? 'Bench' : 'Deployment'",
    )
    return alt.X("side:N", scale=alt.Scale(type="point", domain=list(SIDES), range=room, padding=0), axis=axis)


def _names(base: alt.Chart, side: str) -> alt.Chart:
    """The texts at one side: place and level at the left, place, name and level at the right."""
    import altair as alt

    left = side == SIDES[0]
    text = "datum.left" if left else f"width < {theme.NARROW} ? datum.narrow : datum.wide"
    mark = base.transform_filter(alt.datum.side == side).mark_text(
        align="right" if left else "left", dx=-DISTANCE if left else DISTANCE, baseline="middle", text=alt.ExprRef(text)
    )
    return mark.encode(y=alt.Y("label:Q", axis=None), color=alt.ColorValue(LIGHT["ink"]))


def chart(bench: Estimate, deployed: Estimate) -> alt.LayerChart:
    """Slopes from bench level to deployed level, with the names at the deployed end."""
    import altair as alt

    frame = moves(bench, deployed)
    frame = frame.filter((pl.col("before") <= MOST) | (pl.col("after") <= FIRST))
    height = max(200, 40 * frame.height)
    unit_scale = scale(bench.unit)
    ends = _ends(frame, unit_scale, height)
    lines = frame.with_columns(
        start=pl.lit(SIDES[0]),
        end=pl.lit(SIDES[1]),
        y=pl.col("bench_median") * unit_scale,
        y2=pl.col("deployment_median") * unit_scale,
    )
    look = [LIGHT["gain"], LIGHT["neutral"], LIGHT["loss"]]
    colour = alt.Color("move:N", legend=None, scale=alt.Scale(domain=MOVES, range=look))
    dash = alt.StrokeDash("move:N", legend=None, scale=alt.Scale(domain=MOVES, range=[[1, 0], [1, 0], [5, 3]]))
    base = alt.Chart(ends).encode(
        x=_sides(ends),
        color=colour,
        tooltip=[
            alt.Tooltip("model:N"),
            alt.Tooltip("side:N", title="where"),
            alt.Tooltip("place:O", title="place"),
            alt.Tooltip("words:N", title=f"level ({INTERVAL:.0%} interval)"),
        ],
    )
    slopes = (
        alt.Chart(lines)
        .mark_rule(strokeWidth=1.8)
        .encode(
            x=alt.X("start:N"),
            x2=alt.X2("end:N"),
            y=alt.Y("y:Q", axis=None),
            y2=alt.Y2("y2:Q"),
            color=colour,
            strokeDash=dash,
            tooltip=[
                alt.Tooltip("model:N"),
                alt.Tooltip("bench_words:N", title="bench"),
                alt.Tooltip("deployment_words:N", title="deployment"),
                alt.Tooltip("move:N", title="place"),
            ],
        )
    )
    y = alt.Y(
        "median:Q", axis=None, scale=alt.Scale(zero=False, nice=False, padding=14, reverse=not higher_is_better(bench))
    )
    bars = base.mark_rule(strokeWidth=3, opacity=0.45, xOffset=alt.ExprRef("datum.sway"))
    layers = [
        slopes,
        bars.encode(y=alt.Y("lower:Q", axis=None), y2=alt.Y2("upper:Q")),
        base.mark_point(filled=True, size=52, opacity=1).encode(y=y),
        _names(base, SIDES[0]),
        _names(base, SIDES[1]),
    ]
    return theme.finish(alt.layer(*layers), height, sentence(bench, deployed))
