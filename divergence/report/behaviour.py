"""The section on behaviour: the map, movement beside the change of score, what factors move, what movement explains."""

from __future__ import annotations

import polars as pl

from divergence.estimate import Estimate
from divergence.report import tables
from divergence.report.blocks import Block, Figure, Table, Text
from divergence.report.content import PageContent
from divergence.report.figures import behaviour_map
from divergence.report.names import factor_name, spoken
from divergence.report.silent import LEVEL_MATERIAL
from divergence.report.words import amount, exact, join, number, phrase, plural, span

MOST = 6  # names in a sentence
SMALLEST = 0.01  # a share whose interval ends below it is told in two words
CAPTION = (
    "Squared movement of the answers to the same items against the evaluation, beyond reruns; mean of the models. "
    "1 noise floor = as far as the evaluation's reruns scatter. Another answer = the same as a share of the squared "
    "distance between answers to different items."
)


def section(content: PageContent) -> tuple[Block, ...]:
    """All blocks, or the sentence of what is missing."""
    moved = content.answer("context_displacement")
    if moved is None:
        return (Text(content.reason("context_displacement"), "refusal", "No figure:"),)
    blocks: list[Block] = []
    drawn = content.answer("behaviour_map")
    if drawn is not None:
        numbers = tables.fragment(tables.answers(drawn))
        blocks.append(
            Figure(
                "behaviour-map",
                behaviour_map.chart(drawn),
                behaviour_map.sentence(drawn),
                behaviour_map.beside(drawn),
                numbers,
                tables.caption(drawn),
            )
        )
    rows = judged(moved)
    blocks += [Table(tables.fragment(by_context(rows)), CAPTION), silent(rows)]
    if rows["model"].drop_nulls().n_unique() > 1:
        blocks.append(Table(tables.fragment(by_place(rows)), opened_by="Every model in every context"))
    return (*blocks, *_factors(content.answer("displacement_regression")), *_explained(content))


def judged(moved: Estimate) -> pl.DataFrame:
    """One row a place: movement, share and change of score as result rows, and what they say together."""
    frame = moved.to_frame()
    keys = ["model", "context"]
    by = {
        s: {tuple(r[k] for k in keys): r for r in frame.filter(pl.col("statistic").eq_missing(s)).iter_rows(named=True)}
        for s in (None, "share", "score_change")
    }
    rows = []
    for place, row in by[None].items():
        score = by["score_change"][place]
        rows.append(
            {
                "model": place[0],
                "context": place[1],
                "moved": row,
                "share": by["share"][place],
                "score": score,
                "verdict": verdict(row, score),
                "size": row["median"] if row["median"] is not None else -1.0,
            }
        )
    rows.sort(key=lambda r: -r["size"])
    return pl.DataFrame(
        {
            name: pl.Series([r[name] for r in rows], dtype=kind)
            for name, kind in {"model": pl.String, "context": pl.String, "verdict": pl.String}.items()
        }
        | {name: pl.Series([r[name] for r in rows], dtype=pl.Object) for name in ("moved", "share", "score")}
    )


def verdict(moved: dict, score: dict) -> str:
    """`within the floor`, `silent`, `score open`, `score moves too`, or why nothing is known."""
    if moved["median"] is None:
        return moved["reason"] or "not identified"
    if moved["noise_floor"] is not None and moved["lower"] <= moved["noise_floor"]:
        return "within the floor"
    if score["median"] is None:
        return "no score"
    if not score["lower"] <= 0 <= score["upper"]:
        return "score moves too"
    return "silent" if max(-score["lower"], score["upper"]) < LEVEL_MATERIAL else "score open"


def _written(rows: pl.DataFrame, with_model: bool):
    names = spoken(rows["context"]) | spoken(rows["model"].drop_nulls())
    cells: dict[str, list[str]] = {"context": [names[c] for c in rows["context"]]}
    if with_model:
        cells["model"] = [names[m] for m in rows["model"]]
    cells |= {
        "moved": [_cell(row) for row in rows["moved"]],
        "score": [_cell(row, True) for row in rows["score"]],
        "verdict": rows["verdict"].to_list(),
        "share": [_cell(row | {"unit": "probability"}) for row in rows["share"]],
    }
    labels = {
        "context": "context",
        "model": "model",
        "moved": "moved, floors",
        "score": "score, points",
        "verdict": "together",
        "share": "another answer, %",
    }
    return tables.plain(pl.DataFrame(cells), {k: v for k, v in labels.items() if k in cells}, ("moved", "share", "score"))


def by_context(rows: pl.DataFrame):
    """The mean of the models, a row a context."""
    return _written(rows.filter(pl.col("model").is_null()), False)


def by_place(rows: pl.DataFrame):
    """A row a model and context."""
    return _written(rows.filter(pl.col("model").is_not_null()).head(tables.MOST_NUMBERS), True)


def _cell(row: dict, signed: bool = False) -> str:
    """Median and interval without the unit."""
    if row["median"] is None:
        return ""
    text = amount(row["median"], row["unit"], row["upper"] - row["lower"], signed)
    text = text.removesuffix(" points").removesuffix(" point").removesuffix("%")
    return f"{text} ({span(row['lower'], row['upper'], row['unit'])})"


def silent(rows: pl.DataFrame) -> Text:
    """Where behaviour moves and accuracy is not shown to."""
    places = rows.filter(pl.col("model").is_not_null())
    if not places.height:
        places = rows
    found, open_too = (places.filter(verdict=word) for word in ("silent", "score open"))
    names = spoken(places["context"]) | spoken(places["model"].drop_nulls())
    compared = plural(places.filter(pl.col("verdict") != "no score").height, "comparison")
    if not found.height and not open_too.height:
        return Text(f"not shown in any of {compared} of a model in a context with its evaluation.", label="Silent movement:")
    parts = []
    if found.height:
        listed = join([f"{names[m]} in {names[c]}" for m, c in found.select("model", "context").iter_rows()], MOST)
        parts.append(
            f"in {number(found.height)} of {compared} the answers move beyond the floor while the score stays "
            f"within {exact(LEVEL_MATERIAL, 'fraction')}: {listed}."
        )
    if open_too.height:
        start = "in" if not parts else "In"
        of = f" of {compared}" if not parts else ""
        contexts = join([names[c] for c in open_too["context"].unique(maintain_order=True)], MOST)
        parts.append(
            f"{start} {number(open_too.height)}{of}{' more' if parts else ''} (in {contexts}) the answers move, "
            "the score is not shown to, and its interval is too wide to say that it stays."
        )
    return Text(" ".join(parts), "notice" if found.height else "plain", "Silent movement:")


def _factors(answer: Estimate | None) -> tuple[Block, ...]:
    """Each factor's share of the movement, largest first, with its levels' moves to open."""
    if answer is None:
        return ()
    shares = answer.where(statistic="share").to_frame().sort("median", descending=True)
    told = [
        f"{factor_name(row['factor'])} {phrase(row) if row['upper'] > SMALLEST else 'below 1%'}"
        for row in shares.iter_rows(named=True)
    ]
    text = f"of the movement in the contexts of this log: {join(told, MOST)}."
    return (
        Text(text, label="Shares of the serving factors:"),
        Table(tables.fragment(tables.answers(answer)), tables.caption(answer), opened_by="What each factor level moves"),
    )


def _explained(content: PageContent) -> tuple[Block, ...]:
    """How much of the contexts' effects goes with movement."""
    answer = content.answer("explained_by_displacement")
    if answer is None:
        if "explained_by_displacement" not in content.estimates:
            return ()
        return (Text(content.reason("explained_by_displacement"), "refusal", "Movement and success:"),)
    rows = {row["statistic"]: row for row in answer.to_frame().iter_rows(named=True)}
    share = phrase(rows[None] | {"unit": "probability"})
    slope = phrase(rows["slope"] | {"unit": ""}).replace("  ", " ")
    text = (
        f"{share} of the contexts' squared effects on success goes with movement of the answers; of a mean loss of "
        f"{phrase(rows['gap'])}, movement makes {phrase(rows['gap_with_movement'])}. An answer that moves as far as one "
        f"to another item has its log odds of success changed by {slope}; "
        f"without the error of a displacement it would seem to be {rows['naive_slope']['median']:.2f}."
    )
    return (
        Text(text, label="Movement and success:"),
        Table(tables.fragment(tables.answers(answer)), tables.caption(answer), opened_by="The numbers"),
    )
