"""Which serving factor does a change go with: a change of its mix, or a change inside its levels?

For a statistic that is a mean over rows of one number a row (a product of two normal scores for a correlation, an indicator
for a share) and a factor with levels f, shares w and level means s, before (0) and since (1):

    total = sum_f (w1 - w0)(s0 + s1)/2  +  sum_f (w0 + w1)/2 (s1 - s0)       mix + within, exactly (Kitagawa 1955)

For a correlation the level mean is the covariance inside the level plus the product of the level's means, so that `within`
splits once more, exactly, into the dependence inside levels and the distance between their means (law of total covariance).
Associational: causal only for a factor whose levels were assigned at random, which must be declared. Unit: that of the
statistic (a correlation, a share, the signal's own).
"""

from __future__ import annotations

import dataclasses

import numpy as np
import polars as pl

from divergence.drift.detect import Detection
from divergence.drift.layout import Statistic
from divergence.drift.ranks import normal_scores
from divergence.drift.structural import TAIL
from divergence.drift.verdict import Edge

EDGES = 5
"""Edges that are split, the first of the verdict."""
CORRELATIONS = ("correlation", "lagged", "level", "association")
"""Kinds whose split has a part between the levels' means."""
FEW = 20
"""Levels above which a text column is content, no factor."""
_CONTENT = ("answer", "gold", "item", "session", "execution_id", "parent_id", "scorer", "context")


@dataclasses.dataclass(frozen=True)
class Split:
    """One edge by one factor."""

    edge: str
    """The edge, in words."""
    factor: str
    """The factor."""
    before: float
    """The statistic over all rows before."""
    after: float
    """The same since."""
    mix: float
    """Part of the change that is the factor's mix."""
    within: float
    """Part that is dependence (or level) inside the factor's levels."""
    between: float
    """Part that is the distance between the levels' means; 0 where the statistic is no correlation."""
    randomised: bool
    """Were the factor's levels assigned at random, as declared?"""

    @property
    def sentence(self) -> str:
        """The split in words."""
        total = self.after - self.before
        share = self.mix / total if abs(total) > 1e-12 else 0.0
        how = (
            "a change of its mix"
            if share > 0.5
            else "found inside its levels"
            if abs(self.within) > abs(self.between)
            else ("a change of the distance between its levels")
        )
        word = "caused by" if self.randomised and share > 0.5 else "associated with"
        return (
            f"{self.edge}: {total:+.2f} by {self.factor}, mostly {how} ({word}, not more)"
            if word != "caused by"
            else (f"{self.edge}: {total:+.2f}, mostly {how} of {self.factor}, whose levels were assigned at random")
        )


def attribution(found: Detection, randomised: tuple[str, ...] = ()) -> tuple[Split, ...]:
    """The first edges of a verdict by each factor of the stream; () without an alarm."""
    if not found.verdict.edges:
        return ()
    began = _began(found)
    rows = pl.concat([found.reference, found.stream], how="diagonal")
    sides = rows.filter(pl.col("time") < began), rows.filter(pl.col("time") >= began)
    factors = [name for name in rows.columns if _is_factor(rows[name], name)]
    out = []
    for edge in [edge for edge in found.verdict.edges if edge.settled][:EDGES]:
        for factor in factors:
            if factor not in (edge.a, edge.b):
                made = split_of(edge, factor, *sides)
                out += [dataclasses.replace(made, randomised=factor in randomised)] if made else []
    return tuple(out)


def _began(found: Detection):
    """The time from which rows count as after the change: the start of the chunk with which it most likely begins."""
    monitor = found.monitor
    family = found.verdict.edges[0].family
    place = int(np.searchsorted(monitor.history.number, monitor.begin(family)[0]))
    moment = int(monitor.history.start[min(place, len(monitor.history.start) - 1)])
    return pl.lit(moment).cast(pl.Datetime("us")).dt.replace_time_zone("UTC")


def _is_factor(column: pl.Series, name: str) -> bool:
    return column.dtype == pl.String and name not in _CONTENT and 2 <= column.drop_nulls().n_unique() <= FEW


def split_of(edge: Edge, factor: str, before: pl.DataFrame, after: pl.DataFrame) -> Split | None:
    """The exact split of one edge by one factor; None where the statistic is no mean over rows."""
    parts = []
    for side in (before, after):
        made = contributions(edge, side)
        if made is None or not len(side):
            return None
        parts.append((*made, side[factor].fill_null("(missing)").to_numpy()))
    levels = np.unique(np.concatenate([part[2] for part in parts]))
    shares, totals, inside, apart = (np.zeros((2, len(levels))) for _ in range(4))
    for side, (u, v, label) in enumerate(parts):
        for place, level in enumerate(levels):
            chosen = label == level
            shares[side, place] = chosen.mean()
            if chosen.any():
                totals[side, place] = (u[chosen] * v[chosen]).mean()
                apart[side, place] = u[chosen].mean() * v[chosen].mean() if edge.kind in CORRELATIONS else 0.0
        inside[side] = totals[side] - apart[side]
    for side in (0, 1):  # a level that one side lacks has no mean there: the other side's is used, so that it is all mix
        lacking = shares[side] == 0
        for array in (totals, inside, apart):
            array[side, lacking] = array[1 - side, lacking]
    weight, moved = shares.mean(0), shares[1] - shares[0]
    mix = float((moved * totals.mean(0)).sum())
    within, between = (float((weight * (array[1] - array[0])).sum()) for array in (inside, apart))
    whole = [float((u * v).mean()) for u, v, _ in parts]
    return Split(edge.name, factor, whole[0], whole[1], mix, within, between, False)


def contributions(edge: Edge, rows: pl.DataFrame) -> tuple[np.ndarray, np.ndarray] | None:
    """Two numbers a row whose product has the statistic as its mean; None for a statistic that is no such mean."""
    statistic = Statistic(edge.family, edge.kind, edge.a, edge.b, edge.detail)
    if statistic.kind in ("correlation", "lagged") or statistic.kind.startswith("tail_"):
        scores, shares, _ = normal_scores(rows.select(pl.col(edge.a, str(edge.b)).cast(pl.Float64)).to_numpy().copy())
        if statistic.kind.startswith("tail_"):
            return _joint(shares, statistic.kind), np.ones(len(rows))
        u, v = (_standard(column) for column in scores.T)
        if statistic.kind == "lagged":
            lag = int(str(edge.detail).lstrip("+"))
            v = np.concatenate([v[lag:], np.zeros(lag)])
        return u, v
    if statistic.kind == "level":
        scores, _, _ = normal_scores(rows.select(pl.col(edge.a).cast(pl.Float64)).to_numpy().copy())
        return _standard(scores[:, 0]), _standard(_has(rows[str(edge.b)], str(edge.detail)))
    if statistic.kind == "association":
        one, _, other = str(edge.detail).partition(" x ")
        return _standard(_has(rows[edge.a], one)), _standard(_has(rows[str(edge.b)], other))
    if statistic.kind == "share":
        return _has(rows[edge.a], str(edge.detail)), np.ones(len(rows))
    if statistic.kind == "location" and rows[edge.a].dtype.is_numeric():
        return rows[edge.a].cast(pl.Float64).fill_null(strategy="mean").to_numpy(), np.ones(len(rows))
    return None


def _joint(shares: np.ndarray, kind: str) -> np.ndarray:
    """Is a row in the joint tail (half a row for each, where both tails count)?"""
    upper, lower = (shares > TAIL).all(1), (shares < 1 - TAIL).all(1)
    return {"tail_upper": upper * 1.0, "tail_lower": lower * 1.0, "tail_both": (upper * 1.0 + lower) / 2}[kind]


def _has(column: pl.Series, level: str) -> np.ndarray:
    return column.cast(pl.String).eq(level).fill_null(False).cast(pl.Float64).to_numpy()


def _standard(values: np.ndarray) -> np.ndarray:
    spread = values.std()
    return (values - values.mean()) / (spread if spread > 0 else 1.0)
