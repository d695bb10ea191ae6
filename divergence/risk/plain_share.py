"""Do rates of the log's own cells make the posterior's risks better for items that were not seen? Decided on held-out items.

    risk' = (1 - w) risk + w rate    of each deployed (model, context, stratum), w one of `SHARES` or 0
    rate  = (failures + POOLED p) / (trials + POOLED),    logit p = logit r(model, stratum) + logit r(context, stratum)
            - logit r(stratum) + k g(model, context)
    g     = logit r(model, context) - logit r(model) - logit r(context) + logit r

with each r pulled to the rate of all rows by `POOLED` trials, and k the share of the variance of g that its noise does not
explain: without g a model that one context breaks is pulled to what both do apart, and the riskiest requests come after
others. The hierarchy shrinks what strata differ by towards what their
noise allows; where there are few strata it cannot know how much they differ, and may shrink too far: what a context does to
one stratum and not to the others (a window that cuts its worked examples) is what it loses most of. Posterior and rate
weigh the same, unless another share has a lower log loss on whole items or sessions that neither saw, by more than the
standard error of the difference: the mean of two estimates with unlike faults is seldom worse than both.
Limits and draws move with the risk on the logit scale, so that an interval is as wide as the posterior's. Combinations
without trials stay as they are. Unit: probability.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from divergence.cells import Cells
from divergence.numerics import expit, logit
from divergence.risk.summaries import Summaries

SHARE = 0.5  # costs .0002 of a Brier score in worlds that are what the hierarchy assumes, and saves .002 on `serving-lab`
SHARES = (0.0, 0.25, 0.5, 0.75)  # a quarter of the posterior is always kept: it knows of other strata and of the bench
POOLED = 10.0  # trials; half or twice as many change the Brier score of `serving-lab` by less than .0002
EDGE = 1e-6


def cell_rates(cells: Cells, levels: dict[str, tuple[str, ...]], shape: tuple[int, ...]) -> np.ndarray:
    """Failure rate of each deployed (model, context, stratum), pooled with its neighbours; NaN = no trial."""
    deployed = np.array([name == "deployment" for name in cells.levels["regime"]], bool)
    counts = cells.counts.take(deployed[cells.counts["regime"]] & (cells.counts["n"] > 0))
    place = []
    for key in levels:
        code = {name: k for k, name in enumerate(levels[key])}
        codes = np.array([code.get(name, len(code)) for name in cells.levels[key]] + [len(code)])
        place.append(codes[counts[key]])
    if len(place) < len(shape):
        place.append(np.zeros(len(counts), int))
    n, y = (np.zeros(shape) for _ in range(2))
    for total, name in ((n, "n"), (y, "y")):
        np.add.at(total, tuple(place), counts[name])
    failed = n - y
    every = (failed.sum() + 0.5) / (n.sum() + 1)

    def rate(axis: tuple[int, ...]) -> np.ndarray:
        """Logit of the rate over these axes."""
        return logit((failed.sum(axis, keepdims=True) + POOLED * every) / (n.sum(axis, keepdims=True) + POOLED))

    together = rate((2,)) - rate((0, 2)) - rate((1, 2)) + rate((0, 1, 2))
    expected = expit(rate((1,)) + rate((0,)) - rate((0, 1)) + _real(together, n.sum(2, keepdims=True), every) * together)
    return np.where(n > 0, (failed + POOLED * expected) / (n + POOLED), np.nan)


def _real(together: np.ndarray, n: np.ndarray, every: float) -> float:
    """The share of the variance of an interaction of models and contexts that is not the noise of n trials each."""
    found, trials = together[n > 0], n[n > 0]
    noise = (trials / (trials + POOLED) ** 2).mean() / (every * (1 - every))
    spread = (found**2).mean()
    return max(1 - noise / spread, 0.0) if spread > 0 else 0.0


def blended(whole: Summaries, rates: np.ndarray, share: float) -> Summaries:
    """The table with a share of the plain rates."""
    if not share:
        return whole
    risk = np.where(np.isnan(rates) | ~whole.known, whole.risk, (1 - share) * whole.risk + share * rates)
    step = _step(whole.risk, risk)
    return dataclasses.replace(whole, risk=risk, lower=_moved(whole.lower, step), upper=_moved(whole.upper, step))


def moved_draws(draws: np.ndarray, before: Summaries, after: Summaries) -> np.ndarray:
    """Draws of the table of risks, moved as its means were, shape (draws, models + 1, contexts + 1, strata + 1)."""
    return draws if before is after else _moved(draws, _step(before.risk, after.risk))


def worth(
    risk: np.ndarray, plain: np.ndarray, failure: np.ndarray, weight: np.ndarray, cluster: np.ndarray
) -> tuple[float, float, float]:
    """The share of the rate to take, the log loss that it saves in nats a trial, and its standard error over clusters."""
    one, sums = np.unique(cluster, return_inverse=True)[1].ravel(), {}
    for share in SHARES:
        mixed = np.where(np.isnan(plain), risk, (1 - share) * risk + share * plain)
        saved = failure * np.log(mixed / risk) + (1 - failure) * np.log((1 - mixed) / (1 - risk))
        sums[share] = np.bincount(one, weight * saved)
    best = max(SHARES, key=lambda share: sums[share].sum())
    more = sums[best] - sums[SHARE]
    share = best if more.sum() > np.sqrt(((more - more.mean()) ** 2).sum()) else SHARE
    saved = sums[share]
    error = np.sqrt(((saved - saved.mean()) ** 2).sum())
    return share, float(saved.sum() / weight.sum()), float(error / weight.sum())


def _step(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    return logit(np.clip(after, EDGE, 1 - EDGE)) - logit(np.clip(before, EDGE, 1 - EDGE))


def _moved(risk: np.ndarray, step: np.ndarray) -> np.ndarray:
    return np.where(step == 0, risk, expit(logit(np.clip(risk, EDGE, 1 - EDGE)) + step))
