"""Effects of contexts: how far the level in each deployed context lies from the bench."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from divergence.estimate import Estimate
from divergence.report.figures import forest
from divergence.report.names import short, spoken, wrap
from divergence.report.reading import identified, reorder
from divergence.report.words import phrase

if TYPE_CHECKING:
    import altair as alt


def rows(context_effect: Estimate) -> forest.Forest:
    """The effect of every context over models (on the one model, where there is one), the lowest first."""
    frame, draws = identified(context_effect, "model")
    over = frame["model"].is_null() & frame["context"].is_not_null()
    if not over.any() and frame["model"].n_unique() == 1:
        over = frame["context"].is_not_null()
    frame, draws = reorder(frame.filter(over), draws[:, over.to_numpy()], "median", descending=False)
    names = short(context_effect.rows["context"].drop_nulls()) if "context" in context_effect.rows.columns else {}
    return forest.build(frame, draws, [wrap(names[c]) for c in frame["context"]], frame["context"].to_list())


def sentence(context_effect: Estimate) -> str:
    """How many contexts lower or raise the level, and which is furthest from the bench."""
    built = rows(context_effect)
    names = spoken(context_effect.rows["context"].drop_nulls())
    shown = [names[context] for context in built.frame["context"]]
    what = "it" if built.unit not in forest.SHARES else "the level"
    if built.frame.height == 1:
        return f"Against the bench: {shown[0]}, {phrase(built.frame.row(0, named=True), signed=True)}."
    far = forest.furthest(built, "Furthest from the bench", shown)
    return f"{forest.summary(built, 'context', f'lower{{s}} {what}', 'raise{s} it')} {far}."


def chart(context_effect: Estimate) -> alt.LayerChart:
    """Forest of the contexts."""
    return forest.draw(forest.trimmed(rows(context_effect)), sentence(context_effect), "context")


def models(context_effect: Estimate) -> int:
    """How many models the effects are told apart by."""
    frame, _ = identified(context_effect, "model")
    return frame.filter(pl.col("context").is_not_null())["model"].drop_nulls().n_unique()
