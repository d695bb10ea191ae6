"""The coefficients of generalizability against a worked example."""

import numpy as np
import pytest

import divergence as dv
from divergence.estimands.generalizability import dependability, relative
from divergence.joint import levels

BOOK = {"m": 12.0, "i": 6.0, "r": 4.0, "mi": 8.0, "mr": 10.0, "ir": 2.0, "mir": 24.0}


def test_coefficients_of_the_book():
    assert relative(BOOK, {"i": 4, "r": 2}) == pytest.approx(0.5454545, abs=5e-8)
    assert dependability(BOOK, {"i": 4, "r": 2}) == pytest.approx(0.4660194, abs=5e-8)
    assert dependability(BOOK, {"i": 4, "r": 2}, distance=3.0) == pytest.approx(21 / (21 + 13.75))


def test_dependability_of_one_context_is_what_the_absolute_coupling_leaves(waves_posterior):
    grand = levels(waves_posterior.fits[0], "deployment").mean().mean()
    found = dv.stability(waves_posterior, quality_required=float(grand)).where(statistic="Phi(lambda)").draws[:, 0]
    left = 1 - dv.coupling_absolute(waves_posterior).draws[:, 0]
    assert (found >= left - 1e-12).all() and np.median(found - left) < 0.05  # the distance is 0 on average only
    far = dv.stability(waves_posterior, quality_required=0.0).where(statistic="Phi(lambda)").draws[:, 0]
    assert (far > found).all()


def test_draws_in_which_nothing_varies_tell_nothing_apart():
    """Models that are always right in every context: the levels of a draw are equal to the last bit."""
    drawn = {"m": np.array([0.0, 0.2]), "c": np.array([0.0, 0.0]), "mc": np.array([0.0, 0.2])}
    np.testing.assert_array_equal(relative(drawn, {"c": 1}), [0.0, 0.5])
    np.testing.assert_array_equal(dependability(drawn, {"c": 1}), [0.0, 0.5])
    np.testing.assert_array_equal(dependability(drawn, {"c": 1}, distance=1.0), [1.0, 1.2 / 1.4])
