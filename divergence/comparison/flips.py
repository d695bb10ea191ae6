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


def flips(pairs: Pairs, group: np.ndarray, confidence: float) -> list[Flips]:
    """The flips of every group, for whole numbers `group` (n,) of the pairs."""
    table, size = pairs.table, int(group.max()) + 1
    before, after = table["before"].to_numpy(), table["after"].to_numpy()
    if pairs.binary:
        ways = before * (1 - after), after * (1 - before)
    else:
        ways = (after < before - SAME).astype(float), (after > before + SAME).astype(float)
    items = np.bincount(group, minlength=size)
    down, up, net = (np.bincount(group, values, minlength=size) for values in (*ways, after - before))
    found = [
        Flips(
            observed=_tidy(down[k] + up[k]),
            of=int(items[k]),
            down=_tidy(down[k]),
            up=_tidy(up[k]),
            floor=None,
            excess_lower=float(abs(net[k]) / items[k]),
            excess_upper=float((down[k] + up[k]) / items[k]),
        )
        for k in range(size)
    ]
    return _beyond_floor(found, pairs, group, ways[0] + ways[1], confidence) if pairs.binary and not pairs.single else found


def _beyond_floor(
    found: list[Flips], pairs: Pairs, group: np.ndarray, flipped: np.ndarray, confidence: float
) -> list[Flips]:
    """The same with floor and excess, where a group has items with replicates on both sides."""
    table, within = pairs.table, np.zeros(len(group))
    runs = [table[f"{side}_n"].to_numpy() for side in ("before", "after")]
    for side, n in zip(("before", "after"), runs, strict=True):
        p = table[side].to_numpy()
        within += p * (1 - p) * n / np.maximum(n - 1, 1)  # half of 2 p (1 - p): the floor is the mean over the sides
    twice = (runs[0] > 1) & (runs[1] > 1)
    cluster = None if table["cluster"].null_count() else table["cluster"].to_numpy()
    made = list(found)
    for k in np.unique(group[twice]):
        here = twice & (group == k)
        excess = moves((flipped - within)[here], cluster=None if cluster is None else cluster[here])
        low, high = limits(excess, confidence) if excess.effective[0] >= 2 else (np.zeros(1), np.ones(1))
        made[k] = dataclasses.replace(
            found[k],
            floor=float(within[here].mean()),
            excess_lower=float(max(low[0], 0)),
            excess_upper=float(max(high[0], 0)),
        )
    return made


def agreement(pairs: Pairs) -> pl.DataFrame:
    """By pair with answers on both sides: `changed`, P(two answers of different sides differ); `floor`, of the same side."""
    if pairs.single:
        said = _answered(pairs.table, "answer_before", "answer_after")
        changed = (pl.col("answer_before") != pl.col("answer_after")).cast(pl.Float64)
        return said.select("pair", changed=changed, floor=pl.lit(None, pl.Float64))
    counted = [
        _answered(rows, "answer").group_by("pair", "answer").len().rename({"len": side})
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


def _answered(rows: pl.DataFrame, *names: str) -> pl.DataFrame:
    """Rows with an answer. A side that logs answers for most of its rows said nothing in the others, which is one too."""
    for name in names:
        if rows[name].null_count() <= EMPTY_SHARE_MAX * rows.height:
            rows = rows.with_columns(pl.col(name).fill_null(""))
    return rows.drop_nulls(names)


def answer_changes(agreed: pl.DataFrame, group: np.ndarray) -> list[AnswerChanges | None]:
    """Changes of every group, for whole numbers `group` (n,) of the pairs; None where a side logs no answers."""
    size, owner = int(group.max()) + 1, group[agreed["pair"].to_numpy()]
    items = np.bincount(owner, minlength=size)
    changed = np.bincount(owner, agreed["changed"].to_numpy(), minlength=size)
    known = agreed["floor"].is_not_null().to_numpy()
    twice = np.bincount(owner[known], minlength=size)
    floor = np.bincount(owner[known], agreed["floor"].to_numpy()[known], minlength=size)
    return [
        AnswerChanges(_tidy(changed[k]), int(items[k]), float(floor[k] / twice[k]) if twice[k] else None)
        if items[k]
        else None
        for k in range(size)
    ]


def _tidy(number: float) -> float:
    """A count without the crumbs of floating point: 4.0, not 3.9999999996."""
    return round(float(number), 9)
