"""Pareto smoothing against arviz-stats, and against laws with a known tail."""

import numpy as np
import pytest

from divergence.joint.pareto import fit_pareto, smoothed_weights


@pytest.mark.parametrize("shape", [0.2, 0.5, 0.9])
def test_same_as_arviz(shape):
    from arviz_stats.base import array_stats

    log_weight = np.random.default_rng(1).pareto(1 / shape, 4000)
    log_weight = np.log1p(log_weight)
    theirs, theirs_k = array_stats.psislw(-log_weight)
    weight, k_hat = smoothed_weights(log_weight)
    expected = np.exp(theirs - np.max(theirs))
    assert k_hat == pytest.approx(float(theirs_k), abs=1e-10)
    np.testing.assert_allclose(weight, expected / expected.sum(), rtol=1e-8)


def test_shape_of_a_known_law():
    # The sd of the shape's estimate is (1 + k) / sqrt(n) = .02 at n = 4000; five of them.
    excess = np.sort(np.random.default_rng(2).pareto(4.0, 4000))
    shape, scale = fit_pareto(excess)
    assert shape == pytest.approx(0.25, abs=0.1)
    assert scale == pytest.approx(0.25, rel=0.1)


def test_equal_weights_are_kept():
    weight, k_hat = smoothed_weights(np.zeros(1000))
    np.testing.assert_allclose(weight, 1e-3)
    assert k_hat == 0
    assert smoothed_weights(np.zeros(10))[1] == np.inf


@pytest.mark.parametrize(("law", "seed"), [("normal", 2), ("uniform", 2), ("normal", 0)])
def test_one_weight_that_holds_everything_is_said_and_raises_nothing(law, seed):
    """Log weights hundreds of nats apart, as of a proposal that misses the mode: k-hat goes beyond 100."""
    generator = np.random.default_rng(seed)
    drawn = 400 * generator.standard_normal(2000) if law == "normal" else -6000 * generator.random(2000)
    weight, k_hat = smoothed_weights(drawn)
    assert np.isfinite(weight).all() and weight.sum() == pytest.approx(1.0) and k_hat > 50
