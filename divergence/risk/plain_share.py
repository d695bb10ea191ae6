"""Do plain rates of the log's own cells make the posterior's risks better for items that were not seen? Decided on held-out
items.

    risk' = (1 - w) risk + w (failures + 1/2) / (trials + 1)    of each deployed (model, context, stratum), w = 0 or `SHARE`

The hierarchy shrinks what strata differ by towards what their noise allows; where there are few strata it cannot know how
much they differ, and may shrink too far. Half a plain rate is taken where, on whole items or sessions that the fit did not
see, it lowers the log loss by more than the standard error of that. Limits and draws move with the risk on the logit scale,
so that an interval is as wide as the posterior's. Combinations without trials stay as they are. Unit: probability.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from divergence.cells import Cells
from divergence.numerics import expit, logit
from divergence.risk.summaries import Summaries

SHARE = 0.5
EDGE = 1e-6


def cell_rates(cells: Cells, levels: dict[str, tuple[str, ...]], shape: tuple[int, ...]) -> np.ndarray:
    """Failure rate of each deployed (model, context, stratum), half a failure and half a success added; NaN = no trial."""
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
    return np.where(n > 0, (n - y + 0.5) / (n + 1), np.nan)


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
) -> tuple[float, float]:
    """Log loss saved by `SHARE` of the plain rate, in nats a trial, and its standard error over clusters."""
    mixed = np.where(np.isnan(plain), risk, (1 - SHARE) * risk + SHARE * plain)
    saved = failure * np.log(mixed / risk) + (1 - failure) * np.log((1 - mixed) / (1 - risk))
    sums = np.bincount(np.unique(cluster, return_inverse=True)[1].ravel(), weight * saved)
    return float(sums.sum() / weight.sum()), float(np.sqrt(((sums - sums.mean()) ** 2).sum()) / weight.sum())


def _step(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    return logit(np.clip(after, EDGE, 1 - EDGE)) - logit(np.clip(before, EDGE, 1 - EDGE))


def _moved(risk: np.ndarray, step: np.ndarray) -> np.ndarray:
    return np.where(step == 0, risk, expit(logit(np.clip(risk, EDGE, 1 - EDGE)) + step))
