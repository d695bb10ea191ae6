"""What changed since the earlier report: in words, one figure, all numbers."""

from __future__ import annotations

import dataclasses

import polars as pl

from divergence.estimate import INTERVAL
from divergence.report import tables
from divergence.report.blocks import Block, Figure, Listing, Table, Text
from divergence.report.changes import Changes
from divergence.report.figures import forest
from divergence.report.names import short, spoken
from divergence.report.words import amount, capital, number, outcome_name, phrase, verb

MOST_TOLD = 6  # changes that are told in words; the table has all of them
DRAWN = ("deployed_level", "bench_level")  # which levels the figure shows: the first that both reports have


def blocks(changes: Changes) -> tuple[Block, ...]:
    """The section; its first text stands open."""
    rows = changes.rows.with_columns(
        of_change=pl.when(pl.col("unit") == "probability").then(pl.lit("fraction")).otherwise(pl.col("unit"))
    )
    told, figure = _told(changes, rows), _figure(rows)
    blocks: list[Block] = [dataclasses.replace(figure, sentence=f"{told} {figure.sentence}") if figure else Text(told)]
    moved = rows.filter((pl.col("outer_lower") > 0) | (pl.col("outer_upper") < 0))
    if moved.height:
        names = spoken(moved["model"].drop_nulls())
        shown = moved.head(MOST_TOLD).iter_rows(named=True)
        blocks.append(Listing(tuple((_name(row, names), _in_words(row)) for row in shown)))
    blocks += [Text(fact) for fact in changes.facts]
    if rows.height:
        note = (
            f"Change with the {INTERVAL:.0%} limits of a difference of independent estimates (Zou and Donner 2008); where "
            "the two reports share rows or items they are wider than need be."
        )
        blocks.append(Table(tables.fragment(_table(rows)), note, "The numbers"))
    return tuple(blocks)


def _told(changes: Changes, rows: pl.DataFrame) -> str:
    """How many numbers changed by more than chance explains, and how large a change could hide."""
    if not rows.height:
        return f"The report in {changes.name} and this one hold no level, gap or cost of the same model in the same unit."
    same = "Both reports were made from the same data: what differs comes from declarations, seeds or versions. "
    told = same if changes.same_data else ""
    count = rows.filter((pl.col("outer_lower") > 0) | (pl.col("outer_upper") < 0)).height
    of = "the one number" if rows.height == 1 else f"{number(rows.height)} numbers"
    if count:
        verbs = verb(count, "changes", "change")
        return (
            f"{told}{capital(number(count))} of {of} that both reports hold {verbs} by more than chance explains, "
            f"judged for all at once with {INTERVAL:.0%}."
        )
    levels = rows.filter(pl.col("of_change") == "fraction")
    told += f"Of {of} that both reports hold none changes by more than chance explains, judged for all at once."
    if levels.height:
        widest = max(-levels["outer_lower"].to_numpy().min(), levels["outer_upper"].to_numpy().max())
        told += f" That leaves room: a change of up to {amount(widest, 'fraction', widest)} of some level is not excluded."
    return told


def _name(row: dict, names: dict[str, str]) -> str:
    of = f" of {outcome_name(row['outcome'])}" if row["of_change"] != "fraction" else ""
    parts = [str(row["question"]).replace("_", " ") + of]
    parts += [names.get(row["model"], str(row["model"]))] if row["model"] else []
    return capital(", ".join([*parts, *(str(row[name]) for name in ("context", "task", "statistic") if row[name])]))


def _in_words(row: dict) -> str:
    was, now = (amount(row[name], row["unit"], row["upper"] - row["lower"]) for name in ("before", "now"))
    return f"{was} then, {now} now: {phrase(row | {'unit': row['of_change']}, signed=True)}."


def _figure(rows: pl.DataFrame) -> Figure | None:
    """The forest of what the models' levels changed by."""
    others = [name for name in ("context", "task", "statistic") if name in rows.columns]
    for question in DRAWN:
        mine = rows.filter(pl.col("question") == question, pl.col("of_change") == "fraction", pl.col("model").is_not_null())
        mine = mine.filter(pl.all_horizontal(pl.col(name).is_null() for name in others)).sort("median", "model")
        if mine.height > 1:
            break
    else:
        return None
    names = short(mine["model"])
    sign = pl.when(pl.col("upper") < 0).then(pl.lit(forest.SIGNS[0])).when(pl.col("lower") > 0).then(pl.lit(forest.SIGNS[2]))
    built = forest.Forest(
        mine.with_columns(
            name=pl.Series([names[model] for model in mine["model"]], dtype=pl.String),
            full=pl.col("model"),
            sign=sign.otherwise(pl.lit(forest.SIGNS[1])),
            unit=pl.col("of_change"),
        ),
        "fraction",
    )
    where = "in deployment" if question == "deployed_level" else "on the bench"
    told = f"Drawn: how each model's level {where} changed. " + forest.summary(built, "model", "fall{s}", "rise{s}")
    return Figure("since", forest.draw(forest.trimmed(built), told, "model"), told, forest.beside(built))


def _table(rows: pl.DataFrame):
    names = spoken(rows["model"].drop_nulls())
    frame = rows.head(tables.MOST_NUMBERS)
    texts = pl.DataFrame(
        {
            "name": [_name(row, names) for row in frame.iter_rows(named=True)],
            "before": [_one(row, "before") for row in frame.iter_rows(named=True)],
            "now": [_one(row, "now") for row in frame.iter_rows(named=True)],
            "change": [phrase(row | {"unit": row["of_change"]}, signed=True) for row in frame.iter_rows(named=True)],
        }
    )
    labels = {"name": "number", "before": "then", "now": "now", "change": "change"}
    return tables.plain(texts, labels, ["before", "now", "change"])


def _one(row: dict, name: str) -> str:
    return phrase({"median": row[name], "lower": row[f"{name}_lower"], "upper": row[f"{name}_upper"], "unit": row["unit"]})
