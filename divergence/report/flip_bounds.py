"""What one run a side tells of items that change sides: not how many, but between which two numbers."""

from __future__ import annotations

import polars as pl

from divergence.report import tables
from divergence.report.blocks import Block, Table, Text
from divergence.report.content import PageContent
from divergence.report.names import spoken
from divergence.report.words import phrase, plural

LEAST, MOST = "lower_bound", "upper_bound"
PLACE = ("model", "context", "context_b")


def bounds(content: PageContent) -> pl.DataFrame:
    """One row a model and pair of contexts without a noise floor: texts `least` and `most`; empty where there is none."""
    answer = content.estimates.get("excess_flips")
    if answer is None:
        return pl.DataFrame(schema=dict.fromkeys((*PLACE, "least", "most"), pl.String))
    rows = answer.to_frame().filter(pl.col("statistic").is_in([LEAST, MOST]) & pl.col("median").is_not_null())
    text = pl.Series([phrase(row) for row in rows.iter_rows(named=True)], dtype=pl.String)
    rows = rows.select(*PLACE, "statistic", text=text)
    least, most = (rows.filter(statistic=name).drop("statistic") for name in (LEAST, MOST))
    joined = least.rename({"text": "least"}).join(
        most.rename({"text": "most"}), on=list(PLACE), nulls_equal=True, maintain_order="left"
    )
    return joined.select(*PLACE, "least", "most")


def blocks(content: PageContent) -> tuple[Block, ...]:
    """The bounds in a sentence and, where there are several, all of them as a table to open."""
    found = bounds(content)
    if not found.height:
        return ()
    names = spoken([*found["context"].drop_nulls(), *found["context_b"].drop_nulls()])
    model, first, second, least, most = found.row(0)
    lead = "For example of" if found.height > 1 else "Of"
    sentence = (
        f"{lead} the scores of {model} between {names[first]} and {names[second]}, at least {least} and at most {most} "
        "change beyond what repeating a request changes."
    )
    told = Text(sentence, "notice", "Bounds:")
    if found.height == 1:
        return (told,)
    shown = found.with_columns(
        **{name: pl.Series([names[value] for value in found[name]], dtype=pl.String) for name in PLACE[1:]}
    )
    labels = {"context_b": "against", "least": "at least", "most": "at most"}
    table = tables.fragment(tables.plain(shown, labels, ["least", "most"]))
    return (told, Table(table, f"Bounds of {plural(found.height, 'comparison')}.", "Between which numbers"))
