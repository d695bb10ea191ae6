"""Silent drift: answers or single items move, the level does not.

A (model, context) drifts silently when the lower limit of its excess flips (of scores, or of answers) is above .005
and the interval of its context effect contains 0 and lies within +-.05. Where the flips are there but the interval of
the level is too wide to say, the pair is named as open.
"""

from __future__ import annotations

import dataclasses

import polars as pl

from divergence.estimate import Estimate
from divergence.report.reading import identified

FLIPS_MATERIAL = 0.005  # excess flips below this are not claimed: a squared difference is never exactly 0
LEVEL_MATERIAL = 0.05  # a change of level that a reader would act on: 5 points


@dataclasses.dataclass(frozen=True)
class Movement:
    """One model in one context whose items move: its excess flips and its level's change, as result rows."""

    model: str | None
    """Model, or None for all models together."""
    context: str
    """The deployed context."""
    flips: dict
    """Row of `excess_flips` with the larger lower limit (scores or answers)."""
    effect: dict
    """Row of `context_effect`."""


@dataclasses.dataclass(frozen=True)
class SilentDrift:
    """What the flips and the levels say together."""

    silent: tuple[Movement, ...]
    """Items move and the level does not."""
    open: tuple[Movement, ...]
    """Items move; whether the level does, this log cannot say."""
    compared: int
    """Pairs of model and context for which both are known."""


def find(flips: Estimate, context_effect: Estimate) -> SilentDrift:
    """Every (model, context) whose items move against the bench, told by whether its level does.

    `flips` are the rows of `excess_flips` against the bench (`reading.bench_pairs`).
    """
    effects, _ = identified(context_effect, "model")
    effects = effects.filter(pl.col("context").is_not_null())
    by_place = {(row["model"], row["context"]): row for row in effects.iter_rows(named=True)}
    most: dict[tuple[str | None, str], dict] = {}
    for row in flips.to_frame().filter(pl.col("identified") & pl.col("median").is_not_null()).iter_rows(named=True):
        place = (row["model"], row["context_b"])
        counts = row["statistic"] in (None, "answers") and place in by_place
        if counts and (place not in most or row["lower"] > most[place]["lower"]):
            most[place] = row
    if any(model is not None for model, _ in most):  # means over models stand in only where no model stands alone
        most = {place: row for place, row in most.items() if place[0] is not None}
    silent, undecided = [], []
    for (model, context), row in most.items():
        effect = by_place[model, context]
        if row["lower"] <= FLIPS_MATERIAL or not effect["lower"] <= 0 <= effect["upper"]:
            continue
        still = max(-effect["lower"], effect["upper"]) < LEVEL_MATERIAL
        (silent if still else undecided).append(Movement(model, context, row, effect))
    silent.sort(key=lambda movement: -movement.flips["lower"])
    undecided.sort(key=lambda movement: -movement.flips["lower"])
    return SilentDrift(tuple(silent), tuple(undecided), len(most))
