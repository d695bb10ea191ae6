"""Does a score tell requests apart, and better than a plain rate? Measures of both, side by side.

    Brier, log loss    means over judged trials
    auc       P(risk of a failure > risk of a success), ties half
    capture   share of all failures among the riskiest 1, 5, 10 % of requests: what an auditor finds for a budget of labels
    resolution, uncertainty    Murphy's parts of the Brier score over `BINS` bins; `reliability` has the third

Log loss takes both scores no nearer to 0 and 1 than `EDGE`: a plain rate of one row is 0 or 1 and would lose infinitely.
Each measure stands as [value, 5 %, 95 %], limits by leaving out one of `GROUPS` random groups of clusters at a time. Unit:
probability; log loss in nats. Source: Murphy 1973; Efron and Stein 1981 for the jackknife.
"""

from __future__ import annotations

import math

import numpy as np

from divergence.numerics import NORMAL_95
from divergence.random_streams import stream
from divergence.risk.item_lookup import PROBIT_MAX

GROUPS, BINS = 16, 256
EDGE = 0.005
BUDGETS = (0.01, 0.05, 0.1)
SIDES = ("score", "plain")
SUMS = ("brier", "log_loss")
EDGES = np.array([0.5 * math.erfc(-x / math.sqrt(2)) for x in np.linspace(-PROBIT_MAX, PROBIT_MAX, BINS + 1)[1:-1]])
"""Of the bins of risks, even in probits: the riskiest hundredth may all lie above .99. Plain rates have even bins."""


def losses(risk: np.ndarray, failure: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Brier score and log loss of each row."""
    edged = np.clip(risk, EDGE, 1 - EDGE)
    brier = failure * (1 - risk) ** 2 + (1 - failure) * risk**2
    return brier, -failure * np.log(edged) - (1 - failure) * np.log1p(-edged)


def even_bins(rate: np.ndarray) -> np.ndarray:
    """Bin of each plain rate."""
    return np.minimum((rate * BINS).astype(np.intp), BINS - 1)


def beside_plain(
    risk: np.ndarray, plain: np.ndarray, failure: np.ndarray, weight: np.ndarray, cluster: np.ndarray, seed: int = 0
) -> dict:
    """The measures of rows in memory; `cluster` is what is left out whole."""
    one, where = np.unique(cluster, return_inverse=True)
    group = (stream(seed, "groups of clusters").permutation(len(one)) % GROUPS)[where.ravel()]
    bins, sums = np.zeros((GROUPS, len(SIDES), BINS, 2)), np.zeros((GROUPS, len(SIDES), len(SUMS)))
    plain = np.where(np.isnan(plain), 0.5, plain)
    places = np.searchsorted(EDGES, risk, side="right"), even_bins(plain)
    for side, (values, place) in enumerate(zip((risk, plain), places, strict=True)):
        for k, counted in enumerate((weight, weight * failure)):
            np.add.at(bins[:, side, :, k], (group, place), counted)
        for k, loss in enumerate(losses(values, failure)):
            sums[:, side, k] = np.bincount(group, weight * loss, GROUPS)
    return measures(bins, sums)


def measures(bins: np.ndarray, sums: np.ndarray) -> dict:
    """Every measure of both sides with its interval; arrays by group of items."""
    whole = _measures(bins.sum(0), sums.sum(0))
    there = np.flatnonzero(bins[:, 0, :, 0].sum(-1))
    parts = [_measures(np.delete(bins, g, 0).sum(0), np.delete(sums, g, 0).sum(0)) for g in there] if len(there) > 1 else []
    out: dict = {"judged": float(bins[:, 0, :, 0].sum()), "failed": float(bins[:, 0, :, 1].sum())}
    for name in whole[0]:
        score, plain = (_interval(whole[s][name], [p[s][name] for p in parts]) for s in range(2))
        less = _interval(whole[0][name] - whole[1][name], [p[0][name] - p[1][name] for p in parts])
        out[name] = {"score": score, "plain": plain, "difference": less}
    return out


def _interval(value: float, parts: list[float]) -> list[float | None]:
    """The value and its 90 % limits by the delete-a-group jackknife; no limits from fewer than two groups."""
    left = np.array(parts)
    count = len(left)
    if count < 2 or np.isnan(value) or np.isnan(left).any():
        return [None if np.isnan(value) else float(value), None, None]
    error = np.sqrt((count - 1) / count * ((left - left.mean()) ** 2).sum())
    wide = NORMAL_95 * (1 + (NORMAL_95**2 + 1) / (4 * (count - 1)))  # the first term of Student's t
    return [float(value), float(value - wide * error), float(value + wide * error)]


def _measures(bins: np.ndarray, sums: np.ndarray) -> list[dict[str, float]]:
    return [
        {
            **{
                name: float(v / side[:, 0].sum()) if side[:, 0].sum() else np.nan for name, v in zip(SUMS, loss, strict=True)
            },
            **discrimination(*side.T),
        }
        for side, loss in zip(bins, sums, strict=True)
    ]


def discrimination(n: np.ndarray, failures: np.ndarray) -> dict[str, float]:
    """AUC, captures and Murphy's resolution and uncertainty of trials and failures in bins of ascending risk.

    >>> discrimination(np.array([90.0, 10.0]), np.array([0.0, 10.0]))["capture_0.05"]
    0.5
    """
    total, failed = n.sum(), failures.sum()
    fine = n - failures
    if not total or not failed or not fine.sum():
        return dict.fromkeys(("auc", *(f"capture_{b:g}" for b in BUDGETS), "resolution", "uncertainty"), np.nan)
    below = np.cumsum(fine) - fine
    auc = float(failures @ (below + fine / 2) / failed / fine.sum())
    most, caught = np.cumsum(n[::-1]), np.cumsum(failures[::-1])
    # A bin that a budget cuts is looked at in random order.
    captures = {f"capture_{b:g}": float(np.interp(b * total, np.r_[0, most], np.r_[0, caught]) / failed) for b in BUDGETS}
    there = n > 0
    rate, base = failures[there] / n[there], failed / total
    resolution = float(n[there] @ (rate - base) ** 2 / total)
    return {"auc": auc, **captures, "resolution": resolution, "uncertainty": float(base * (1 - base))}
