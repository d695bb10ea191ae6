"""Gap: how far each model's level in deployment lies from its level on the bench."""

from __future__ import annotations

from typing import TYPE_CHECKING

from divergence.estimate import Estimate
from divergence.report.figures import forest
from divergence.report.names import short, spoken, wrap
from divergence.report.reading import SCORES, identified, reorder
from divergence.report.words import phrase

if TYPE_CHECKING:
    import altair as alt


def rows(gap: Estimate) -> forest.Forest:
    """The gap of every model, the lowest first."""
    frame, draws = reorder(*identified(gap, "model"), "median", descending=False)
    names = short(frame["model"])
    return forest.build(frame, draws, [wrap(names[m]) for m in frame["model"]], frame["model"].to_list())


def summary(gap: Estimate) -> str:
    """How many models lose or gain."""
    if gap.unit not in SCORES:
        told = forest.summary(rows(gap), "model", "fall{s} from bench to deployment", "rise{s} from bench to deployment")
    else:
        told = forest.summary(rows(gap), "model", "lose{s} level in deployment", "gain{s} level in deployment")
    bare = told.startswith("For ")  # nothing before it says of what the interval is, and it also stands on the first screen
    return told.replace("the interval", "the interval of the change from bench to deployment") if bare else told


def sentence(gap: Estimate) -> str:
    """How many models lose or gain, and which most."""
    built = rows(gap)
    if built.frame.height == 1:
        only = built.frame.row(0, named=True)
        return f"From bench to deployment the level of {only['model']} changes by {phrase(only, signed=True)}."
    names = spoken(built.frame["model"])
    far = forest.furthest(built, "The largest change", [names[model] for model in built.frame["model"]])
    return f"{summary(gap)} {far}."


def chart(gap: Estimate) -> alt.LayerChart:
    """Forest of the gaps."""
    return forest.draw(forest.trimmed(rows(gap)), sentence(gap), "model")
