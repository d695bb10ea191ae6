"""Pareto-smoothed importance weights, and the k-hat that says whether they can be trusted.

The largest weights are replaced by the expected order statistics of a generalised Pareto law fitted to them (Vehtari,
Simpson, Gelman, Yao and Gabry 2024); the fit is the quasi-Bayesian one of Zhang and Stephens 2009. Tested against
arviz-stats, which takes longer to load than the whole fit takes.
"""

from __future__ import annotations

import numpy as np

GROWN_MAX = 700.0  # the largest exponent of a float: what lies beyond is cut to the largest weight anyway


def smoothed_weights(log_weight: np.ndarray) -> tuple[np.ndarray, float]:
    """Weights (S,) that sum to one, and k-hat, from log weights (S,)."""
    log_weight = log_weight - log_weight.max()
    size = len(log_weight)
    tail = int(min(0.2 * size, 3 * np.sqrt(size)))
    order = np.argsort(log_weight)
    largest = order[-tail:]
    cut = np.exp(log_weight[order[-tail - 1]])
    excess = np.exp(log_weight[largest]) - cut
    k_hat = 0.0 if tail >= 5 else np.inf  # equal weights have no tail; too few have none that can be seen
    smooth = np.exp(log_weight)
    if tail >= 5 and excess[-1] > excess[0]:
        k_hat, scale = fit_pareto(excess)
        chance = (np.arange(tail) + 0.5) / tail
        grown = np.minimum(-k_hat * np.log1p(-chance), GROWN_MAX)
        quantile = scale * np.expm1(grown) / k_hat if abs(k_hat) > 1e-12 else -scale * np.log1p(-chance)
        smooth[largest] = np.minimum(cut + quantile, 1.0)
    return smooth / smooth.sum(), float(k_hat)


def fit_pareto(excess: np.ndarray) -> tuple[float, float]:
    """Shape k and scale of a generalised Pareto law from sorted exceedances (n,), k drawn a little towards 1/2."""
    n = len(excess)
    grid = 30 + int(np.sqrt(n))
    quartile = excess[max(int(n / 4 + 0.5) - 1, 0)]
    b = 1 - np.sqrt(grid / (np.arange(1, grid + 1) - 0.5))
    b = b / (3 * max(quartile, 1e-300)) + 1 / excess[-1]
    k = np.log1p(-b[:, None] * excess).mean(1)
    profile = n * (np.log(-(b / k)) - k - 1)
    weight = np.exp(profile - profile.max())
    weight /= weight.sum()
    chosen = weight @ b
    shape = np.log1p(-chosen * excess).mean()
    return float((n * shape + 10 * 0.5) / (n + 10)), float(-shape / chosen)
