"""Which outcomes must be expected of a request? Sets that hold its outcome with probability 1 - alpha in every context.

The outcome y of a request has the score 1 - P(y) under its risk; the set holds each outcome whose score is at most the
threshold of its context, the ceil((n + 1)(1 - alpha)) smallest score among that context's calibration rows (split
conformal by groups: Vovk, Lindsay, Nouretdinov and Gammerman 2003). A context with few rows takes the threshold of all.
Under covariate shift rows weigh w = q_D / q_cal (Tibshirani et al. 2019); the effective sample size (sum w)^2 / sum w^2
takes the place of n, and below `EFFECTIVE_MIN` there is no threshold. Identified by exchangeable rows. Unit: probability.
"""

from __future__ import annotations

import numpy as np

from divergence.risk.calibrate import effective_size

ALPHA = 0.1
GROUP_MIN = 100  # rows of a context below which its own 90 % quantile would be a guess
EFFECTIVE_MIN = 50.0
EVERYTHING = 1.0  # a threshold that excludes nothing


def threshold(score: np.ndarray, alpha: float = ALPHA, weight: np.ndarray | None = None) -> float:
    """The threshold from calibration scores; `EVERYTHING` where they are too few to exclude anything.

    >>> threshold(np.arange(1, 20) / 20)
    0.9
    """
    weight = np.ones(len(score)) if weight is None else np.asarray(weight, float)
    if not len(score) or not weight.sum():
        return EVERYTHING
    size = effective_size(weight)
    order = np.argsort(score, kind="stable")
    # The request itself has the weight of one row of the effective sample, at an infinite score.
    reached = np.cumsum(weight[order]) / weight.sum() * size
    k = int(np.searchsorted(reached, (size + 1) * (1 - alpha) - 1e-9))
    return float(score[order][k]) if k < len(score) else EVERYTHING


def thresholds(
    risk: np.ndarray, failure: np.ndarray, context: np.ndarray, alpha: float = ALPHA, weight: np.ndarray | None = None
) -> dict:
    """Thresholds by context and for all together, from judged rows with 0/1 failures."""
    weight = np.ones(len(risk)) if weight is None else np.asarray(weight, float)
    score = np.abs(failure - risk)
    groups = {}
    for name in np.unique(context):
        mine = context == name
        if mine.sum() >= GROUP_MIN and effective_size(weight[mine]) >= EFFECTIVE_MIN:
            groups[str(name)] = threshold(score[mine], alpha, weight[mine])
    return {"alpha": alpha, "all": threshold(score, alpha, weight), "contexts": groups}


def prediction_sets(risk: np.ndarray, context: np.ndarray, found: dict) -> np.ndarray:
    """Which outcomes each set holds, shape (rows, 2): success, failure. A set may hold neither."""
    names, where = np.unique(context, return_inverse=True)
    limit = np.array([found["contexts"].get(str(n), found["all"]) for n in names])[where.ravel()]
    return np.stack([risk <= limit, 1 - risk <= limit], 1)


def coverage(risk: np.ndarray, failure: np.ndarray, context: np.ndarray, found: dict) -> dict:
    """Share of outcomes inside their sets, overall and by context, and the worst context of at least `GROUP_MIN` rows."""
    sets = prediction_sets(risk, context, found)
    held = sets[np.arange(len(risk)), (failure > 0.5).astype(int)]
    by = {
        str(name): {"rows": int((context == name).sum()), "coverage": float(held[context == name].mean())}
        for name in np.unique(context)
    }
    large = {name: v["coverage"] for name, v in by.items() if v["rows"] >= GROUP_MIN}
    worst = min(large, key=large.__getitem__) if large else None
    return {
        "nominal": 1 - found["alpha"],
        "coverage": float(held.mean()) if len(held) else None,
        "contexts": by,
        "both": float(sets.all(1).mean()) if len(sets) else None,
        "worst": worst,
        "worst_coverage": None if worst is None else large[worst],
    }
