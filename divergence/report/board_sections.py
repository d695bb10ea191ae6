"""The leaderboard's table and figure on the first screen, and the sections on candidates and on the top of the bench."""

from __future__ import annotations

import numpy as np
import polars as pl

from divergence.estimate import Estimate
from divergence.orders import AS_COUNTED, first
from divergence.report import tables
from divergence.report.blocks import Block, Figure, Listing, Table, Text
from divergence.report.board import NAME, SHOWN, Board, caption, lies, written
from divergence.report.content import PageContent
from divergence.report.figures import places
from divergence.report.names import spoken
from divergence.report.words import amount, chance, join, number, phrase, sentence

MOST_CANDIDATES = 12  # that are told in words; the numbers of all are in the table under them
TOPS = ("10", "20", "50")
SURE = 0.95  # with which `convergence` tells the gap that deployment keeps


def first_screen(shown: Board) -> list[Block]:
    """The table with tied groups as bands, and the figure of places where the bench has one."""
    texts, labels, right = written(shown, SHOWN, NAME)
    shown_table = tables.banded(texts, labels, right, "group")
    blocks: list[Block] = [Table(tables.fragment(shown_table), caption(shown, SHOWN))]
    if places.points(shown).height > 1:
        blocks.append(Figure("places", places.chart(shown), places.sentence(shown)))
    return blocks


def candidates(content: PageContent) -> tuple[Block, ...]:
    """Every candidate in a sentence, then all numbers."""
    answer = content.answer("forecast")
    if answer is None:
        return (Text(content.reason("forecast"), "refusal", "No forecast:"),)
    rows = answer.to_frame().with_row_index("row").filter(pl.col("identified"))
    names = spoken(rows["model"].drop_nulls())
    levels = rows.filter(pl.col("statistic").is_null(), pl.col("context").is_null())
    items = [
        (names[row["model"]], _candidate(row, rows, answer.draws, names))
        for row in levels.head(MOST_CANDIDATES).iter_rows(named=True)
    ]
    carried = rows.filter(pl.col("statistic") == "carried")
    blocks: list[Block] = [Text(f"{sentence(answer.text)}", "quiet"), Listing(tuple(items))]
    if carried.height:
        share = phrase(carried.row(0, named=True) | {"unit": "probability"})
        blocks.append(
            Text(f"Of a lead on the bench {share} is expected in deployment.", "plain", "What a bench lead is worth:")
        )
    shown = answer.take((~answer.rows["statistic"].is_in(["width_after", "settles"]).fill_null(False)).to_numpy())
    return (*blocks, Table(tables.fragment(tables.answers(shown)), tables.caption(shown), "The numbers"))


def _candidate(level: dict, rows: pl.DataFrame, draws: np.ndarray, names: dict[str, str]) -> str:
    """What is forecast for one model."""
    mine = rows.filter(pl.col("model") == level["model"])
    told = [f"{phrase(level)} under the deployment law."]
    beats = mine.filter(pl.col("statistic") == "beats")
    who = [f"{names.get(r['model_b'], r['model_b'])} with {chance(r['mean'])}" for r in beats.iter_rows(named=True)]
    if who:
        told.append(f"It beats {join(who, 3)}.")
    single = mine.filter(pl.col("statistic").is_null(), pl.col("context").is_not_null())
    if single.height > 1:
        worst, labels = first(draws[:, single["row"].to_numpy()], highest=False), spoken(single["context"])
        lowest = worst.led("Its lowest level", [f"in {labels[context]}" for context in single["context"]])
        told.append(f"{lowest}: {phrase(single.row(worst.at, named=True))}.")
    outside = mine.filter(pl.col("statistic") == "outside")["mean"]
    if outside.len() and outside[0] > 0.5:
        told.append(f"On the bench it {lies(outside[0])} outside the range of the others: there the line is an assumption.")
    after = mine.filter(pl.col("statistic") == "width_after", pl.col("level") == "1000")
    if after.height:
        row = after.row(0, named=True)
        now = level["upper"] - level["lower"]
        told.append(
            f"1,000 requests would narrow the interval from {amount(now, 'fraction')} to {amount(row['mean'], 'fraction')}"
            + _settled(mine)
        )
    for statistic, label in (("latency_s", "Latency"), ("cost_per_success", "A success costs")):
        found = mine.filter(pl.col("statistic") == statistic)
        if found.height and found["median"][0] is not None and found["upper"][0] is not None:
            told.append(f"{label} {phrase(found.row(0, named=True))}.")
    return " ".join(told)


def _settled(mine: pl.DataFrame) -> str:
    row = mine.filter(pl.col("statistic") == "settles", pl.col("level") == "1000")
    return f", and settle the order with {chance(row['mean'][0])}." if row.height else "."


def top_of_bench(content: PageContent) -> tuple[Block, ...]:
    """How far the first models of the bench are apart, beside the gap that deployment needs."""
    answer = content.answer("convergence")
    if answer is None:
        return (Text(content.reason("convergence"), "refusal", "Not told:"),)
    rows = answer.to_frame().filter(pl.col("identified"))
    whole = rows.filter(pl.col("task").is_null())
    spans = whole.filter(pl.col("statistic").is_null())
    needed = whole.filter(pl.col("statistic") == "needed")
    items = []
    sizes = [size for size in TOPS if size in set(spans["level"])] or spans["level"].to_list()[-1:]
    for size in sizes:
        row = spans.filter(pl.col("level") == size).row(0, named=True)
        items.append(
            (f"{AS_COUNTED.capitalize()}, the first {number(int(size))} on the bench", _top(row, whole, size, needed))
        )
    table = _table(answer)
    return (Listing(tuple(items)), Table(tables.fragment(tables.answers(table)), tables.caption(table), "The numbers"))


def _top(row: dict, whole: pl.DataFrame, size: str, needed: pl.DataFrame) -> str:
    seen = whole.filter(pl.col("statistic") == "observed", pl.col("level") == size)["median"][0]
    alike = whole.filter(pl.col("statistic") == "alike", pl.col("level") == size)["median"][0]
    told = f"span {phrase(row)} in truth, {amount(seen, row['unit'])} as observed"
    if alike > 0.05:
        told += "; so much is not distinguishable from no spread at all"
    if needed.height and needed["median"][0] is not None:
        known = needed.row(0, named=True) | {"unit": row["unit"]}
        size = phrase(known) if np.isfinite(known["upper"] or np.inf) else amount(known["median"], row["unit"])
        told += f". The lead on the bench that deployment keeps with {SURE:.0%} is {size}"
    return told + "."


def _table(answer: Estimate) -> Estimate:
    keep = (~answer.rows["statistic"].is_in(["undecided"]).fill_null(False)).to_numpy()
    return answer.take(keep)
