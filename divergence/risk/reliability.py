"""Do requests of risk p fail with frequency p? Every number stands beside what a right score would show at this size.

    ECE = sum_b n_b/n |mean failure_b - mean risk_b|  over 15 bins of equal size, with two nulls:
    of a perfect score    the risks are the truth; only outcomes vary. By flipping the signs of whole clusters' residuals
          (wild cluster: copies of an item and rows of one session count as one), or by drawing outcomes from the risks
          where every row is its own cluster
    of an honest posterior    the risks are means of a posterior that is right about its own uncertainty: a draw of all
          risks at once is the truth, outcomes vary around it. Asked only where such draws are given
    Brier = reliability - resolution + uncertainty (+ within: what bins hide; 0 where bins are single risks)   exactly
    band  the 95 % consistency band of a bin's failure rate (Broecker and Smith 2007), from the null of a perfect score

A score that was estimated from finitely many rows is no perfect score, and enough fresh rows show it: the first null asks
whether the error is zero, the second whether it is larger than the score's own intervals say. Where the posterior is right
the second holds its level on average over worlds, at any number of fresh rows. `failure` is one minus the score, `weight`
the trials behind it. Everything but the clusters' residuals follows from one `RiskTally`, whose counts add up over parts of
a log. Unit: probability. Source: Murphy 1973; Stephenson, Coelho and Jolliffe 2008 for the terms within bins; Box 1980 for
the null of a posterior.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from divergence.random_streams import stream

BINS = 15
DRAWS = 999
DISTINCT_MAX = 2000  # different risks up to which outcomes are drawn one risk at a time
CLUSTERS_MIN = 20  # below it the null of whole clusters is too coarse to be called one


@dataclasses.dataclass(frozen=True)
class RiskTally:
    """Trials and failures of each risk: all that a calibration of independent trials needs."""

    risk: np.ndarray
    """The distinct risks, ascending."""
    n: np.ndarray
    """Trials of each."""
    failures: np.ndarray
    """Failures of each."""

    @classmethod
    def of(cls, risk: np.ndarray, n: np.ndarray, failures: np.ndarray) -> RiskTally:
        """Add up what has the same risk."""
        x, where = np.unique(np.asarray(risk, float), return_inverse=True)
        return cls(x, *(np.bincount(where.ravel(), v, len(x)) for v in (n, failures)))


def reliability(
    risk: np.ndarray,
    failure: np.ndarray,
    *,
    weight: np.ndarray | None = None,
    cluster: np.ndarray | None = None,
    plausible: tuple[np.ndarray, np.ndarray] | None = None,
    seed: int = 0,
    bins: int = BINS,
) -> dict:
    """Calibration of judged rows as plain numbers: `ece`, its nulls, Brier and its parts, and the diagram.

    `plausible`: joint draws of the risks of some kinds of requests, shape (draws, kinds), and each row's kind.
    """
    risk, failure = np.asarray(risk, float), np.asarray(failure, float)
    weight = np.ones(len(risk)) if weight is None else np.asarray(weight, float)
    unit = np.arange(len(risk)) if cluster is None else np.unique(cluster, return_inverse=True)[1].ravel()
    found = RiskTally.of(risk, weight, weight * failure)
    place, rng = equal_bins(found.risk, found.n, bins), stream(seed, "calibration nulls")
    where = place[np.searchsorted(found.risk, risk)]
    alone = unit.max() + 1 == len(risk)
    null = _drawn(found, place, rng) if alone else _flipped(weight * (failure - risk), unit, where, rng)
    out = {
        "rows": len(risk),
        "clusters": int(unit.max() + 1),
        **_summary(found, place, null),
        "design_effect": design_effect(risk, failure, weight, unit),
    }
    if plausible is not None:
        out |= _honest(null, _off(*plausible, risk, weight, where), out["ece"], found.n.sum(), rng)
    return out


def tallied(
    found: RiskTally,
    *,
    design_effect: float = 1.0,
    plausible: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None,
    seed: int = 0,
    bins: int = BINS,
) -> dict:
    """The same from a tally, every trial on its own; `design_effect` widens the null where trials come in clusters.

    `plausible`: draws of the risks of some kinds of requests, shape (draws, kinds), the risk of each and its trials.
    """
    place, rng = equal_bins(found.risk, found.n, bins), stream(seed, "calibration nulls")
    null = np.sqrt(design_effect) * _drawn(found, place, rng)
    out = _summary(found, place, null)
    if plausible is not None:
        draws, risk, n = plausible
        off = _off(draws, np.arange(len(risk)), risk, n, place[np.searchsorted(found.risk, risk)])
        out |= _honest(null, off, out["ece"], found.n.sum(), rng)
    return out


def _summary(found: RiskTally, place: np.ndarray, null: np.ndarray) -> dict:
    """ECE beside its null (draws of the bins' summed residuals), the Brier score, and the bins with their bands."""
    count = place.max() + 1
    n = np.bincount(place, found.n, count)
    mean, rate = (np.bincount(place, v, count) / n for v in (found.n * found.risk, found.failures))
    ece = np.abs(null).sum(1) / n.sum()
    seen = float(np.abs(rate - mean) @ n / n.sum())
    low, high = np.quantile(null / n, [0.025, 0.975], axis=0)
    return {
        "ece": seen,
        "ece_null_mean": float(ece.mean()),
        "ece_null_95": float(np.quantile(ece, 0.95)),
        "inside_null": bool(seen <= np.quantile(ece, 0.95)),
        **murphy(found.risk, found.failures / found.n, found.n, place),
        "bins": [
            {
                "n": float(k),
                "risk": float(r),
                "failures": float(f),
                "band_lower": float(np.clip(r + a, 0, 1)),
                "band_upper": float(np.clip(r + b, 0, 1)),
            }
            for k, r, f, a, b in zip(n, mean, rate, low, high, strict=True)
        ],
    }


def _honest(null: np.ndarray, off: np.ndarray, seen: float, n: float, rng: np.random.Generator) -> dict:
    """ECE of a posterior whose draws are as likely as it says: the draws' distance from the risks, then outcomes."""
    total = np.abs(null + off[rng.integers(len(off), size=len(null))]).sum(1) / n
    limit = float(np.quantile(total, 0.95))
    return {"ece_posterior_mean": float(total.mean()), "ece_posterior_95": limit, "inside_posterior": bool(seen <= limit)}


def _off(draws: np.ndarray, kind: np.ndarray, risk: np.ndarray, weight: np.ndarray, where: np.ndarray) -> np.ndarray:
    """Summed distance of drawn risks from the risks in each bin, shape (draws, bins)."""
    kinds, row = np.unique(kind, return_inverse=True)
    count = where.max() + 1
    trials = np.zeros((len(kinds), count))  # rows of one kind have one risk and so one bin
    np.add.at(trials, (row.ravel(), where), weight)
    return draws[:, kinds] @ trials - np.bincount(where, weight * risk, count)


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
        "brier": float(brier),
        "reliability": float(n @ (mean - rate) ** 2 / total),
        "resolution": float(n @ (rate - base) ** 2 / total),
        "uncertainty": float(base * (1 - base)),
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


def clustering(risk: np.ndarray, failure: np.ndarray, weight: np.ndarray, unit: np.ndarray, clusters: int) -> dict:
    """How trials hang together within units: `size` of a trial's unit, `correlation` of its residuals, trials a cluster."""
    n = np.bincount(unit, weight)
    size = float((n**2).sum() / n.sum())
    spread = design_effect(risk, failure, weight, unit) - 1
    return {
        "size": size,
        "correlation": float(np.clip(spread / (size - 1), 0, 1)) if size > 1 else 0.0,
        "trials": float(n.sum() / clusters),
    }


def effect(found: dict, part: str, trials: float) -> float:
    """The design effect of a mean over `trials` of another log, 1 + (size - 1) correlation; 1 where nothing is known.

    Sessions of the other log are new ones and as long as before. Items come again: a log of more trials has more of each.
    """
    if not found:
        return 1.0
    mine = found[part]
    more = 1.0 if found["sessions"] else max(1.0, trials / found["clusters"] / mine["trials"])
    return 1 + max(mine["size"] * more - 1, 0.0) * mine["correlation"]


def _drawn(found: RiskTally, place: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The bins' summed residuals if the risks were right and trials independent, shape (draws, bins)."""
    count = place.max() + 1
    x, n = np.clip(found.risk, 0, 1), found.n
    if len(x) <= DISTINCT_MAX and (n == np.round(n)).all():
        drawn = rng.binomial(n.astype(np.int64), x, (DRAWS, len(x))) - n * x
        return drawn @ (place[:, None] == np.arange(count))
    # So many different risks that the sum of a bin is normal.
    return np.sqrt(np.bincount(place, n * x * (1 - x), count)) * rng.standard_normal((DRAWS, count))


def _flipped(residual: np.ndarray, unit: np.ndarray, where: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The same if clusters are independent: the sign of each one's residuals is as likely the other."""
    sums = np.zeros((unit.max() + 1, where.max() + 1))
    np.add.at(sums, (unit, where), residual)
    return rng.choice([-1.0, 1.0], (DRAWS, len(sums))) @ sums
