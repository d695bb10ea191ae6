"""Median and 95 % point of a time, a row a model and context: what a mean of latencies hides.

Quantiles of the rows themselves, from logarithmic histograms (within 1/16 of the value, `cells.histograms`); intervals by
the Bayesian bootstrap over blocks of sessions or items. A part of the level questions where the outcome is a time;
identified by rows in `BLOCKS_MIN` blocks.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np

from divergence.cells.histograms import histogram, quantiles
from divergence.estimands.combinations import BLOCKS_MIN
from divergence.estimands.spend import weights
from divergence.joint.posterior import Fit
from divergence.outcome_names import unit_named

SHARES = {"median": 0.5, "quantile_95": 0.95}
PLACES_MAX = 400  # models and contexts beyond which the level of each says enough


@dataclasses.dataclass(frozen=True, eq=False)
class TimeQuantile:
    """One quantile of one model in one context."""

    model: str
    context: str
    statistic: str
    draws: np.ndarray
    """Shape (S,); NaN where it is not identified."""
    reason: str | None


def time_quantiles(fit: Fit, regime: str) -> Iterator[TimeQuantile]:
    """Of an outcome in seconds whose rows were counted; of every other nothing."""
    cells = fit.cells
    if unit_named(cells.outcome) != "s" or cells.outcome not in cells.levels["measure"]:
        return
    bins, counts = histogram(cells, cells.outcome, regime)
    blocks = (counts.sum(3) > 0).sum(0)
    places = np.argwhere(blocks > 0)
    if not len(places) or len(places) > PLACES_MAX:
        return
    weight = weights(fit)
    for m, c in places:
        names = cells.levels["model"][m], cells.levels["context"][c]
        few = int(blocks[m, c]) if blocks[m, c] < BLOCKS_MIN else 0
        why = f"it is known in {few} groups of sessions or items; its uncertainty needs {BLOCKS_MIN}" if few else None
        here = counts[:, m, c]
        filled = here.any(0)  # bins that no row of this place is in move no quantile, and are most of them
        unknown = [np.full(len(weight), np.nan) for _ in SHARES]
        found = unknown if why else quantiles(bins[filled], weight @ here[:, filled], SHARES.values())
        for statistic, draws in zip(SHARES, found, strict=True):
            yield TimeQuantile(*names, statistic, draws, why)
