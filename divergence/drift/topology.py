"""The coupling of every pair of signals before the change and since: the graph that no dashboard shows.

Strength of a pair: the normal-score correlation of two numeric signals; of a signal with a class, that with the level where
it is strongest; of two classes, Yule's Y of their strongest cell, tanh(log odds ratio / 4). Unit: -1 to 1.
"""

from __future__ import annotations

import numpy as np

from divergence.drift.monitor import Monitor

MOST = 14
"""Signals that a graph shows at most: the changed ones, then the most strongly coupled."""
_SCALE = {"correlation": 1.0, "level": 1.0, "association": 0.25}


def strengths(monitor: Monitor, begin: int | None) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Names of all signals, strength of every pair before and since the chunk `begin` (None: its second half)."""
    layout, history = monitor.reference.layout, monitor.history
    names = [*layout.numeric, *(name for name, _ in layout.classes)]
    first = begin if begin is not None else int(history.number[len(history.number) // 2]) if len(history.number) else 1
    since = history.number >= first
    with np.errstate(invalid="ignore"):
        sides = [_mean(np.vstack([monitor.reference.values, history.values[~since]])), _mean(history.values[since])]
    out = [np.full((len(names), len(names)), np.nan) for _ in sides]
    best: dict[tuple[str, ...], float] = {}
    for number, statistic in enumerate(monitor.statistics):
        if statistic.kind not in _SCALE or statistic.b is None:
            continue
        values = [float(np.tanh(_SCALE[statistic.kind] * side[number])) for side in sides]
        weight = np.nan_to_num(np.abs(values)).max()
        if weight >= best.get(statistic.edge, -1.0):
            best[statistic.edge] = weight
            i, j = names.index(statistic.a), names.index(statistic.b)
            for matrix, value in zip(out, values, strict=True):
                matrix[i, j] = matrix[j, i] = value
    return names, out[0], out[1]


def _mean(values: np.ndarray) -> np.ndarray:
    known = np.isfinite(values)
    with np.errstate(divide="ignore"):
        return np.where(known.any(0), np.where(known, values, 0.0).sum(0) / np.maximum(known.sum(0), 1), np.nan)


def chosen(names: list[str], before: np.ndarray, after: np.ndarray, changed: set[str]) -> list[int]:
    """Places of the signals that a graph shows, in their own order."""
    reach = np.nanmax(np.nan_to_num(np.stack([np.abs(before), np.abs(after)])), axis=(0, 1)) if len(names) else np.zeros(0)
    order = sorted(range(len(names)), key=lambda place: (names[place] not in changed, -reach[place]))
    return sorted(order[:MOST])
