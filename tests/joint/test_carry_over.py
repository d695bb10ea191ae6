"""Lines from bench to deployment: against a closed form, coverage in drawn worlds, and what must not change them."""

import numpy as np
import pytest
from scipy import stats

from divergence.joint.carry_over import fitted_lines

RNG = np.random.default_rng(1804)


def _known(x, y, draws=40_000):
    """Levels known exactly: every draw alike."""
    return np.repeat(x[None], draws, 0), np.repeat(y[None], draws, 0)


def test_one_context_is_the_textbook_prediction_interval():
    """With a vague slope: a + b x* +- t(n - 2) s sqrt(1 + 1/n + (x* - mean)^2 / Sxx)."""
    n, new = 12, 1.7
    x = RNG.normal(size=n)
    y = 0.4 + 0.8 * x + RNG.normal(0, 0.3, n)
    line = fitted_lines(*_known(x, y[:, None]), np.ones((n, 1), bool), np.random.default_rng(0), slope_sd=1e4, nu=0.0)
    drawn = line.at(np.full(40_000, new), np.random.default_rng(1))[:, 0]
    fit = stats.linregress(x, y)
    s = np.sqrt(((y - fit.intercept - fit.slope * x) ** 2).sum() / (n - 2))
    width = s * np.sqrt(1 + 1 / n + (new - x.mean()) ** 2 / ((x - x.mean()) ** 2).sum())
    exact = stats.t(n - 2, fit.intercept + fit.slope * new, width).ppf([0.05, 0.5, 0.95])
    # Monte Carlo error of a 5 % quantile of 40,000 draws: sqrt(.05 .95 / 40000) / density, at most .02 widths
    np.testing.assert_allclose(np.quantile(drawn, [0.05, 0.5, 0.95]), exact, atol=3 * 0.02 * width)


@pytest.mark.parametrize("models", [3, 6, 30])
def test_intervals_hold_a_new_model(models):
    """Worlds of four contexts with slopes and residuals of their own: 90 % intervals hold the new model's levels."""
    inside = []
    for world in range(300):
        rng = np.random.default_rng([18, models, world])
        slope, sd = rng.normal(1, 0.5, 4), np.exp(rng.normal(-1.5, 0.5, 4))
        x = rng.normal(size=models + 1)
        y = slope * x[:, None] + sd * (rng.normal(size=(models + 1, 4)) + rng.normal(size=(models + 1, 1))) / np.sqrt(2)
        line = fitted_lines(*_known(x[1:], y[1:], 400), np.ones((models, 4), bool), rng)
        low, high = np.quantile(line.at(np.full(400, x[0]), rng), [0.05, 0.95], axis=0)
        inside += list((y[0] >= low) & (y[0] <= high))
    # 1,200 hits that hang together within a world: at worst 300 independent ones, sd .017
    assert 0.9 - 3 * 0.017 <= np.mean(inside) <= 0.9 + 3 * 0.017 + 0.02 * (models == 3)


def test_residuals_hang_together_over_contexts():
    n = 40
    common = RNG.normal(size=(n, 1))
    y = common + 0.1 * RNG.normal(size=(n, 5))
    line = fitted_lines(*_known(RNG.normal(size=n), y, 4000), np.ones((n, 5), bool), np.random.default_rng(0))
    drawn = line.at(np.zeros(4000), np.random.default_rng(1))
    assert np.corrcoef(drawn.T)[0, 1] > 0.95


def test_farther_from_the_others_is_wider():
    x = RNG.normal(size=8)
    y = x[:, None] + RNG.normal(0, 0.2, (8, 1))
    line = fitted_lines(*_known(x, y, 4000), np.ones((8, 1), bool), np.random.default_rng(0))
    widths = [np.std(line.at(np.full(4000, at), np.random.default_rng(1))) for at in (0.0, 3.0, 9.0)]
    assert widths[0] < widths[1] < widths[2]


def test_a_context_that_one_model_ran_in_is_wide_and_finite():
    x, y = RNG.normal(size=6), RNG.normal(size=(6, 4)) * 0.2
    seen = np.ones((6, 4), bool)
    seen[1:, 3] = False
    line = fitted_lines(*_known(x, y, 2000), seen, np.random.default_rng(0))
    spread = line.at(np.zeros(2000), np.random.default_rng(1))
    low, high = np.quantile(spread, [0.05, 0.95], axis=0)
    assert np.isfinite(spread).all() and (high - low)[3] > 1.3 * (high - low)[:3].mean()
