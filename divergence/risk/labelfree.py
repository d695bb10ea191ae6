"""How often do requests fail that nobody judged? What the risks alone say, what they would say if they were wrong by an
odds ratio, and what a few audited labels make of both.

| function | answers | assumption, stated in its result |
|---|---|---|
| `expected_failures` | mean risk, Poisson-binomial limits (CBPE) | the risks are calibrated for this traffic |
| the same with `plausible` | limits that also hold what the posterior does not know | the posterior holds for this traffic |
| `failures_within` | limits if no request's odds of failure differ by more than a factor Gamma | Gamma is declared |
| `breakdown` | the smallest Gamma at which a failure rate is no longer excluded | |
| `audited_failures` | PPI++: labels correct the risks, the risks narrow the labels' interval | labels are a random sample |
| `audited_so_far` | the same at every moment of a running audit | the same; asymptotic (n >= `FIRST`) |
| `audit_next` | which requests to label next | |

A failure rate in deployment is NOT identified without labels: `expected_failures` carries sampling error only. Its limits
shrink with requests, its bias does not: with risks of the law beta(2, 4) a concept shift of odds ratio 2 moved the rate by
5 half-widths at 1,000 requests and by 16 at 10,000 (`tests/risk/test_labelfree.py`). So it never stands alone.
Unit: probability. Sources: Angelopoulos, Duchi and Zrnic 2023 (PPI++); Waudby-Smith et al. 2024 (asymptotic confidence
sequences); odds-ratio sensitivity after Rosenbaum 2002.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy.special import stdtrit

from divergence.numerics import NORMAL_95

Z = {0.9: NORMAL_95, 0.95: 1.9599640, 0.99: 2.5758293}
"""Normal quantiles of two-sided intervals."""
FIRST = 30  # labels before which an asymptotic sequence promises nothing
GAMMA_MAX = 1e6


@dataclasses.dataclass(frozen=True)
class FailureRate:
    """A failure rate of some traffic, and what it rests on."""

    value: float
    """Share of failures, or NaN where only limits are identified."""
    lower: float
    """Lower limit."""
    upper: float
    """Upper limit."""
    interval: float
    """Probability of the limits; NaN for bounds, which hold wherever their assumption does."""
    requests: int
    """Requests that it is about."""
    labels: int
    """Labels that it rests on."""
    assumption: str
    """What must be true for it to be right, a sentence."""


def _risks(risk: np.ndarray) -> np.ndarray:
    """The risks as an array. Raises ValueError where there is none, or one is no probability."""
    risk = np.asarray(risk, float)
    if not risk.size or not ((risk >= 0) & (risk <= 1)).all():
        raise ValueError("risks are probabilities of failure, at least one, all from 0 to 1 and none missing")
    return risk


def _audit(risk: np.ndarray, audited: np.ndarray, failure: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Risks, indices and outcomes of an audit. Raises ValueError where they cannot be those of one."""
    risk, audited, failure = _risks(risk), np.asarray(audited), np.asarray(failure, float)
    if audited.dtype.kind not in "iu" or len(audited) != len(failure) or len(np.unique(audited)) < len(audited):
        raise ValueError("audited are the indices of the labelled requests, each once, in the order of their outcomes")
    if not ((failure >= 0) & (failure <= 1)).all():
        raise ValueError("outcomes of an audit are 1 for a failure, 0 for none, and none is missing")
    return risk, audited, failure


def expected_failures(risk: np.ndarray, interval: float = 0.95, plausible: np.ndarray | None = None) -> FailureRate:
    """Mean risk with the sampling error of the outcomes given the risks: sum p(1-p) / n^2.

    `plausible` are joint draws of the mean risk of these requests (`RiskModel.mean_draws`): their variance is added, which
    no number of requests makes smaller. Without them an estimated risk counts as the truth.
    """
    risk = _risks(risk)
    unknown = 0.0 if plausible is None else np.asarray(plausible, float).var()
    mean, half = risk.mean(), Z[interval] * np.sqrt((risk * (1 - risk)).sum() / len(risk) ** 2 + unknown)
    what = "the risks are calibrated" if plausible is None else "the posterior of the risks holds"
    return FailureRate(
        float(mean),
        float(max(mean - half, 0)),
        float(min(mean + half, 1)),
        interval,
        len(risk),
        0,
        f"{what} for this traffic, which cannot be tested without labels",
    )


def shifted(risk: np.ndarray, gamma: float) -> np.ndarray:
    """Risk whose odds are `gamma` times as large; shifted(.5, 3) = .75."""
    risk = _risks(risk)
    return gamma * risk / (gamma * risk + 1 - risk)


def failures_within(risk: np.ndarray, gamma: float) -> FailureRate:
    """Sharp limits of the failure rate if no request's odds of failure differ from its risk's by more than `gamma`."""
    if gamma < 1:
        raise ValueError(f"gamma is an odds ratio of at least 1, not {gamma}")
    lower, upper = (float(shifted(risk, odds).mean()) for odds in (1 / gamma, gamma))
    return FailureRate(
        float("nan"),
        lower,
        upper,
        float("nan"),
        len(risk),
        0,
        f"no request's odds of failure differ from its risk's by more than a factor {gamma:g}",
    )


def breakdown(risk: np.ndarray, rate: float) -> float:
    """The smallest gamma at which a failure rate of `rate` cannot be excluded; 1 = the mean risk is `rate`."""
    risk = _risks(risk)
    worse = rate >= risk.mean()
    low, high = 0.0, np.log(GAMMA_MAX)
    for _ in range(80):
        middle = (low + high) / 2
        reached = shifted(risk, np.exp(middle if worse else -middle)).mean()
        low, high = (middle, high) if (reached < rate) == worse else (low, middle)
    return float(np.exp(high)) if high < np.log(GAMMA_MAX) - 1e-9 else float("inf")


def reversal_gamma(first: np.ndarray, second: np.ndarray) -> float:
    """The smallest gamma at which the order of two systems' failure rates is no longer sure; 1 = they are equal."""
    better, worse = sorted((_risks(first), _risks(second)), key=np.mean)
    low, high = 0.0, np.log(GAMMA_MAX)
    for _ in range(80):
        middle = (low + high) / 2
        apart = shifted(better, np.exp(middle)).mean() < shifted(worse, np.exp(-middle)).mean()
        low, high = (middle, high) if apart else (low, middle)
    return float(np.exp(high))


def audited_failures(risk: np.ndarray, audited: np.ndarray, failure: np.ndarray, interval: float = 0.9) -> FailureRate:
    """PPI++: `audited` are the indices of the labelled requests (a random sample), `failure` their outcomes.

    theta = mean y + lambda (mean f over the others - mean f over the audited),  lambda = cov(y, f) / ((1 + n/N) var f).

    Limits by Student's t: with the normal quantile 90 % intervals from 5 labels held .82 of the rates, with this .92.
    """
    risk, audited, failure = _audit(risk, audited, failure)
    rest = np.delete(risk, audited)
    of_sample, n, unlabelled = risk[audited], len(failure), len(rest)
    if n < 2:
        raise ValueError(f"an audit needs two labels or more, seen {n}")
    spread = of_sample.var(ddof=1)
    slope = np.cov(failure, of_sample)[0, 1] / ((1 + n / max(unlabelled, 1)) * spread) if spread > 0 and unlabelled else 0.0
    slope = float(np.clip(slope, 0.0, 1.0))
    value = failure.mean() + slope * ((rest.mean() if unlabelled else 0.0) - of_sample.mean()) * (unlabelled > 0)
    variance = (failure - slope * of_sample).var(ddof=1) / n
    variance += slope**2 * rest.var() / unlabelled if unlabelled else 0.0
    # All labels alike show no variance; Agresti and Coull's two of each kind keep the interval from vanishing.
    floor = (failure.sum() + 2) / (n + 4) * (n - failure.sum() + 2) / (n + 4) / (n + 4) if variance == 0 else 0.0
    half = stdtrit(n - 1, (1 + interval) / 2) * np.sqrt(variance + floor)
    return FailureRate(
        float(np.clip(value, 0, 1)),
        float(max(value - half, 0)),
        float(min(value + half, 1)),
        interval,
        len(risk),
        n,
        "the audited requests are a random sample of this traffic",
    )


def audited_so_far(
    risk: np.ndarray, audited: np.ndarray, failure: np.ndarray, interval: float = 0.95, tuned_for: int = 200
) -> np.ndarray:
    """Limits after each label of an audit in random order, valid at all of them at once, shape (labels, 2).

    Each label gives the term `y_t - lambda_t (f_t - mean f)`, lambda from the labels before it; the asymptotic sequence has
    half-width sqrt((2 (t s^2 r^2 + 1) / (t^2 r^2)) log(sqrt(t s^2 r^2 + 1) / alpha)), tightest at `tuned_for`
    labels. NaN for the first `FIRST`.
    """
    risk, audited, failure = _audit(risk, audited, failure)
    alpha, mean = 1 - interval, risk.mean()
    f = risk[audited]
    t = np.arange(1, len(failure) + 1)
    centred = f - mean  # sums of squares around a point close by keep their digits
    sums = {k: np.cumsum(v) / t for k, v in (("f", centred), ("y", failure), ("ff", centred**2), ("fy", centred * failure))}
    spread, joint = sums["ff"] - sums["f"] ** 2, sums["fy"] - sums["f"] * sums["y"]
    before = np.where(spread > 1e-12, np.clip(joint / np.maximum(spread, 1e-12), 0, 1), 0.0)
    slopes = np.where(t > FIRST, np.r_[0.0, before[:-1]], 0.0)
    terms = failure - slopes * centred
    centre = np.cumsum(terms) / t
    variance = np.maximum(np.cumsum(terms**2) / t - centre**2, 0.05 / t)
    rho2 = (-2 * np.log(alpha) + np.log(-2 * np.log(alpha) + 1)) / tuned_for / 0.25
    inside = t * variance * rho2 + 1
    half = np.sqrt(2 * inside / (t**2 * rho2) * np.log(np.sqrt(inside) / alpha))
    out = np.clip(np.stack([centre - half, centre + half], 1), 0, 1)
    out[:FIRST] = np.nan
    return out


def audit_next(risk: np.ndarray, lower: np.ndarray, upper: np.ndarray, group: np.ndarray, count: int) -> dict[str, int]:
    """How many of the next `count` labels to spend on each group (context, stratum), for the narrowest overall interval.

    A group of share w whose rate has prior variance v (from its interval) and outcomes of variance p(1-p) is left with
    w^2 v / (1 + k v / (p (1 - p))) after k labels; each label goes where it lowers the sum most. Within a group sample at
    random, or the audit is not a sample of it.
    """
    names, where = np.unique(group, return_inverse=True)
    where = where.ravel()
    n = np.bincount(where)
    share = n / n.sum()
    p = np.clip(np.bincount(where, risk) / n, 1e-3, 1 - 1e-3)
    prior = (np.bincount(where, np.asarray(upper) - np.asarray(lower)) / n / (2 * Z[0.9])) ** 2
    noise = p * (1 - p)
    spent = np.zeros(len(names), int)
    for _ in range(min(count, int(n.sum()))):
        left = share**2 * prior / (1 + spent * prior / noise)
        after = share**2 * prior / (1 + (spent + 1) * prior / noise)
        gain = np.where(spent < n, left - after, -1.0)
        spent[int(gain.argmax())] += 1
    return {str(name): int(k) for name, k in zip(names, spent, strict=True)}
