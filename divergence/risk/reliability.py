"""Do requests of risk p fail with frequency p? Every number stands beside what a perfect score would show at this size.

    ECE = sum_b n_b/n |mean failure_b - mean risk_b|  over 15 bins of equal size; its null by flipping the signs of whole
          clusters' residuals (wild cluster: copies of an item and rows of one session count as one), or by drawing
          outcomes from the risks where every row is its own cluster
    Brier = reliability - resolution + uncertainty (+ within: what bins hide; 0 where bins are single risks)   exactly
    band  the 95 % consistency band of a bin's failure rate (Broecker and Smith 2007), from the same null

`failure` is one minus the score, `weight` the trials behind it. Unit: probability. Source: Murphy 1973; Stephenson,
Coelho and Jolliffe 2008 for the terms within bins.
"""

from __future__ import annotations

import numpy as np

BINS = 15
DRAWS = 999
DISTINCT_MAX = 2000  # different risks up to which outcomes are drawn one risk at a time
CLUSTERS_MIN = 20  # below it the null of whole clusters is too coarse to be called one


def reliability(risk: np.ndarray, failure: np.ndarray, *, weight: np.ndarray | None = None,
                cluster: np.ndarray | None = None, seed: int = 0, bins: int = BINS) -> dict:
    """Calibration of judged rows as plain numbers: `ece`, its null, Brier and its parts, log score, and the diagram."""
    risk, failure = np.asarray(risk, float), np.asarray(failure, float)
    weight = np.ones(len(risk)) if weight is None else np.asarray(weight, float)
    unit = np.arange(len(risk)) if cluster is None else np.unique(cluster, return_inverse=True)[1].ravel()
    place = equal_bins(risk, weight, bins)
    count = place.max() + 1
    n = np.bincount(place, weight, count)
    mean, rate = (np.bincount(place, weight * v, count) / n for v in (risk, failure))
    null = _null(risk, failure, weight, unit, place, count, np.random.default_rng(seed)) / n
    ece = np.abs(null) @ n / n.sum()
    seen = float(np.abs(rate - mean) @ n / n.sum())
    low, high = np.quantile(null, [0.025, 0.975], axis=0)
    return {
        "rows": len(risk), "clusters": int(unit.max() + 1), "ece": seen, "ece_null_mean": float(ece.mean()),
        "ece_null_95": float(np.quantile(ece, 0.95)), "inside_null": bool(seen <= np.quantile(ece, 0.95)),
        "design_effect": design_effect(risk, failure, weight, unit), **murphy(risk, failure, weight, place),
        "bins": [{"n": float(k), "risk": float(r), "failures": float(f), "band_lower": float(np.clip(r + a, 0, 1)),
                  "band_upper": float(np.clip(r + b, 0, 1))}
                 for k, r, f, a, b in zip(n, mean, rate, low, high, strict=True)],
    }


def murphy(risk: np.ndarray, failure: np.ndarray, weight: np.ndarray, place: np.ndarray) -> dict[str, float]:
    """The Brier score and its exact parts; `place` is each row's bin."""
    n = np.bincount(place, weight)
    total = n.sum()
    mean, rate = (np.bincount(place, weight * v) / np.where(n > 0, n, 1.0) for v in (risk, failure))
    base = weight @ failure / total
    off = risk - mean[place]
    # A counted rate stands for trials that are 0 or 1, so a failure's square is itself.
    brier = weight @ (failure * (1 - risk) ** 2 + (1 - failure) * risk**2) / total
    return {
        "brier": float(brier), "reliability": float(n @ (mean - rate) ** 2 / total),
        "resolution": float(n @ (rate - base) ** 2 / total), "uncertainty": float(base * (1 - base)),
        "within": float(weight @ (off**2 - 2 * off * (failure - rate[place])) / total),
    }


def equal_bins(risk: np.ndarray, weight: np.ndarray, bins: int) -> np.ndarray:
    """Bin of each row: equal weights, equal risks never apart; codes without gaps."""
    where = np.unique(risk, return_inverse=True)[1]
    n = np.bincount(where.ravel(), weight)
    code = np.minimum(((np.cumsum(n) - n / 2) / n.sum() * bins).astype(int), bins - 1)
    return np.unique(code, return_inverse=True)[1].ravel()[where.ravel()]


def design_effect(risk: np.ndarray, failure: np.ndarray, weight: np.ndarray, unit: np.ndarray) -> float:
    """How many times the variance of a mean residual exceeds that of independent trials; at least 1."""
    residual = weight * (failure - risk)
    independent = weight @ (risk * (1 - risk))
    between = (np.bincount(unit, residual) ** 2).sum()
    return float(max(between / independent, 1.0)) if independent > 0 else 1.0


def _null(risk: np.ndarray, failure: np.ndarray, weight: np.ndarray, unit: np.ndarray, place: np.ndarray, count: int,
          rng: np.random.Generator) -> np.ndarray:
    """Draws of the bins' summed residuals if the risks were right, shape (draws, bins)."""
    units = unit.max() + 1
    if units == len(risk):
        x, where = np.unique(np.stack([place, risk]), axis=1, return_inverse=True)
        trials, squares = (np.bincount(where.ravel(), w) for w in (weight, weight**2))
        if len(trials) <= DISTINCT_MAX and (weight == np.round(weight)).all():
            drawn = rng.binomial(trials.astype(int), x[1], (DRAWS, len(trials))) - trials * x[1]
        else:  # so many different risks that the sum of a bin is normal
            spread = np.sqrt(np.bincount(x[0].astype(int), squares * x[1] * (1 - x[1]), count))
            return spread * rng.standard_normal((DRAWS, count))
        return drawn @ (x[0][:, None] == np.arange(count))
    residual = np.zeros((units, count))
    np.add.at(residual, (unit, place), weight * (failure - risk))
    return rng.choice([-1.0, 1.0], (DRAWS, units)) @ residual
