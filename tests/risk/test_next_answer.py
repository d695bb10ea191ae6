"""The next answer of an item: against integrals on a fine grid, what holds of copies, and places that keep both."""

import numpy as np
import pytest
from scipy.special import log_ndtr, ndtr, ndtri

from divergence.risk.item_lookup import answers, place_of
from divergence.risk.next_answer import next_failures, normal_risk, place_for


@pytest.mark.parametrize(("n", "y"), [(1, 0), (1, 1), (4, 4), (7, 0), (5, 2), (300, 7), (2, 0.7), (40, 40)])
@pytest.mark.parametrize(("mean", "variance"), [(0.0, 1.0), (-2.5, 0.3), (3.0, 60.0), (0.4, 400.0)])
def test_moments_are_those_of_a_fine_grid(n, y, mean, variance):
    f = np.linspace(mean - 12 * np.sqrt(variance), mean + 12 * np.sqrt(variance), 400_001)
    mass = y * log_ndtr(f) + (n - y) * log_ndtr(-f) - 0.5 * (f - mean) ** 2 / variance
    mass = np.exp(mass - mass.max())
    right = [(mass * ndtr(-f) ** k).sum() / mass.sum() for k in (1, 2)]
    found = next_failures(*(np.array([float(v)]) for v in (y, n, mean, variance)))
    # Forty in a row make an edge of width .35, and points .66 apart are in error by exp(-2 pi^2 .35^2 / .66^2) of it.
    np.testing.assert_allclose([v[0] for v in found], right, rtol=5e-3, atol=2e-5)


def test_one_trial_is_the_angle_of_a_pair():
    """Two answers under N(0, v) agree with probability 1/2 + asin(v / (1 + v)) / pi (Sheppard 1899)."""
    v = np.array([0.1, 1.0, 9.0, 100.0])
    first = next_failures(np.zeros(4), np.ones(4), np.zeros(4), v)[0]
    np.testing.assert_allclose(first, 0.5 + np.arcsin(v / (1 + v)) / np.pi, atol=1e-6)


def test_right_and_wrong_are_mirrored_and_more_of_the_same_is_surer():
    y, n = np.array([0.0, 1.0, 3.0, 9.0]), np.array([9.0, 9.0, 9.0, 9.0])
    mean, variance = np.full(4, 0.3), np.full(4, 12.0)
    failing, failing2 = next_failures(y, n, mean, variance)
    passing, passing2 = next_failures(n - y, n, -mean, variance)
    np.testing.assert_allclose(passing, 1 - failing, atol=1e-9)
    np.testing.assert_allclose(passing2, 1 - 2 * failing + failing2, atol=1e-9)
    assert (np.diff(failing) < 0).all() and failing[0] > 0.98 and failing[-1] < 0.02


def test_a_normal_law_has_the_moments_of_its_draws():
    f = np.random.default_rng(0).standard_normal(400_000)
    for mean, variance in ((0.0, 1.0), (-1.2, 0.2), (2.0, 30.0)):
        risk = ndtr(-(mean + np.sqrt(variance) * f))
        first, second = normal_risk(np.array(mean), np.array(variance))
        assert first == pytest.approx(risk.mean(), abs=5 * risk.std() / np.sqrt(len(f)))
        assert second == pytest.approx((risk**2).mean(), abs=5 * (risk**2).std() / np.sqrt(len(f)))


def test_normal_laws_keep_their_place():
    """What `place_of` makes of a normal law's mean and deviation, `place_for` makes of its risk's two moments."""
    sd, risk = (v.ravel() for v in np.meshgrid(np.geomspace(0.05, 12, 25), np.linspace(0.03, 0.97, 31)))
    first, second = normal_risk(-ndtri(risk) * np.sqrt(1 + sd**2), sd**2)
    one, two = place_of(ndtri(risk), sd).astype(int), place_for(first, second).astype(int)
    assert np.array_equal(one // 64, two // 64) and abs(one % 64 - two % 64).max() <= 1


def test_copies_are_nearly_certain_and_their_interval_reaches_the_doubtful():
    """Seven of seven under a law of copies: the risk is small, and the upper limit larger than it."""
    first, second = next_failures(np.array([7.0]), np.array([7.0]), np.array([0.0]), np.array([50.0]))
    place = place_for(first, second)
    risk, upper = answers()["risk"][place][0], answers()["upper"][place][0]
    assert risk < 0.02 and risk < upper < 0.2


@pytest.mark.parametrize("moments", [(np.nan, 0.5), (0.5, np.nan)])
def test_what_is_no_number_has_no_place(moments):
    with pytest.raises(ValueError, match="no number"):
        place_for(*(np.array([0.3, m]) for m in moments))
