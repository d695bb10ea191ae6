"""How much of what contexts do to success goes with the answers having moved? Errors in variables, then a logit.

Of run r of item i of model m in context c, s_micr is its squared distance to the mean answer of the evaluation, less the
noise of both, in units of the spread (1 = as far as answers to different items). It stands for the true movement s*:

    s*_mic = mu_mc + a_mi + r_mic      s_micr = s*_mic + e_micr          variances t_a^2, t_r^2, e_c^2 from pairs of runs
    logit p_micr = alpha_m + beta_mi + gamma_c + b s*_mic                gamma_c = 0 and s* = 0 in the evaluation

A run is right or wrong for the same noise that moved it, so each run is given the movement of the *other* runs of its
item there. s* is integrated out: its conditional mean takes its place (regression calibration) and its variance flattens
the logit by (1 + pi b^2 var / 8)^(-1/2) (MacKay 1992). Without both the slope is attenuated,
as `naive_slope` shows.

    headline = 1 - sum_c gamma_c^2 / sum_c (gamma_c + b mu_c)^2      share of the contexts' squared effects that goes with
               movement; 0 where contexts act beside it, below 0 where movement hides their effect
    slope = b per unit of the spread        reliability = t^2 / (t^2 + e^2), t^2 = t_a^2 + t_r^2, mean over contexts
    gap, gap_with_movement = loss of success against the evaluation, and the part of it that b s* makes, in points

This is association: movement need not be the cause. Identified with 2 runs of items in the evaluation and in a context,
binary scores of both kinds. Each run of the items is a fold with its own fit; the mean of the fits takes its covariance
from the items' influence on that mean, so that copies count once.
Posterior: normal about the mode of alpha, gamma, b with the item effects integrated out (`runs_logit.py`), covariance
from the scores of items (sandwich).
"""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import polars as pl

from divergence.estimate import Estimate
from divergence.geometry.runs_logit import Data, Fit, best

QUESTION = "explained_by_displacement"
TEXT = "share of the contexts' effects on success that goes with movement of the answers"
DRAWS = 2000
STATISTICS = {
    None: "ratio",
    "slope": "ratio",
    "naive_slope": "ratio",
    "reliability": "ratio",
    "gap": "points",
    "gap_with_movement": "points",
}
QUANTILE = 0.05  # of the bootstrapped variance of true movement: at or below 0 it is not told from noise
FEWEST = 10  # items: below it the covariance between items' scores says nothing


@dataclasses.dataclass(frozen=True)
class Runs:
    """Runs by unit (item of a model), context and run; context 0 is the evaluation; NaN where there is none."""

    success: np.ndarray
    """0 or 1, (U, C, R)."""
    moved: np.ndarray
    """Squared movement, (U, C, R); 0 in the evaluation."""
    model: np.ndarray
    """Model of each unit, (U,)."""
    item: np.ndarray
    """Item of each unit, (U,)."""
    contexts: tuple[str, ...]
    """Names, (C,)."""


def explained_by_displacement(runs: Runs) -> Estimate:
    """The headline, the slopes with and without errors in variables, reliability, and the gap with its part."""
    runs = _shared(runs)
    counts = {
        "n_rows": int(np.isfinite(runs.success).sum()),
        "n_items": len(np.unique(runs.item)),
        "n_contexts": len(runs.contexts) - 1,
    }
    reason = reason_against(runs)
    frame = pl.DataFrame(
        {"statistic": list(STATISTICS), "unit": list(STATISTICS.values())}, schema_overrides={"statistic": pl.String}
    )
    if reason:
        return Estimate.refused(QUESTION, TEXT, "ratio", reason, rows=frame, outcome="score", counts=counts)
    mean, variance, reliability = calibrated(runs)
    given = others(runs)
    fits = folds(runs, np.where(np.isfinite(given), mean, np.nan), variance)
    if not fits:
        return Estimate.refused(
            QUESTION,
            TEXT,
            "ratio",
            "no run of the items has every model in every context: there is nothing that contexts could be compared on",
            rows=frame,
            outcome="score",
            counts=counts,
        )
    naive = folds(runs, given, np.zeros_like(variance))
    fixed, plain = drawn([f for f, _ in fits]), drawn([f for f, _ in naive])[:, -1]
    data, fit = fits[0][1], fits[0][0]
    middle = np.nan_to_num(_mean(np.where(np.isfinite(given), mean, np.nan), (0, 2)))[1:]
    models = data.models
    gamma, slope = fixed[:, models:-1], fixed[:, -1]
    whole = gamma + slope[:, None] * middle
    share = 1 - (gamma**2).sum(1) / (whole**2).sum(1)
    gap, part = (np.mean(of, 0) for of in zip(*(d.gaps(fixed, f.item) for f, d in fits), strict=True))
    draws = np.stack([share, slope, plain, np.full(DRAWS, reliability), gap, part], 1)
    method = (
        f"errors in variables from {runs.success.shape[2]} runs, logit with item effects integrated out, "
        f"item-clustered covariance; sd of items {fit.scales[0]:.2g}, of contexts {fit.scales[1]:.2g}"
    )
    return Estimate(
        QUESTION,
        TEXT,
        "ratio",
        frame,
        draws,
        "score",
        counts=counts,
        method=method,
        quantiles_only=np.arange(len(frame)) == 0,
    )


def _shared(runs: Runs) -> Runs:
    """Without the contexts that share no item with the evaluation: nothing moved there that could be measured."""
    keep = np.asarray(np.isfinite(runs.moved).any((0, 2)))
    keep[0] = True
    contexts = tuple(name for name, stays in zip(runs.contexts, keep, strict=True) if stays)
    return dataclasses.replace(runs, success=runs.success[:, keep], moved=runs.moved[:, keep], contexts=contexts)


def reason_against(runs: Runs) -> str | None:
    """Why there is no answer, or None."""
    repeated = np.isfinite(runs.moved[:, 1:]).sum(2) > 1
    known = runs.success[np.isfinite(runs.success)]
    if not repeated.any():
        return (
            "no item has 2 answers with embeddings in a context beside the evaluation's reruns: without replicates the "
            "error of a displacement is unknown, and its slope would be attenuated by an unknown factor"
        )
    if len(np.unique(runs.item[repeated.any(1)])) < FEWEST:
        return f"fewer than {FEWEST} items have replicates in a context: the slope needs more"
    if not np.isin(known, (0, 1)).all():
        return "scores lie between 0 and 1: the logit of success needs scores of 0 and 1"
    if known.min() == known.max():
        return "every score is the same: nothing is there to be explained"
    if np.nanmax(np.abs(runs.moved[:, 1:])) == 0:
        return "no answer moved: nothing is there to explain with"
    if np.quantile(true_movement(runs), QUANTILE) <= 0:
        return (
            "answers to the same item did not move alike in its runs beyond chance: movement within contexts is not "
            "told from noise, and its slope is not identified"
        )
    return None


def true_movement(runs: Runs, draws: int = 200) -> np.ndarray:
    """Bayesian bootstrap over items of the variance of true movement within contexts, from pairs of runs, (draws,)."""
    _, items = np.unique(runs.item, return_inverse=True)
    weights = np.random.default_rng(0).standard_exponential((draws, items.max() + 1))[:, items]
    seen = runs.moved[:, 1:]
    known = np.isfinite(seen)
    value = np.where(known, seen, 0.0)
    number, total = known.sum(2).astype(float), value.sum(2)
    pairs, products = number * (number - 1), total**2 - (value**2).sum(2)  # both orders of each pair
    top, bottom = np.zeros(draws), np.zeros(draws)
    for model in np.unique(runs.model):
        of = runs.model == model
        weight = weights[:, of]
        mean = weight @ total[of] / np.maximum(weight @ number[of], 1e-12)  # again in each draw
        crossed = weight @ ((number[of] - 1) * total[of])
        top += (weight @ products[of] - 2 * mean * crossed + mean**2 * (weight @ pairs[of])).sum(1)
        bottom += (weight @ pairs[of]).sum(1)
    return top / bottom


def others(runs: Runs) -> np.ndarray:
    """The mean movement of the other runs of the same unit and context, (U, C, R); 0 in the evaluation, NaN if alone."""
    known = np.isfinite(runs.moved)
    count, value = known.sum(2, keepdims=True), np.where(known, runs.moved, 0.0)
    mean = np.divide(value.sum(2, keepdims=True) - value, count - 1, out=np.full(value.shape, np.nan), where=count > 1)
    mean[:, 0] = 0.0
    return np.where(known, mean, np.nan)


def calibrated(runs: Runs) -> tuple[np.ndarray, np.ndarray, float]:
    """Mean of s* and variance of its own part given the other runs, each (U, C, R); mean reliability of one run."""
    seen = runs.moved[:, 1:]
    deviation = np.empty_like(seen)
    middle = np.empty_like(seen)
    for model in np.unique(runs.model):
        of = runs.model == model
        with np.errstate(invalid="ignore"):
            middle[of] = np.nan_to_num(_mean(seen[of], (0, 2)))[None, :, None]
    deviation = seen - middle
    total = _mean(deviation**2, (0, 2))
    pairs = list(itertools.combinations(range(seen.shape[2]), 2))
    together = _mean(np.stack([deviation[..., a] * deviation[..., b] for a, b in pairs], 2), (0, 2))
    error = np.nan_to_num(np.maximum(total - together, 0))  # by context
    true = float(np.maximum(_mean(np.stack([deviation[..., a] * deviation[..., b] for a, b in pairs], 2)), 0))
    unit = np.where(np.isfinite(deviation), deviation, 0).sum(2) / np.maximum(np.isfinite(deviation).sum(2), 1)
    present = np.isfinite(deviation).any(2)
    cross = unit.sum(1) ** 2 - (unit**2).sum(1)
    number = present.sum(1) ** 2 - present.sum(1)
    shared = float(np.clip(cross.sum() / max(number.sum(), 1), 0, true))
    own = max(true - shared, 0.0)
    given = others(runs)[:, 1:]
    runs_given = np.maximum(np.isfinite(seen).sum(2, keepdims=True) - 1, 1)
    noise = np.broadcast_to(error[None, :, None] / runs_given, seen.shape)
    usable = np.isfinite(given)
    spread = np.where(usable, own + noise, np.inf)
    spread = np.maximum(spread, 1e-12)
    off = np.where(usable, given - middle, 0.0)
    weight = shared * (1 / spread).sum(1, keepdims=True)
    item = shared * (off / spread).sum(1, keepdims=True) / (1 + weight)
    hold = np.where(usable, noise / spread, 1.0)  # how much of the item's part the run leaves open
    mean = middle + item * hold + np.where(usable, own / spread, 0.0) * off
    variance = np.where(usable, own * noise / spread, own)  # what is open of the item's part, the item effects take up
    reliable = true / np.maximum(true + error, 1e-12)
    whole = [np.concatenate([np.zeros((len(seen), 1, seen.shape[2])), of], 1) for of in (mean, variance)]
    return whole[0], whole[1], float(reliable.mean())


def folds(runs: Runs, moved: np.ndarray, variance: np.ndarray) -> list[tuple[Fit, Data]]:
    """A fit to the first run of every unit in every context, to the second, and so on.

    One fit to all runs would hold two covariates for one true movement, and take their difference for movement.
    """
    fits: list[tuple[Fit, Data]] = []
    _, items = np.unique(runs.item, return_inverse=True)
    for r in range(runs.success.shape[2]):
        use = np.isfinite(runs.success[..., r]) & np.isfinite(moved[..., r])
        unit, context = np.nonzero(use)
        if len(np.unique(context)) < len(runs.contexts) or len(np.unique(runs.model[unit])) < len(np.unique(runs.model)):
            continue  # few units have so many runs
        _, model = np.unique(runs.model[unit], return_inverse=True)
        data = Data(
            runs.success[use, r],
            model,
            unit,
            context,
            items[unit],
            items.max() + 1,
            moved[use, r],
            variance[use, r],
            len(use),
        )
        fits.append((best(data, fits[0][0] if fits else None), data))
    return fits


def drawn(fits: list[Fit]) -> np.ndarray:
    """Draws of the mean of the folds' effects, (draws, P)."""
    influence = np.mean([fit.influence for fit in fits], 0)
    covariance = influence.T @ influence + 1e-12 * np.eye(influence.shape[1])
    mean = np.mean([fit.fixed for fit in fits], 0)
    return np.random.default_rng(0).multivariate_normal(mean, covariance, DRAWS, method="cholesky")


def _mean(values: np.ndarray, axis: tuple[int, ...] | None = None) -> np.ndarray:
    """Mean of the numbers that are there; NaN where there are none."""
    known = np.isfinite(values)
    count = known.sum(axis)
    return np.divide(np.where(known, values, 0).sum(axis), count, out=np.full(np.shape(count), np.nan), where=count > 0)
