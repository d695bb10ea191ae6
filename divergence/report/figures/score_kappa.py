"""Score against its spread: is the model that leads on the bench also the one whose level holds in every context?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from divergence.estimate import INTERVAL, Estimate
from divergence.orders import first
from divergence.report.figures import theme
from divergence.report.names import short, spoken
from divergence.report.palette import LIGHT
from divergence.report.reading import higher_is_better, levels
from divergence.report.words import axis_title, phrase, scale

if TYPE_CHECKING:
    import altair as alt

NUMBERED = 24  # models that are named by their number
HEIGHT = 260  # px
NAME = 24  # characters of the name beside its point
LETTER, LINE = 7.4, 15  # px, width of a letter and height of a line in a wide system font
PLOT = 500  # px, a plot below this width shows numbers in place of names; names are placed for it
PHONE = 250  # px, the part of a plot on a phone that points lie in; numbers are placed for it
ROOM = 1.08  # the axis of the spread goes this far beyond the largest one
CORNERS = [(x, y * step) for step in (1, 2, 3) for y in (-1, 1) for x in (1, -1)]  # where a name may stand


def _points(score: Estimate, kappa: Estimate) -> pl.DataFrame:
    """One row a model with both numbers, in shown units, and the texts of the tooltip."""
    known = levels(score, kappa)
    columns: dict[str, object] = {"model": known.models, "number": [str(k + 1) for k in range(len(known.models))]}
    for axis, frame, unit in (("score", known.first, score.unit), ("kappa", known.second, kappa.unit)):
        columns |= {f"{axis}_{n}": frame[n] * scale(unit) for n in ("median", "lower", "upper")}
        columns[f"{axis}_words"] = [phrase(row) for row in frame.iter_rows(named=True)]
    return pl.DataFrame(columns)


def _where(score: Estimate) -> str:
    return "in deployment" if score.question == "deployed_level" else "on the bench"


def sentence(score: Estimate, kappa: Estimate) -> str:
    """Whose level moves least and most between deployment contexts, as far as the draws tell."""
    known = levels(score, kappa)
    rows, names = known.second.to_dicts(), spoken(known.models)
    if len(rows) == 1:
        return (
            f"Between deployment contexts the level of {names[known.models[0]]} moves by {phrase(rows[0])}, one standard "
            "deviation over contexts."
        )
    shown = [names[model] for model in known.models]
    least, most = (first(known.second_draws, highest=highest) for highest in (False, True))
    text = f"{least.led('The steadiest between deployment contexts', shown)}, moving by {phrase(rows[least.at])}"
    if most.at != least.at:  # of draws that agree everywhere the first stands for all
        text += f"; {most.led('the least steady', shown)}, by {phrase(rows[most.at])}"
    return f"{text}: one standard deviation over contexts."


def beside(score: Estimate, kappa: Estimate) -> str:
    """What the numbers stand for that replace the names on a narrow screen."""
    models = levels(score, kappa).models
    names = spoken(models)
    listed = ", ".join(f"{k} {names[model]}" for k, model in enumerate(models[:NUMBERED], 1))
    return f"Lines are {INTERVAL:.0%} intervals. On a narrow screen numbers stand for models: {listed}."


def _covers(box: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return box[0] < other[2] and other[0] < box[2] and box[1] < other[3] and other[1] < box[3]


def _placed(points: pl.DataFrame) -> pl.DataFrame:
    """Where each name stands beside its point: at the first corner where it covers no point and no other name.

    A name that fits nowhere is left to the tooltip.
    """
    shown = short(points["model"], NAME)
    low, high, top = points.select(pl.min("score_lower"), pl.max("score_upper"), pl.max("kappa_upper")).row(0)
    across = PLOT / ((high - low) or 1.0)
    down = HEIGHT / (top or 1.0)
    medians = points.select("score_median", "kappa_median").iter_rows()
    spots = [((x - low) * across, HEIGHT - y * down) for x, y in medians]
    taken = [(x - 6, y - 6, x + 6, y + 6) for x, y in spots]
    corners = []
    for (x, y), model in zip(spots, points["model"], strict=True):
        width = LETTER * len(shown[model])

        def box(corner: tuple[int, int], x=x, y=y, width=width) -> tuple[float, ...]:
            left = x + 7 if corner[0] > 0 else x - 7 - width
            middle = y + corner[1] * LINE * 0.75
            return left, middle - LINE / 2, left + width, middle + LINE / 2

        free = [
            c
            for c in CORNERS
            if not any(_covers(box(c), other) for other in taken)
            and box(c)[0] > 0
            and box(c)[2] < PLOT
            and box(c)[3] < HEIGHT
        ]
        corner = free[0] if free else CORNERS[0]
        taken += [box(corner)] if free else []
        corners.append(
            {
                "name": shown[model] if free else "",
                "dx": 7.0 * corner[0],
                "dy": corner[1] * LINE * 0.75,
                "align": "left" if corner[0] > 0 else "right",
            }
        )
    return pl.concat([points, pl.DataFrame(corners)], how="horizontal")


def _numbered(points: pl.DataFrame) -> pl.DataFrame:
    """`tag`: the number beside each point on a narrow screen; none where it would lie on another one or on the axis."""
    low, high, top = points.select(pl.min("score_lower"), pl.max("score_upper"), pl.max("kappa_upper")).row(0)
    across, down = PHONE / ((high - low) or 1.0), HEIGHT / ((top or 1.0) * ROOM)
    taken: list[tuple[float, ...]] = []
    tags = []
    for x, y, number in points.select("score_median", "kappa_median", "number").iter_rows():
        left, middle = (x - low) * across + 6, HEIGHT - y * down + (-9 if int(number) % 2 else 11)
        box = (left, middle - LINE / 2, left + LETTER * len(number), middle + LINE / 2)
        free = box[1] > 0 and box[3] < HEIGHT and not any(_covers(box, other) for other in taken)
        taken += [box] if free else []
        tags.append(number if free else "")
    return points.with_columns(tag=pl.Series(tags, dtype=pl.String))


def chart(score: Estimate, kappa: Estimate) -> alt.LayerChart:
    """Points with both intervals: score to the right, spread over deployment contexts upwards.

    `score` is `bench_level`, or `deployed_level` where the log has no bench.
    """
    import altair as alt

    data = _numbered(_placed(_points(score, kappa)))
    x_title = f"level {_where(score)}, {axis_title(score.unit)}"
    y_title = f"spread over contexts, {axis_title(kappa.unit)}"
    span = alt.Scale(zero=False, nice=False, padding=24, reverse=not higher_is_better(score))
    x = alt.X("score_median:Q", title=x_title, scale=span, axis=alt.Axis(tickCount=6))
    top = float(data.select(pl.max("kappa_upper")).item() or 1.0) * ROOM
    y = alt.Y("kappa_median:Q", title=y_title, scale=alt.Scale(domain=[0, top], nice=False), axis=alt.Axis(tickCount=5))
    tooltip = [
        alt.Tooltip("model:N"),
        alt.Tooltip("number:N", title=f"place {_where(score)}"),
        alt.Tooltip("score_words:N", title=f"level ({INTERVAL:.0%} interval)"),
        alt.Tooltip("kappa_words:N", title="spread"),
    ]
    base = alt.Chart(data).encode(x=x, y=y, tooltip=tooltip)
    bars = base.mark_rule(strokeWidth=1.6, color=LIGHT["neutral"], opacity=0.6)
    narrow = f"width < {PLOT}"
    layers = [
        bars.encode(x=alt.X("score_lower:Q", title=x_title), x2=alt.X2("score_upper:Q")),
        bars.encode(y=alt.Y("kappa_lower:Q", title=y_title), y2=alt.Y2("kappa_upper:Q")),
        base.mark_point(filled=True, size=64, opacity=1, color=LIGHT["ink"]),
        base.mark_text(
            baseline="middle",
            color=LIGHT["ink"],
            dx=alt.ExprRef(f"{narrow} ? 6 : datum.dx"),
            dy=alt.ExprRef(f"{narrow} ? (datum.number % 2 ? -9 : 11) : datum.dy"),
            align=alt.ExprRef(f"{narrow} ? 'left' : datum.align"),
            text=alt.ExprRef(f"{narrow} ? datum.tag : datum.name"),
        ),
    ]
    return theme.finish(alt.layer(*layers), HEIGHT, sentence(score, kappa))
