"""What the bench's order is worth: the amplifier, the ranking, and how each level holds over contexts."""

from __future__ import annotations

import numpy as np
import polars as pl

from divergence.estimate import Estimate
from divergence.orders import first_of
from divergence.report import tables
from divergence.report.blocks import Block, Figure, Listing, Table, Text
from divergence.report.content import PageContent
from divergence.report.figures import amplifier
from divergence.report.names import spoken
from divergence.report.reading import identified
from divergence.report.words import amount, capital, phrase

REGIMES = {"evaluation": "on the bench", "deployment": "in deployment"}


def bench_gaps(content: PageContent) -> tuple[Block, ...]:
    """The amplifier with the log's pairs, and what it and the ranking come to."""
    bench, reversal = content.answer("bench_level"), content.answer("reversal")
    confidence = content.estimates.get("gap_for_confidence")
    blocks: list[Block] = []
    if bench is None or reversal is None or confidence is None or not amplifier.curve(reversal).height:
        blocks.append(Text(content.reason("projection_instability"), "refusal", "No figure:"))
    else:
        blocks.append(
            Figure(
                "amplifier",
                amplifier.chart(bench, reversal, confidence),
                amplifier.sentence(bench, reversal, confidence),
                amplifier.beside(bench, reversal, confidence),
                tables.fragment(tables.answers(_headline(confidence))),
                tables.caption(confidence),
            )
        )
    items = [*_line(content), *_observed(content), *_ranking(content)]
    return (*blocks, Listing(tuple(items))) if items else tuple(blocks)


def steady_table(content: PageContent) -> tuple[Block, ...]:
    """How each model's level holds over contexts, to be opened."""
    answer = content.answer("stability")
    if answer is None:
        return ()
    return (
        Table(
            tables.fragment(tables.answers(answer)),
            f"{capital(answer.text)}. {tables.caption(answer)}",
            "How each level holds over contexts",
        ),
    )


def factor_details(answer: Estimate) -> tuple[Block, ...]:
    """What may be read from factor effects, and their shares, matched contrasts and positivity, to be opened."""
    causal = "causal reading" in answer.method
    reading = answer.method.rsplit("; ", 1)[-1]
    blocks: list[Block] = [
        Text(f"{capital(reading)}." if causal else f"Read these as associations, not as causes ({reading}).", "quiet")
    ]
    if ":" in answer.text:
        blocks.append(Text(capital(answer.text.split(": ", 1)[1]) + ".", "quiet"))
    frame = answer.to_frame()
    named = frame.select(pl.col("statistic").is_not_null() & pl.col("model").is_null()).to_series().to_numpy()
    if named.any():
        parts = answer.take(named)
        blocks.append(
            Table(
                tables.fragment(tables.answers(parts)),
                tables.caption(parts),
                "Matched contexts, shares of the variance and their range over orders, positivity",
            )
        )
    return tuple(blocks)


def _headline(confidence: Estimate) -> Estimate:
    """The gap that can be trusted without the rows of single pairs."""
    return confidence.take(
        confidence.rows["model"].is_null().to_numpy()
        if "model" in confidence.rows.columns
        else np.ones(confidence.rows.height, bool),
    )


def _row(answer: Estimate | None, **where: str | None) -> dict | None:
    """The one row with these coordinates, or None where it is not identified."""
    if answer is None:
        return None
    rows = answer.where(**where).to_frame()
    return rows.row(0, named=True) if rows.height and rows["median"][0] is not None else None


def _line(content: PageContent) -> list[tuple[str, str]]:
    apart = _row(content.answer("projection_instability"), statistic=None)
    slope = _row(content.answer("projection_instability"), statistic="beta")
    if apart is None or slope is None:
        return []
    return [
        (
            content.words("projection_instability"),
            f"{phrase(apart)} on average. Of a gap on the bench, {phrase(slope | {'unit': 'ratio'})} of it is expected in "
            "deployment.",
        )
    ]


def _observed(content: PageContent) -> list[tuple[str, str]]:
    answer = content.answer("gap_for_confidence")
    seen, shrink = _row(answer, statistic="g_05_observed"), _row(answer, statistic="lambda", model=None)
    if seen is None or shrink is None:
        return []
    return [
        (
            "A gap as it is observed",
            (
                f"has to be {amplifier.reach(seen)} for the same trust: it holds the bench's own noise, and of a gap "
                f"between two models {phrase(shrink | {'unit': 'probability'})} is theirs (the rest is luck on these items)."
            ),
        )
    ]


def _ranking(content: PageContent) -> list[tuple[str, str]]:
    answer = content.answer("rank_agreement")
    tau = _row(answer, statistic=None)
    regret = _row(answer, statistic="top1_regret")
    if answer is None or tau is None or regret is None:
        return []
    frame = answer.to_frame()
    levels = {"evaluation": content.answer("bench_level"), "deployment": content.answer("deployed_level")}
    models = {regime: identified(level, "model")[0].height if level else 0 for regime, level in levels.items()}
    tied = []
    for regime, where in REGIMES.items():
        known = frame.filter(statistic="p_best", regime=regime)
        shown = spoken(known["model"])
        found = first_of(known["mean"].to_numpy())
        of = f" of the {known.height} in both" if known.height < models[regime] else ""
        names = [shown[model] for model in known["model"]]
        tied.append(found.told(names, f"first {where}{of}", start=not tied))
    return [
        ("Agreement of the two orders", f"Kendall tau {phrase(tau | {'unit': 'ratio'})}: 1 is the same order, 0 none."),
        ("First place", f"{tied[0]}; {tied[1]}."),
        (
            "Taking the bench's leader",
            f"costs {amount(regret['mean'], regret['unit'])} in deployment on average, at most "
            f"{amount(regret['upper'], regret['unit'])} with 95%.",
        ),
    ]
