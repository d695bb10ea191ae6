"""The working response: exact where it must be, finite where levels are certain."""

import dataclasses

import numpy as np
import pytest

from divergence.joint.arms import Arms
from divergence.joint.link import from_link, linearise, start, to_link


def _arms(level, covariance, clusters=100.0, link="logit"):
    level = np.asarray(level, float)
    zeros = np.zeros(len(level), int)
    return Arms(
        zeros,
        zeros == 1,
        np.arange(len(level)),
        level,
        np.asarray(covariance, float),
        np.full(len(level), clusters),
        link,
        np.zeros(0),
        np.zeros((0, 0)),
    )


@pytest.mark.parametrize("link", ["logit", "log"])
def test_links_invert(link):
    mu = np.array([0.01, 0.3, 0.999])
    np.testing.assert_allclose(from_link(to_link(mu, link), link), mu, rtol=1e-12)


def test_at_its_own_level_it_is_the_delta_method():
    # both ratios are 1: nothing to steady
    arms = _arms([0.3, 0.9], [[0.0021, 0.0003], [0.0003, 0.0009]])
    response = linearise(arms, arms.level)
    slope = arms.level * (1 - arms.level)
    np.testing.assert_allclose(response.value, to_link(arms.level, "logit"))
    np.testing.assert_allclose(response.noise, arms.covariance / np.outer(slope, slope), rtol=1e-9)


def test_no_failure_is_not_certainty():
    arms = _arms([1.0], [[0.0]])
    response = linearise(arms, start(arms))
    # Jeffreys' posterior for 100 of 100 has its 5 % limit at .981.
    lower = from_link(response.value - 1.645 * np.sqrt(response.covariance[0]), "logit")[0]
    assert lower == pytest.approx(0.981, abs=0.002)


def test_the_variance_is_that_of_the_fitted_level():
    """Two arms with the same truth get the same weight whichever was luckier: no pull towards the unlucky one."""
    arms = _arms([0.95, 0.99], np.diag([0.95 * 0.05, 0.99 * 0.01]) / 100)
    response = linearise(arms, np.array([0.97, 0.97]))
    np.testing.assert_allclose(response.covariance[0, 0], response.covariance[1, 1], rtol=1e-9)
    # linear in the level: the mean response is the response of the mean level, here the fitted level itself
    assert response.value.mean() == pytest.approx(to_link(np.array(0.97), "logit"), abs=1e-12)


def test_times_keep_their_coefficient_of_variation():
    arms = _arms([2.0, 4.0], np.diag([0.04, 0.16]), link="log")
    np.testing.assert_allclose(np.sqrt(np.diag(linearise(arms, arms.level).noise)), 0.1)
    doubled = dataclasses.replace(arms, level=2 * arms.level, covariance=4 * arms.covariance)
    np.testing.assert_allclose(linearise(doubled, doubled.level).noise, linearise(arms, arms.level).noise, atol=1e-15)
