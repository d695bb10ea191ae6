"""Rates: shape, slope and coverage of the interval."""

import numpy as np

from divergence.drift.trend import HOUR, clear_trend, rate

MIDDLE = np.arange(60) * HOUR // 2  # a chunk every half hour


def test_shapes():
    rng = np.random.default_rng(0)
    noise, hour = 0.1 * rng.standard_normal((3, 60)), MIDDLE / HOUR
    assert rate(noise[0] + 0.2 * hour, MIDDLE).shape == "slope"
    assert rate(noise[1] + (hour >= 15), MIDDLE).shape == "jump"
    bend = rate(noise[2] + 0.3 * np.maximum(hour - 15, 0), MIDDLE)
    assert bend.shape == "bend" and bend.lower < 0.3 < bend.upper
    assert rate(noise[0][:7], MIDDLE[:7]) is None


def test_a_jump_over_a_pause_is_no_slope():
    middle = np.concatenate([np.arange(15), 2000 + np.arange(15)]) * HOUR
    series = np.where(np.arange(30) >= 15, 1.0, 0.0) + 0.1 * np.random.default_rng(1).standard_normal(30)
    assert rate(series, middle).shape == "jump"


def test_the_interval_covers_the_slope():
    rng = np.random.default_rng(2)
    hour, covered = MIDDLE / HOUR, 0
    for _ in range(300):
        made = rate(0.2 * hour + rng.standard_normal(60), MIDDLE)
        covered += made.shape == "slope" and made.lower <= 0.2 <= made.upper
    assert covered >= 300 * 0.9  # .95 less 4 standard errors of 300 runs, less the runs that a bend fits better by chance


def test_a_trend_is_clear_or_not():
    rng = np.random.default_rng(3)
    white = rng.standard_normal((40, 500))
    assert clear_trend(white).mean() < 0.01
    assert clear_trend(white + 0.2 * np.arange(40)[:, None]).mean() > 0.99
