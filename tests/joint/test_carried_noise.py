"""What deviations from a line are a model's own: against the oracle of loops, and what noise must not do."""

import numpy as np
import pytest
import scipy.sparse as sp

from divergence.joint.carried_noise import contrast_noise, likeliest_variance, without_noise
from divergence.joint.link import Response

RNG = np.random.default_rng(1515)


@pytest.mark.parametrize(("sigma", "noise"), [(0.3, 0.1), (0.1, 0.3), (0.5, 0.0)])
def test_the_likeliest_variance_is_found_among_many(sigma, noise):
    """Of 4,000 deviations the estimate errs by sqrt(2 / 4000) of the whole variance, five times at most, and by the grid."""
    values = RNG.normal(0, np.hypot(sigma, noise), 4000)
    found = likeliest_variance(values**2, np.ones(4000), np.full(4000, noise**2))
    assert abs(found - sigma**2) < 5 * np.sqrt(2 / 4000) * (sigma**2 + noise**2) + 0.02 * sigma**2


def test_noise_alone_leaves_nothing():
    assert likeliest_variance(np.array([0.5, 1.2, 0.1]), np.ones(3), np.full(3, 2.0)) == 0


def _drawn(sigma, noise, models=6, contexts=3, draws=400):
    """Levels whose draws have the noise of the measured ones once more, about lines of slope 1 through x."""
    true = RNG.normal(0, sigma, (models, contexts))
    measured = true + RNG.normal(0, noise, (models, contexts))
    left = measured - measured.mean(0)
    line = np.zeros((draws, models, contexts))
    y = left + RNG.normal(0, noise, (draws, models, contexts))
    return y - y.mean(1, keepdims=True), line, left


def test_without_noise_draws_stay_as_they_are():
    y, line, left = _drawn(0.4, 0.0)
    seen, none = np.ones(left.shape, bool), np.zeros((2, len(left)))
    # the draws' mean square over models - 2 degrees is that of the measured ones but for the grid
    np.testing.assert_allclose(without_noise(y, line, seen, left, none), y, atol=0.03 * np.abs(y).max())


def test_noise_that_explains_all_brings_draws_to_the_line_and_is_never_added():
    y, line, left = _drawn(0.0, 0.3)
    seen = np.ones(left.shape, bool)
    near = without_noise(y, line, seen, left, np.full((2, len(left)), 1.0))
    np.testing.assert_allclose(near, line, atol=1e-12)
    for size in (0.001, 0.01, 0.1):
        some = without_noise(y, line, seen, left, np.full((2, len(left)), size))
        assert np.square(some).mean() <= np.square(y).mean() * (1 + 1e-9)


def test_a_combination_without_rows_keeps_its_draws():
    y, line, left = _drawn(0.1, 0.3)
    seen = np.ones(left.shape, bool)
    seen[0, 1] = False
    found = without_noise(y, line, seen, left * seen, np.full((2, len(left)), 1.0))
    np.testing.assert_array_equal(found[:, 0, 1], y[:, 0, 1])
    np.testing.assert_allclose(found[:, 1], line[:, 1], atol=1e-12)


@pytest.mark.parametrize("sparse", [False, True])
def test_the_noise_of_contrasts_is_that_of_plain_loops(sparse):
    """Two models, bench and two contexts each: root (9, 6), slopes .8 and 1.2, the second model in one context."""
    root = RNG.normal(size=(9, 6))
    response = Response(np.zeros(6), None, np.full(6, 0.5), root=sp.csr_array(root) if sparse else root)
    bench = sp.csr_array(([1.0, 1.0], ([0, 3], [0, 1])), (6, 2))
    deployed = sp.csr_array(([1.0, 1.0, 1.0], ([1, 2, 4], [0, 1, 2])), (6, 4))
    slope = np.array([0.8, 1.2])
    contrast = [
        [root[:, 1] - 0.8 * root[:, 0], root[:, 2] - 1.2 * root[:, 0]],
        [root[:, 4] - 0.8 * root[:, 3]],
    ]
    middle = [np.mean(c, 0) for c in contrast]
    alike = max(float(middle[0] @ middle[1]), 0.0)
    shared = [max(float(m @ m) - alike, 0.0) for m in middle]
    rest = [
        sum(float((c - m) @ (c - m)) for c in each) / max(len(each) - 1, 1) for each, m in zip(contrast, middle, strict=True)
    ]
    np.testing.assert_allclose(contrast_noise(response, deployed, bench, slope), [shared, rest], atol=1e-12)
