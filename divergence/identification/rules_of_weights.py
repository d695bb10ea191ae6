"""Rules about what a mean weighs: tasks count by their share of the log, which may decide who is first."""

from __future__ import annotations

import numpy as np

from divergence.cells.overlap import in_regime
from divergence.identification.finding import Finding
from divergence.identification.log_design import REGIMES, LogDesign

TOLD = 3  # tasks whose shares are told
LEAST = 0.01  # of a lead: a point
NOISE = 1.64  # standard errors that a lead has to exceed


def weights_decide(design: LogDesign) -> Finding | None:
    """Tasks of unequal size where another model leads, by more than chance, when each task counts alike."""
    cells = design.cells
    counts, names = cells.counts, cells.levels
    shape = len(names["model"]), len(names["task"])
    if shape[1] < 2 or cells.kind == "positive":
        return None
    for regime in REGIMES:
        mine = counts.take(in_regime(cells, regime) & (counts["n"] > 0) & (counts["task"] >= 0))
        at = mine["model"] * shape[1] + mine["task"]
        n, y = (np.bincount(at, mine[part], shape[0] * shape[1]).reshape(shape) for part in ("n", "y"))
        models = np.flatnonzero((n > 0).all(1))  # the others' means are over other tasks
        if len(models) < 2:
            continue
        share, equal = n.sum(0) / n.sum(), np.full(shape[1], 1 / shape[1])
        level = y[models] / n[models]
        smooth = (y[models] + 0.5) / (n[models] + 1)
        variance = smooth * (1 - smooth) / n[models]
        first, other = (int(np.argmax(level @ weight)) for weight in (share, equal))
        if first == other or not all(
            _leads(level[a] - level[b], variance[a] + variance[b], weight)
            for a, b, weight in ((first, other, share), (other, first, equal))
        ):
            continue
        order = np.argsort(-share)
        told = ", ".join(f"{names['task'][t]} {share[t]:.0%}" for t in order[:TOLD])
        more = f" and {len(order) - TOLD} more" if len(order) > TOLD else ""
        first, other = (names["model"][models[k]] for k in (first, other))
        return Finding(
            "weights_decide",
            "caution",
            f"A level weighs tasks by their share of the {regime} rows ({told}{more}), and so {first} has the best mean; "
            f"were each task to count alike, {other} had.",
            "Read the rows of each task.",
            ("leaderboard", "bench_level", "deployed_level"),
        )
    return None


def _leads(difference: np.ndarray, variance: np.ndarray, weight: np.ndarray) -> bool:
    """Is a weighted difference of tasks larger than a point, and than its noise?"""
    return float(weight @ difference) > max(LEAST, NOISE * float(np.sqrt(weight**2 @ variance)))
