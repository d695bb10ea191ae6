"""The edges of a verdict: pairs of signals ranked by evidence, those that e-BH keeps, and how large the change is.

An edge is null where none of its statistics changed, so the weighted mean of their e-values is an e-value for it; e-BH over
the edges of a family keeps the expected share of false ones at most alpha, at whatever moment one looks. The size of a
change is its mean since the most likely beginning less the mean before, with a confidence sequence from the same mixture.
Unit: the statistic's own scale (atanh of a correlation, arcsine of a share, log odds).
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from divergence.drift.evidence import e_bh, half_width
from divergence.drift.layout import FAMILIES
from divergence.drift.trend import rate
from divergence.drift.verdict import Edge, readable

if TYPE_CHECKING:
    from divergence.drift.monitor import Monitor

SHOWN = 20
"""Edges that a verdict lists of each family at most; every settled one is among them up to this number."""
ABOUT = 0.01
"""Share of the most evidence from which a statistic tells as much: 4.6 nats, one or two chunks."""
MARGINS = {"tail_both": 0.25, "tail_upper": 0.25, "tail_lower": 0.25, "share": 0.5, "missing": 0.5, "item_flips": 0.5}
"""The margin of these kinds in parts of that of a correlation: a share .50 -> .55, joint extremes .010 -> .016."""


def edges_of(monitor: Monitor) -> tuple[Edge, ...]:
    """Edges of the families with an alarm, structural ones first, by evidence; () without an alarm."""
    out: list[Edge] = []
    for family in reversed(FAMILIES):
        if family in monitor.alarms:
            out += _family(monitor, family)
    return tuple(out)


def _family(monitor: Monitor, family: str) -> list[Edge]:
    chosen = np.flatnonzero((monitor.family == family) & (monitor.weight > 0) & ~monitor.held)
    names = [monitor.statistics[number].edge for number in chosen]
    distinct = sorted(set(names))
    place = np.array([distinct.index(name) for name in names]) if len(distinct) < 50 else _places(names, distinct)
    weight, e = monitor.weight[chosen], monitor.evidence.mixture[chosen]
    total = np.bincount(place, weight)
    mean = np.bincount(place, weight * e) / total
    settled = e_bh(mean, total * len(total) / total.sum(), monitor.asked.alpha / len(FAMILIES))
    by_log = np.log(np.maximum(mean * total / total.mean(), 1e-300))
    order = np.lexsort((-by_log, ~settled))[:SHOWN]
    strongest = np.array([chosen[_telling(weight * e, place == number)] for number in order])
    before, after, series, middle, begin = _series(monitor, family, strongest)
    sizes, t = _sizes(before, after, monitor.asked.alpha)
    ranked = np.lexsort((-by_log[order], -np.where(settled[order], t, 0.0)))  # evidence is cut, so that settled ones tie
    return [
        dataclasses.replace(
            _edge(monitor, int(strongest[k]), float(np.log(max(mean[order[k]], 1e-300))), bool(settled[order[k]]), sizes[k]),
            **_natural(monitor, int(strongest[k]), series[:, k], middle, begin),
        )
        for k in ranked
    ]


def _telling(evidence: np.ndarray, inside: np.ndarray) -> int:
    """Of the statistics of an edge with about the most evidence the first in the layout: a mean before a quantile."""
    return int(np.flatnonzero(inside & (evidence >= ABOUT * evidence[inside].max()))[0])


def _places(names: list[tuple[str, ...]], distinct: list[tuple[str, ...]]) -> np.ndarray:
    number = {name: place for place, name in enumerate(distinct)}
    return np.array([number[name] for name in names])


def _edge(monitor: Monitor, number: int, log_e: float, settled: bool, size: np.ndarray) -> Edge:
    statistic = monitor.statistics[number]
    before, after, width = size
    shift, margin = after - before, monitor.asked.margin * MARGINS.get(statistic.kind, 1.0)
    outside = abs(shift) - width > margin
    inside = abs(shift) + width < margin
    return Edge(
        statistic.family,
        statistic.a,
        statistic.b,
        statistic.kind,
        statistic.detail,
        log_e,
        settled,
        float(readable(statistic.kind, before)),
        float(readable(statistic.kind, after)),
        float(shift),
        float(shift - width),
        float(shift + width),
        True if outside else False if inside else None,
    )


def _natural(monitor: Monitor, number: int, series: np.ndarray, middle: np.ndarray, begin: int) -> dict[str, Any]:
    """The rate in the unit that people read; for a location also the level before and since, in the signal's own unit."""
    statistic = monitor.statistics[number]
    if statistic.kind != "location":
        return {"rate": rate(readable(statistic.kind, series), middle)}
    place = monitor.reference.layout.numeric.index(statistic.a)
    own = np.concatenate([monitor.reference.margins[:, place], monitor.history.margins[:, place]]).astype(float)
    means = {name: _known_mean(part) for name, part in (("before", own[:begin]), ("after", own[begin:]))}
    return means | {"rate": rate(own, middle)}


def _known_mean(values: np.ndarray) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else float("nan")


def _series(
    monitor: Monitor, family: str, numbers: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, int]:
    """The chunks before the change, those since, all of them, their middles, and the place of the first since."""
    reference, history = monitor.reference, monitor.history
    begin = monitor.begin(family)[0]
    inside = reference.daily.residual(reference.values, reference.middle, inside=True)[:, numbers]
    stream = reference.daily.residual(history.values.astype(float), history.middle)[:, numbers]
    since = history.number >= begin
    middle = np.concatenate([reference.middle, history.middle])
    whole = np.vstack([inside, stream])
    return np.vstack([inside, stream[~since]]), stream[since], whole, middle, len(inside) + int((~since).sum())


def _sizes(before: np.ndarray, after: np.ndarray, alpha: float) -> tuple[np.ndarray, np.ndarray]:
    """Mean before, mean since, half width of the confidence sequence, shape (k, 3); and |t| of each, shape (k,)."""
    n1, n2 = np.isfinite(before).sum(0), np.isfinite(after).sum(0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = [np.nansum(part, axis=0) / n for part, n in ((before, n1), (after, n2))]
        squares = sum(np.nansum((part - m) ** 2, axis=0) for part, m in zip((before, after), mean, strict=True))
        error = np.sqrt(squares / (n1 + n2 - 2) * (1 / n1 + 1 / n2))
        width = error * half_width(n1, n2, alpha)
        t = np.abs(mean[1] - mean[0]) / error
    return np.column_stack([*mean, np.where(np.isfinite(width), width, np.inf)]), np.nan_to_num(t, nan=0.0)
