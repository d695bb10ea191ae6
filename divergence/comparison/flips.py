"""How many scores and answers changed, which way, and how many of them repeating alone explains?

    flips  = sum over items of P(a run BEFORE and a run AFTER disagree)
    floor  = mean over items of P(two runs of one side disagree), averaged over the sides
    excess = flips / items - floor = mean over items of (p after - p before)^2

all three unbiased from replicates. With one run a side there is no floor, and only bounds: the share of items whose answer
law moved (its total variation) is at least |net| and at most what was observed. Where scores are not 0 or 1, an item has
flipped when its mean score moved.

Unit: flips are items (fractional with replicates), floor and excess are fractions of items.
Identification: floor and excess need two replicates on both sides. Source: excess flips of `divergence.excess_flips`.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import polars as pl

from divergence.comparison.moves import limits, moves
from divergence.comparison.pairs import Pairs

SAME = 1e-9  # scores that differ by less are the same number, added up in another order

EMPTY_SHARE_MAX = 0.5  # of rows without an answer: above it the log leaves answers out rather than has empty ones


@dataclasses.dataclass(frozen=True)
class Flips:
    """Scores that changed between two runs."""

    observed: float
    """Items that flipped; with replicates the expected number between one run a side."""
    of: int
    """Shared items."""
    down: float
    """Those that got worse."""
    up: float
    """Those that got better."""
    floor: float | None
    """Share of items that repeating alone flips; None without replicates on both sides."""
    excess_lower: float
    """Lower limit of the flips beyond the floor, fraction of items."""
    excess_upper: float
    """Upper limit of the flips beyond the floor, fraction of items."""


@dataclasses.dataclass(frozen=True)
class AnswerChanges:
    """Answers that changed between two runs, whatever they scored."""

    observed: float
    """Items whose answer changed; with replicates the expected number between one run a side."""
    of: int
    """Shared items with an answer on both sides."""
    floor: float | None
    """Share of items whose answer repeating alone changes; None without replicates on both sides."""


def flips(pairs: Pairs, chosen: np.ndarray, confidence: float) -> Flips:
    """The flips of the chosen pairs (a mask or places)."""
    table = pairs.table.filter(pl.Series(chosen))
    before, after = table["before"].to_numpy(), table["after"].to_numpy()
    if pairs.binary:
        down, up = before * (1 - after), after * (1 - before)
    else:
        down, up = (after < before - SAME).astype(float), (after > before + SAME).astype(float)
    observed, net = float((down + up).sum()), abs(float((after - before).mean()))
    found = Flips(_tidy(observed), table.height, _tidy(down.sum()), _tidy(up.sum()), None, net, observed / table.height)
    runs = [table[f"{side}_n"].to_numpy() for side in ("before", "after")]
    twice = (runs[0] > 1) & (runs[1] > 1)
    if not pairs.binary or not twice.any():
        return found
    within = [2 * p[twice] * (1 - p[twice]) * n[twice] / (n[twice] - 1) for p, n in zip((before, after), runs, strict=True)]
    floor = (within[0] + within[1]) / 2
    cluster = None if table["cluster"].null_count() else table["cluster"].to_numpy()[twice]
    excess = moves((down + up)[twice] - floor, cluster=cluster)
    low, high = limits(excess, confidence) if excess.effective[0] >= 2 else (np.zeros(1), np.ones(1))
    return dataclasses.replace(
        found,
        floor=float(floor.mean()),
        excess_lower=float(max(low[0], 0)),
        excess_upper=float(max(high[0], 0)),
    )


def agreement(pairs: Pairs) -> pl.DataFrame:
    """By pair with answers on both sides: `changed`, P(two answers of different sides differ); `floor`, of the same side."""
    counted = [
        _answered(rows).group_by("pair", "answer").len().rename({"len": side})
        for rows, side in ((pairs.before, "before"), (pairs.after, "after"))
    ]
    sums = [
        counts.group_by("pair").agg(pl.col(side).sum(), (pl.col(side) * (pl.col(side) - 1)).sum().alias(f"{side}_same"))
        for counts, side in zip(counted, ("before", "after"), strict=True)
    ]
    both = counted[0].join(counted[1], on=["pair", "answer"], how="inner")
    same = both.group_by("pair").agg((pl.col("before") * pl.col("after")).sum().alias("same"))
    table = sums[0].join(sums[1], on="pair", how="inner").join(same, on="pair", how="left")
    chance = [1 - pl.col(f"{side}_same") / (pl.col(side) * (pl.col(side) - 1)) for side in ("before", "after")]
    return table.select(
        "pair",
        changed=1 - pl.col("same").fill_null(0) / (pl.col("before") * pl.col("after")),
        floor=pl.when((pl.col("before") > 1) & (pl.col("after") > 1)).then((chance[0] + chance[1]) / 2),
    ).sort("pair")


def _answered(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows with an answer. A side that logs answers for most of its rows said nothing in the others, which is one too."""
    if rows["answer"].null_count() <= EMPTY_SHARE_MAX * rows.height:
        return rows.with_columns(pl.col("answer").fill_null(""))
    return rows.filter(pl.col("answer").is_not_null())


def answer_changes(agreed: pl.DataFrame, chosen: np.ndarray) -> AnswerChanges | None:
    """Changes of the chosen pairs (a mask over the table); None where answers are not logged on both sides."""
    here = agreed.filter(pl.Series(chosen[agreed["pair"].to_numpy()]))
    if not here.height:
        return None
    floor = here["floor"].mean()
    return AnswerChanges(_tidy(here["changed"].sum()), here.height, None if floor is None else float(floor))  # pyright: ignore[reportArgumentType]


def _tidy(number: float) -> float:
    """A count without the crumbs of floating point: 4.0, not 3.9999999996."""
    return round(float(number), 9)
