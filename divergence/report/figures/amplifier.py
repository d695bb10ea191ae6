"""Saturation amplifier: how likely deployment reverses two models, by their gap on the bench, with the log's own pairs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from divergence.estimate import INTERVAL, Estimate
from divergence.report.figures import theme
from divergence.report.names import spoken
from divergence.report.palette import LIGHT
from divergence.report.reading import identified
from divergence.report.words import amount, axis_title, brief_chance, capital, number, of_them, phrase, plural, scale, verb

if TYPE_CHECKING:
    import altair as alt

HEIGHT = 240  # px
RISK = "chance of the other order, percent"
BEYOND = 2.0  # gaps are shown up to this many times the upper limit of the one that can be trusted: then all is decided


def curve(reversal: Estimate, statistic: str = "curve") -> pl.DataFrame:
    """The risk over the bench gap, in the unit of the outcome and as a fraction; empty where it is not identified."""
    frame = reversal.where(statistic=statistic).to_frame().filter(pl.col("identified"))
    return frame.select(pl.col("level").cast(pl.Float64).alias("gap"), "median", "lower", "upper")


def pairs(bench: Estimate, reversal: Estimate) -> pl.DataFrame:
    """The log's pairs: their bench gap (median) and the probability that deployment reverses them."""
    levels, draws = identified(bench, "model")
    column = {model: k for k, model in enumerate(levels["model"])}
    names = spoken(levels["model"])
    rows = []
    for row in reversal.where(statistic=None).to_frame().filter(pl.col("identified")).iter_rows(named=True):
        difference = draws[:, column[row["model"]]] - draws[:, column[row["model_b"]]]
        first, second = (row["model"], row["model_b"]) if np.median(difference) >= 0 else (row["model_b"], row["model"])
        gap = float(abs(np.median(difference)))
        rows.append(
            {
                "pair": f"{names[first]} above {names[second]}",
                "gap": gap,
                "risk": row["mean"],
                "told": amount(gap, _points(bench.unit)),
                "chance": brief_chance(row["mean"]),
            }
        )
    schema = {"pair": pl.String, "gap": pl.Float64, "risk": pl.Float64, "told": pl.String, "chance": pl.String}
    return pl.DataFrame(rows, schema=schema)


def over_all(reversal: Estimate) -> pl.DataFrame:
    """Of a log whose pairs are too many to list: by bench gap, the share of all pairs that is reversed, and how many have
    that gap; empty of other logs."""
    share, risk = curve(reversal, "pairs"), reversal.where(statistic="all_pairs").to_frame().filter(pl.col("identified"))
    risk = risk.filter(pl.col("level").is_not_null()).select(pl.col("level").cast(pl.Float64).alias("gap"), "mean")
    both = share.select("gap", share="median").join(risk, on="gap").sort("gap")
    return both.select(
        "gap",
        "share",
        pl.col("mean").alias("risk"),
        pair=pl.col("share").map_elements("{:.1%} of all pairs".format, return_dtype=pl.String),
        told=pl.col("gap").map_elements(lambda gap: f"from {100 * gap:.2g} points on", return_dtype=pl.String),
        chance=pl.col("mean").map_elements(brief_chance, return_dtype=pl.String),
    )


def trusted(confidence: Estimate) -> dict | None:
    """The row of the gap that can be trusted, or None where there is no such gap."""
    row = confidence.where(statistic=None, model=None).to_frame().row(0, named=True)
    return row if row["identified"] and row["median"] is not None else None


def reach(row: dict) -> str:
    """A gap with its interval, which may have no upper end: `3.7 points (1.4 to 7.7)`; one of scores ends at their scale."""
    whole = 1.0 if row["unit"] == "fraction" else np.inf
    if row["median"] > whole:
        return f"100 points or more (at least {amount(min(row['lower'], whole), row['unit'])})"
    if row["upper"] is None or row["upper"] > whole:
        return f"{amount(row['median'], row['unit'])} (at least {amount(row['lower'], row['unit'])})"
    return phrase(row)


def sentence(bench: Estimate, reversal: Estimate, confidence: Estimate) -> str:
    """From which gap on the bench can be trusted, and how many of the log's pairs are that far apart."""
    row, seen = trusted(confidence), pairs(bench, reversal)
    if row is None:
        reasons = ", ".join(reason.removesuffix("; no bench gap can be trusted") for reason in confidence.reasons)
        return f"No bench gap of this log can be trusted: {reasons}."
    every = reversal.where(statistic="all_pairs", level=None).to_frame()
    many = bool(every.height) and bool(every["identified"][0])
    which_pairs = f"{plural(seen.height, 'pair')} that are listed" if many else ""
    close = seen.filter(pl.col("gap") < row["median"])
    near = "all" if close.height == seen.height > 1 else number(close.height)
    told = "Every pair of this log lies further apart."
    if close.height:
        unsure = close.filter((pl.col("risk") > 1 - INTERVAL) & (pl.col("risk") < INTERVAL)).height
        which = "all" if unsure == close.height else of_them(unsure)
        told = (
            f"Of {which_pairs or plural(seen.height, 'pair') + ' of this log'} {near} "
            f"{verb(close.height, 'lies', 'lie')} closer together; of {which} of these the order in deployment is open "
            f"(a chance of {1 - INTERVAL:.0%} to {INTERVAL:.0%})."
        )
    if many:
        told += f" Of all pairs deployment reverses {phrase(every.row(0, named=True))}."
    return f"Deployment reverses two models whose bench levels are {reach(row)} apart with a probability of 5%. {told}"


def chart(bench: Estimate, reversal: Estimate, confidence: Estimate) -> alt.LayerChart:
    """The risk with its band, the pairs as points, the gap that can be trusted as a line."""
    import altair as alt

    unit = _points(bench.unit)
    factor, row = scale(unit), trusted(confidence)
    line, every = curve(reversal), over_all(reversal)
    seen = every if every.height else pairs(bench, reversal)
    far = _far(line, seen, row)
    line, seen = _until(line, far), seen.filter(pl.col("gap") <= far)
    x = alt.X(
        "gap:Q",
        title=f"gap on the bench, {axis_title(unit)}",
        axis=alt.Axis(tickCount=6),
        scale=alt.Scale(domain=[0, far * factor], nice=False),
    )
    top = max([0.55, *(seen["risk"] + 0.05), *line["upper"].to_list()])  # nothing leaves the frame
    y = alt.Y(
        "median:Q", title=RISK, axis=alt.Axis(tickCount=5), scale=alt.Scale(domain=[0, 100 * min(top, 1.0)], nice=False)
    )
    shown = line.select(pl.col("gap") * factor, pl.col("median", "lower", "upper") * 100)
    base = alt.Chart(shown).encode(x=x)
    layers = [
        base.mark_area(color=LIGHT["neutral"], opacity=0.16).encode(y=alt.Y("lower:Q", title=RISK), y2=alt.Y2("upper:Q")),
        base.mark_line(color=LIGHT["muted"], strokeWidth=2.2).encode(y=y),
    ]
    single = _until(curve(reversal, "curve_new_context"), far)
    if single.height:
        other = alt.Chart(single.select(pl.col("gap") * factor, pl.col("median") * 100)).encode(x=x, y=y)
        layers.append(other.mark_line(color=LIGHT["neutral"], strokeWidth=1.6, strokeDash=[5, 4]))
    points = alt.Chart(seen.with_columns(pl.col("gap") * factor, median=pl.col("risk") * 100)).encode(
        x=x,
        y=y,
        tooltip=[
            alt.Tooltip("pair:N"),
            alt.Tooltip("told:N", title="bench gap"),
            alt.Tooltip("chance:N", title="reversed in deployment"),
        ],
    )
    if every.height:  # so many pairs are a density: the larger a point, the more of them have that gap
        points = points.encode(size=alt.Size("share:Q", legend=None, scale=alt.Scale(range=[6, 420], zero=True)))
        layers.append(points.mark_point(filled=True, opacity=0.55, color=LIGHT["ink"]))
    else:
        layers.append(points.mark_point(filled=True, size=58, opacity=0.85, color=LIGHT["ink"]))
    if row and row["median"] <= far:
        mark = alt.Chart(pl.DataFrame({"gap": [row["median"] * factor], "text": [f"5%: {amount(row['median'], unit)}"]}))
        left = row["median"] > 0.6 * far
        layers += [
            mark.mark_rule(color=LIGHT["ink"], strokeDash=[2, 3]).encode(x=x),
            mark.mark_text(align="right" if left else "left", dx=-6 if left else 6, baseline="top").encode(
                x=x, y=alt.YValue(4), text=alt.Text("text:N")
            ),
        ]
    return theme.finish(alt.layer(*layers), HEIGHT, sentence(bench, reversal, confidence))


def beside(bench: Estimate, reversal: Estimate, confidence: Estimate) -> str:
    """What the marks mean, what is not drawn, and what of the picture is arithmetic."""
    every = over_all(reversal)
    seen = every if every.height else pairs(bench, reversal)
    further = seen.filter(pl.col("gap") > _far(curve(reversal), seen, trusted(confidence)))
    text = f"Line and band: median and {INTERVAL:.0%} interval over the bench gap; points: " + (
        "shares of all pairs, the larger the more of them have that gap. "
        if every.height
        else "the log's own pairs, at their probability. "
    )
    if curve(reversal, "curve_new_context").height:
        text += "Dashed: in one serving context that is like those of the log but not in it. "
    if further.height and not every.height:
        most = brief_chance(further["risk"].to_numpy().max())
        text += (
            f"{capital(plural(further.height, 'pair'))} further apart {verb(further.height, 'is', 'are')} not drawn "
            f"(reversed with at most {most}). "
        )
    return text + "That the line starts at 50% is arithmetic: equals have no order to keep."


def _far(line: pl.DataFrame, seen: pl.DataFrame, row: dict | None) -> float:
    """The largest gap that is drawn: where all is decided, or the widest pair of the log."""
    widest = max([float(line["gap"][1]), *(seen["gap"] * 1.03)])
    return widest if row is None else min(widest, max(BEYOND * (row["upper"] or widest), float(line["gap"][1])))


def _until(line: pl.DataFrame, far: float) -> pl.DataFrame:
    """The curve up to a gap, ended exactly there."""
    if not line.height:
        return line
    end = {"gap": [far]} | {n: [float(np.interp(far, line["gap"], line[n]))] for n in ("median", "lower", "upper")}
    return pl.concat([line.filter(pl.col("gap") < far), pl.DataFrame(end)])


def _points(unit: str) -> str:
    """The unit of a difference of levels."""
    return "fraction" if unit == "probability" else unit
