"""Contexts against each other, for a log without a bench: which of two contexts has the higher level?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from divergence.estimate import Estimate
from divergence.report.figures import forest
from divergence.report.names import short, spoken, wrap
from divergence.report.reading import identified, reorder
from divergence.report.words import of_them, phrase, plural

if TYPE_CHECKING:
    import altair as alt

SIDE = 30  # characters of one of the two names


def rows(context_effect: Estimate) -> forest.Forest:
    """The contrasts of pairs of contexts, the one with the lower level minus the other, furthest apart first."""
    frame, draws = identified(context_effect.where(statistic="contrast"), "statistic")
    turn = pl.col("median") > 0
    draws = np.where((frame["median"] > 0).to_numpy(), -draws, draws)
    frame = frame.with_columns(
        context=pl.when(turn).then("context_b").otherwise("context"),
        context_b=pl.when(turn).then("context").otherwise("context_b"),
        median=-pl.col("median").abs(),
        lower=pl.when(turn).then(-pl.col("upper")).otherwise("lower"),
        upper=pl.when(turn).then(-pl.col("lower")).otherwise("upper"),
    )
    frame, draws = reorder(frame, draws, "median", descending=False)
    names = short([*frame["context"], *frame["context_b"]], SIDE)
    pairs = list(frame.select("context", "context_b").iter_rows())
    shown = [f"{wrap(names[first])}\n− {wrap(names[second])}" for first, second in pairs]
    return forest.build(frame, draws, shown, [f"{first} minus {second}" for first, second in pairs])


def sentence(context_effect: Estimate) -> str:
    """How many pairs can be told apart, alone and all at once, and which lies furthest apart."""
    built = rows(context_effect)
    names = spoken([*built.frame["context"], *built.frame["context_b"]])
    alone, together = forest.excluding_zero(built)
    pairs = [f"{names[a]} minus {names[b]}" for a, b in built.frame.select("context", "context_b").iter_rows()]
    if built.frame.height == 1:
        return f"{pairs[0]} is {phrase(built.frame.row(0, named=True), signed=True)}."
    return (
        f"Of {plural(built.frame.height, 'pair')} of contexts, {of_them(alone)} can be told apart "
        f"when each is taken alone and {of_them(together)} when all must hold at once. "
        f"{forest.furthest(built, 'The largest difference', pairs)}."
    )


def chart(context_effect: Estimate) -> alt.LayerChart:
    """Forest of the pairs."""
    return forest.draw(forest.trimmed(rows(context_effect)), sentence(context_effect), "pair of contexts")
