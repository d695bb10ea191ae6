"""Success rates that differ from task to task: the beta-binomial law on a grid of its mean and its correlation.

    p_i ~ Beta(m (1 - r) / r, (1 - m)(1 - r) / r),   y_i ~ Binomial(n_i, p_i)

with mean m and intra-class correlation r (r = 0: all tasks alike; r = 1: every task always or never). Uniform priors on
both; the posterior is computed on midpoints of a grid, so there is nothing to converge. Used wherever a rate over
tasks is raised to a power: E p^k is far from (E p)^k when tasks differ. Source: Gelman et al. 2013, section 5.3.
"""

from __future__ import annotations

import functools

import numpy as np
from scipy.special import betaln

POINTS = 100  # a side of the grid: the step, .01, is below a tenth of the posterior sd of 500 tasks
MIDDLES = (np.arange(POINTS) + 0.5) / POINTS
KEPT = 256  # grids of 80 kB of each of two kinds: 40 MB at most


def beta_parameters(mean: np.ndarray, correlation: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The two parameters of the Beta law; mean .5 and correlation 1/3 are (1, 1)."""
    total = (1 - correlation) / correlation
    return mean * total, (1 - mean) * total


def draw_beta_binomial(n: np.ndarray, y: np.ndarray, draws: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Posterior draws of mean and correlation, each (draws,), from trials and successes of tasks, each (tasks,)."""
    counts, times = np.unique(np.stack([n, y]), axis=1, return_counts=True)
    mass = _mass(tuple(zip(*counts.tolist(), times.tolist(), strict=True)))
    picks = rng.choice(len(mass), draws, p=mass)
    jitter = (rng.random((2, draws)) - 0.5) / POINTS  # within a cell of the grid the density is taken as level
    return MIDDLES[picks // POINTS] + jitter[0], MIDDLES[picks % POINTS] + jitter[1]


@functools.lru_cache(maxsize=KEPT)
def _mass(seen: tuple[tuple[float, float, int], ...]) -> np.ndarray:
    """Posterior mass of the grid's cells, (POINTS^2,), from trials, successes, and how many tasks had them. Several
    questions ask for the same."""
    log = np.zeros((POINTS, POINTS))
    for trials, good, often in seen:
        log += often * _log_chance(trials, good)
    mass = np.exp(log - log.max()).ravel()
    mass /= mass.sum()
    mass.flags.writeable = False
    return mass


@functools.lru_cache(maxsize=KEPT)
def _log_chance(trials: float, good: float) -> np.ndarray:
    """Log chance of one order of `good` successes in `trials`, on the grid, (POINTS, POINTS). All combinations of a log
    share the few that occur."""
    a, b = beta_parameters(*np.meshgrid(MIDDLES, MIDDLES, indexing="ij"))
    found = betaln(a + good, b + trials - good) - betaln(a, b)
    found.flags.writeable = False
    return found


def laws_of_scorers(
    n: np.ndarray, y: np.ndarray, draws: int, rng: np.random.Generator
) -> list[tuple[np.ndarray, np.ndarray]]:
    """`draw_beta_binomial` of each scorer, from trials and successes (scorers, tasks), with the same random numbers.

    A mean over judges of the same answers is no better known than what one of them says, so their draws move together.
    Where a scorer saw two tasks twice, those that saw none twice say nothing of how tasks differ and are left out.
    """
    several = (n >= 2).sum(1) >= 2
    used = np.flatnonzero(several if several.any() else (n > 0).any(1))
    seed, found = int(rng.integers(2**62)) if len(used) > 1 else 0, []
    for k in used:
        known = n[k] > 0
        found.append(draw_beta_binomial(n[k, known], y[k, known], draws, np.random.default_rng(seed) if seed else rng))
    return found


def power_mean(mean: np.ndarray, correlation: np.ndarray, k: int) -> np.ndarray:
    """E p^k; for the uniform law (mean 1/2, correlation 1/3) it is 1 / (k + 1)."""
    a, b = beta_parameters(mean, correlation)
    return np.prod([(a + j) / (a + b + j) for j in range(k)], axis=0)
