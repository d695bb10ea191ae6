"""Drift of the instrument: does a whole measuring campaign lie above or below the others, in every context at once?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from divergence.estimate import INTERVAL, Estimate
from divergence.report.figures import forest
from divergence.report.names import short, wrap
from divergence.report.reading import identified
from divergence.report.words import phrase

if TYPE_CHECKING:
    import altair as alt


def rows(instrument: Estimate) -> forest.Forest:
    """The wave effects, in the order of the estimate."""
    frame, draws = identified(instrument, "factor", "level")
    full = frame["level"].to_list()
    names = short(full)
    return forest.build(frame, draws, [wrap(names[wave]) for wave in full], full)


def sentence(instrument: Estimate) -> str:
    """How far the waves lie apart, and whether that can be told from chance."""
    built = rows(instrument)
    _, together = forest.excluding_zero(built)
    waves = [f"wave {wave}" for wave in built.frame["full"]]
    if len(waves) == 2:  # both lie equally far from their mean
        limits = np.quantile(built.draws[:, 1] - built.draws[:, 0], [(1 - INTERVAL) / 2, 0.5, (1 + INTERVAL) / 2])
        row = dict(zip(("lower", "median", "upper"), limits, strict=True)) | {"unit": built.unit}
        words = f"{waves[1]} minus {waves[0]} is {phrase(row, signed=True)}"
    else:
        words = forest.furthest(built, "furthest from the mean over waves", waves)
    if not together:
        return f"No wave can be told from the others when all must hold at once: {words}."
    return f"The instrument moved: {words}. This shift is common to all models and contexts, so it is not theirs."


def chart(instrument: Estimate) -> alt.LayerChart:
    """Forest of the waves."""
    return forest.draw(forest.trimmed(rows(instrument)), sentence(instrument), "wave")
