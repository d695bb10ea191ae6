"""Strata: what a new one is like."""

import numpy as np
import pytest

from divergence.numerics import expit
from divergence.risk.strata import FITTED_AGAIN, WIDTHS, _around_their_mean, _fitted, _fresh, _Task


@pytest.mark.parametrize("n", [(1, 1, 1), (5, 3, 1, 1), (9, 1)])
def test_a_new_task_varies_more_around_the_mean_of_seen_ones_than_they_do(n):
    """By drawing tasks: 40,000 draws leave 1 % of a variance, so four standard errors of the ratio are 6 %."""
    share = np.array(n) / sum(n)
    tasks = np.random.default_rng(0).standard_normal((40_000, len(n) + 1))
    level = tasks[:, :-1] @ share
    seen = ((tasks[:, :-1] - level[:, None]) ** 2).mean()
    assert _fresh(np.array(n)) == pytest.approx(((tasks[:, -1] - level) ** 2).mean() / seen, rel=0.06)


def test_noise_around_the_arms_own_level_is_less_than_that_of_the_task():
    """By drawing noise of tasks: 40,000 draws leave .7 % of a variance, so four standard errors are 3 %."""
    n = np.array([5, 3, 1, 1])
    noise = np.random.default_rng(0).standard_normal((40_000, len(n)))
    around = noise - (noise @ (n / n.sum()))[:, None]
    np.testing.assert_allclose(_around_their_mean(n), around.var(0), rtol=0.03)


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5, 1.0])
def test_a_fitted_rate_is_the_root_of_its_penalised_likelihood(rate):
    """One arm, one task: binomial likelihood times the prior, by bisection of its slope."""
    task = _Task(np.zeros(1, int), np.array([rate]), np.array([20.0]), np.array([0.3]), np.ones((1, 1)), 1.0)
    kinds, deviations = np.ones((4, 1, 1)), np.array([0.5, 0.3, 0.2, 0.1])
    z = task.rates()
    for _ in range(30):
        z = task.at(_fitted(z, deviations, kinds)[0])
    found = _fitted(z, deviations, kinds)[0][0]
    low, high = -5.0, 5.0
    for _ in range(60):
        middle = (low + high) / 2
        slope = 20 * (rate - expit(np.array(0.3 + middle))) - middle / (deviations**2).sum()
        low, high = (middle, high) if slope > 0 else (low, middle)
    assert found == pytest.approx(low, abs=1e-6)


def test_rates_near_the_ends_are_not_shrunk_more_than_others():
    """Tasks .9 logits above their arms, one of them at 97 %, come back by as much as the noise of their levels leaves."""
    random, kept = np.random.default_rng(0), []
    kinds = np.ones((4, 1, 1))
    for middle in (0.0, 2.5):
        back = []
        for _ in range(400):
            level = random.binomial(40, expit(np.array(middle + 0.9))) / 40
            task = _Task(np.zeros(1, int), np.array([level]), np.array([40.0]), np.array([middle]), np.ones((1, 1)), 1.0)
            z = task.rates()
            for _ in range(FITTED_AGAIN):
                z = task.at(_fitted(z, WIDTHS / 2, kinds)[0])
            back.append(_fitted(z, WIDTHS / 2, kinds)[0][0])
        kept.append(np.mean(back))
    prior, noise = ((WIDTHS / 2) ** 2).sum(), [1 / (40 * p * (1 - p)) for p in expit(np.array([0.0, 2.5]) + 0.9)]
    expected = [0.9 * prior / (prior + v) for v in noise]
    # The mean of 400 fits has an error of at most .02; what a quadratic leaves of a binomial is less than .15 logits here.
    np.testing.assert_allclose(kept, expected, atol=0.15)
