"""Whether the model fits the log, in words and tables: what stands in the diagnostics under the gates of the sampling.

A check beyond its limit is told in a box. The checks are made by the caller; here they only become words.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from divergence.orders import AS_COUNTED
from divergence.report import tables
from divergence.report.blocks import Block, Table, Text
from divergence.report.content import Review
from divergence.report.names import factor_name, spoken
from divergence.report.words import decimal, join, plural, verb

TITLES = {
    "predictive": "Levels like those seen",
    "prior": "What the prior decides",
    "new context": "A context left out",
    "held items": "Items that were not seen",
}
OPENED = {
    "predictive": "The checks, by regime and context",
    "prior": "The scales",
    "new context": "The contexts, held out",
    "held items": "The halves of the items, held out",
}
STATISTICS = {"mean": "mean over models", "spread": "variance over models", "chi_square": "distance of all levels"}
LABELS = {
    "predictive": {
        "regime": "regime",
        "context": "context",
        "statistic": "what",
        "observed": "seen",
        "mean": "model",
        "lower": "5 %",
        "upper": "95 %",
        "p": "p",
    },
    "prior": {"scale": "scale", "levels": "levels", "prior": "prior", "likelihood": "data", "verdict": "verdict"},
    "new context": {
        "context": "context",
        "arms": "levels",
        "covered": "inside, %",
        "rmse": "error",
        "rmse_bench": "error of the bench",
        "elpd": "log density",
        "gain": "gain over the bench",
        "pit": "p",
        "k_hat": "k-hat",
        "refitted": "drawn again",
    },
    "held items": {
        "half": "half",
        "items": "items in the fit",
        "effects": "effects",
        "rmse_fit": "error of the fit, points",
        "rmse_paired": "of paired means",
        "rmse_additive": "of their mean over models",
        "covered": "inside, %",
        "bench": "error of the bench level",
        "bench_raw": "of the raw one",
        "rmse_level": "error of levels in deployment",
        "rmse_level_raw": "of the raw ones",
    },
}
CAPTIONS = {
    "predictive": "On the link scale; p is the share of replications above what was seen.",
    "prior": "How far the posterior of each standard deviation moves when its prior, or the data, are given more weight.",
    "new context": "Each context predicted from all others by the terms of the fit, with the levels of its factors, on the "
    "link scale; log densities in nats. A new context of which nothing is known has a wider law, which this does not judge.",
    "held items": "Made of one half of the items, judged on the other; errors are root mean squares, in points.",
}
POINTS = ("rmse_fit", "rmse_paired", "rmse_additive", "bench", "bench_raw", "rmse_level", "rmse_level_raw")
LEFT = ("regime", "context", "statistic", "scale", "verdict", "refitted")


def blocks(reviews: Sequence[Review]) -> tuple[Block, ...]:
    """A sentence or two a check, boxed where it is beyond its limit, and the numbers to open."""
    out: list[Block] = []
    for review in reviews:
        text, warns = verdict(review)
        out.append(Text(text, "notice" if warns else "plain", f"{title(review)}:"))
        if review.rows.height and not review.outcome:
            texts, labels, right = written(review)
            out.append(Table(tables.fragment(tables.plain(texts, labels, right)), opened_by=OPENED[review.kind]))
    return tuple(out)


def title(review: Review) -> str:
    """What is checked, of which outcome."""
    return TITLES[review.kind] + (f" ({review.outcome})" if review.outcome else "")


def written(review: Review) -> tuple[pl.DataFrame, dict[str, str], list[str]]:
    """The rows as text, headings, and the columns of numbers."""
    labels, names = LABELS[review.kind], _names(review)
    frame = review.rows.select(
        pl.lit("").alias(column)
        if review.rows[column].is_null().all()
        else pl.col(column).replace(names)
        if column == "context"
        else pl.col(column).replace(STATISTICS)
        if column == "statistic"
        else pl.col(column).map_elements(lambda value, column=column: _cell(column, value), return_dtype=pl.String)
        for column in labels
    )
    return frame, labels, [column for column in labels if column not in LEFT]


def _names(review: Review) -> dict[str, str]:
    return spoken(review.rows["context"].drop_nulls()) if "context" in review.rows.columns else {}


def _cell(column: str, value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else ""
    if column in POINTS:
        return decimal(100 * float(str(value)), 1)
    if isinstance(value, float):
        return decimal(100 * value, 0) if column == "covered" else decimal(value, 3 if column in ("p", "prior") else 2)
    return str(value)


def verdict(review: Review) -> tuple[str, bool]:
    """What a check found, and is it beyond its limit?"""
    if review.reason or not review.rows.height:
        return f"Not checked: {review.reason or 'there is nothing to check'}.", False
    told = {"predictive": _predictive, "prior": _prior, "new context": _new_context, "held items": _held_items}
    return told[review.kind](review)


def _predictive(review: Review) -> tuple[str, bool]:
    rows, names = review.rows, _names(review)
    rows = rows.with_columns(tail=pl.min_horizontal("p", 1 - pl.col("p"))).sort("tail")
    extreme = rows.filter("extreme").height

    def told(row: dict) -> str:
        where = f" in {names[row['context']]} ({row['regime']})" if row["context"] is not None else ""
        return f"the {STATISTICS[row['statistic']]}{where}, p = {decimal(row['p'], 3)}".replace("p = 0.000", "p below 0.001")

    limit = f"p beyond {100 * review.numbers['limit']:g}% on either side"
    if not extreme:
        return (
            f"The model produces levels like those seen: none of {plural(rows.height, 'check')} is extreme ({limit}). "
            f"{AS_COUNTED.capitalize()}, the nearest to it is {told(rows.row(0, named=True))}."
        ), False
    worst = [told(row) for row in rows.head(3).filter("extreme").iter_rows(named=True)]
    return (
        f"{plural(extreme, 'check')} of {rows.height} {verb(extreme, 'is', 'are')} extreme ({limit}): the model does "
        f"not produce {join(worst)}. What rests on these levels may be off."
    ), True


def _scale(name: str) -> str:
    """A scale of the model in words: the mean effects of a factor, or the models' own."""
    kind, _, factor = name.partition(":")
    told = {"beta": "the effects of {}", "gamma": "the models' own effects of {}"}.get(kind)
    return told.format(factor_name(factor)) if told and factor else name


def _prior(review: Review) -> tuple[str, bool]:
    rows = review.rows
    named = {
        kind: [
            f"{_scale(row['scale'])} ({plural(row['levels'], 'level')})"
            for row in rows.filter(verdict=kind).sort("prior", descending=True).iter_rows(named=True)
        ]
        for kind in ("weak data", "both")
    }
    count = sum(map(len, named.values()))
    limit = f"power-scaling distance above {review.numbers['limit']:g}"
    if not count:
        return f"The declared width of none of {plural(rows.height, 'scale')} matters ({limit}).", False
    parts = [f"the data say little of {join(named['weak data'])}"] * bool(named["weak data"])
    parts += [f"of {join(named['both'])} the data speak, too"] * bool(named["both"])
    return (
        f"The declared prior of {count} of {plural(rows.height, 'scale')} moves the scale's posterior ({limit}): "
        f"{'; '.join(parts)}. Intervals for levels that were not seen rest on it."
    ), False


def _new_context(review: Review) -> tuple[str, bool]:
    rows, names = review.rows, _names(review)
    inside = float((rows["covered"] * rows["arms"]).sum()) / float(rows["arms"].sum())
    worst = rows.sort("elpd").row(0, named=True)
    levels = plural(int(rows["arms"].sum()), "level")
    text = (
        f"Each predicted from the others, {100 * inside:.0f}% of {levels} lie inside their 90% intervals. "
        f"{AS_COUNTED.capitalize()}, the worst is {names[worst['context']]} ({100 * worst['covered']:.0f}% inside, off by "
        f"{decimal(worst['rmse'], 2)} on the link scale)."
    )
    if "gain" in review.numbers:
        places = 0 if abs(review.numbers["gain_error"]) >= 10 else 1
        text += (
            f" Against taking the bench for the new context, the log density changes by "
            f"{decimal(review.numbers['gain'], places, signed=True)} ± {decimal(review.numbers['gain_error'], places)} nats."
        )
    doubtful = rows.filter(~pl.col("trusted")).height
    if doubtful:
        text += (
            f" Of {plural(doubtful, 'context')} the prediction itself is not reliable (k-hat at least "
            f"{review.numbers['limit']:g})."
        )
    return text, bool(doubtful)


def _held_items(review: Review) -> tuple[str, bool]:
    rows, numbers = review.rows, review.numbers
    plain = {name: numbers[name] for name in ("paired", "additive") if name in numbers}
    best = min(plain.values())
    ratio = numbers["fit"] / best if best > 0 else 1.0
    how = "better than" if ratio < 1 / numbers["limit"] else "worse than" if ratio > numbers["limit"] else "as well as"
    words = {"paired": "plain paired means", "additive": "their mean over the models"}
    against = join([f"{decimal(100 * value, 1)} points for {words[name]}" for name, value in plain.items()])
    inside = float(np.average(rows["covered"].to_numpy(), weights=rows["effects"].to_numpy()))
    text = (
        f"On held-out items this fit predicts context effects {how} plain means: made of one half of the items and judged "
        f"on the other it is off by {decimal(100 * numbers['fit'], 1)} points (root mean square, the noise of the judging "
        f"half included), against {against}. {100 * inside:.0f}% of the held-out effects lie inside their 90% intervals."
    )
    behind = False
    if {"level", "level_raw"} <= set(numbers):
        ours, raw = numbers["level"], numbers["level_raw"]
        behind = ours > numbers["limit"] * raw
        text += (
            f" Levels in deployment are off by {decimal(100 * ours, 1)} points, the plain means of the same items by "
            f"{decimal(100 * raw, 1)}{': for a level the plain mean is the better guess' * behind}."
        )
    return text, ratio > numbers["limit"] or behind
