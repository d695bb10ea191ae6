"""Sinkhorn divergence: the reference value, slopes by finite differences, known shifts, centres, floor, refusals."""

import importlib.util

import numpy as np
import pytest

from divergence.errors import InputError
from divergence.geometry import sinkhorn
from divergence.geometry.kernels import sample
from divergence.geometry.sinkhorn import Histogram, divergence, histograms

pytestmark = pytest.mark.filterwarnings("ignore:JAXopt is no longer maintained:DeprecationWarning")  # ott-jax imports it
absent = importlib.util.find_spec("ott") is None
needs_ott = pytest.mark.skipif(absent, reason="needs the extra ot (ott-jax)")


def number(estimate) -> float:
    return estimate.to_frame()["mean"][0]


@needs_ott
def test_reference_value(xy, values):
    x, y = xy
    estimate = sinkhorn(x[:40], y[:50], cluster=None, epsilon=1.0)
    assert number(estimate) == pytest.approx(values["sinkhorn_epsilon_1"], abs=1e-6)
    assert "epsilon 1; every row" in estimate.method and estimate.counts == {"n_rows": 90, "n_sessions": 90}


@needs_ott
def test_a_shift_costs_its_squared_length_and_order_turns_and_zero_nothing():
    generator = np.random.default_rng(0)
    x, shift = generator.standard_normal((40, 3)), np.array([1.0, 2.0, -2.0])
    turn, _ = np.linalg.qr(generator.standard_normal((3, 3)))
    assert number(sinkhorn(x, x + shift, cluster=None, epsilon=0.5)) == pytest.approx(9, abs=1e-6)
    assert number(sinkhorn(x, x, cluster=None, epsilon=0.5)) == pytest.approx(0, abs=1e-6)
    y = 1.5 * generator.standard_normal((40, 3))
    base = number(sinkhorn(x, y, cluster=None, epsilon=0.5))
    moved = number(sinkhorn(2 * x @ turn + 7, 2 * y @ turn + 7, cluster=None, epsilon=2.0))
    assert moved == pytest.approx(4 * base, abs=1e-5)
    assert number(sinkhorn(x[::-1], y, cluster=None, epsilon=0.5)) == pytest.approx(base, abs=1e-6)
    assert number(sinkhorn(y, x, cluster=None, epsilon=0.5)) == pytest.approx(base, abs=1e-6)


@needs_ott
def test_slopes_are_those_of_the_divergence():
    generator = np.random.default_rng(1)
    left = Histogram(generator.standard_normal((12, 2)), np.ones((1, 12)))
    right = Histogram(generator.standard_normal((9, 2)) + 1, np.ones((1, 9)))
    _, slopes, converged = divergence(left, right, 0.3)
    assert converged
    for side, (slope, histogram) in enumerate(zip(slopes, (left, right), strict=True)):
        move = np.zeros(len(slope))
        move[:2] = 1e-3, -1e-3
        values = [
            divergence(
                *(
                    Histogram(histogram.points, (histogram.weights() + sign * move)[None]) if s == side else other
                    for s, other in enumerate((left, right))
                ),
                0.3,
            )[0]
            for sign in (1, -1)
        ]
        # the cubic term of a step of 1e-3 on weights of 1/12 is of relative size 1e-4
        assert (values[0] - values[1]) / 2 == pytest.approx(slope @ move, rel=1e-3)


@needs_ott
def test_centres_stand_for_many_rows_and_the_floor_is_seen(session_rows):
    generator = np.random.default_rng(2)
    x, c_x = session_rows(generator, 20, 60, 2, 0.2)
    y, c_y = session_rows(generator, 20, 60, 2, 0.2)
    same = sinkhorn(x, y, cluster=(c_x, c_y), centres=64)
    moved = sinkhorn(x, y + 3, cluster=(c_x, c_y), centres=64)
    assert "64 centres hold 9" in same.method and same.counts["n_sessions"] == 40
    assert number(same) < 3 * same.noise_floor[0] and moved.noise_floor[0] < 0.1 * number(moved)
    lower, upper = moved.interval()[0]
    assert lower < number(moved) < upper
    assert number(moved) == pytest.approx(18, abs=3)  # sessions of variance .2 move a mean by .1 in each of 2 directions
    left, right, held = histograms(sample(x, c_x, "x"), sample(y, c_y, "y"), 64, 0)
    assert left.counts.sum() == right.counts.sum() == 1200 and 0.9 < held < 1


@needs_ott
def test_refusals(xy):
    x, y = xy
    one = sinkhorn(x, y, cluster=(["a"] * 60, np.arange(60)))
    assert not one.identified and "one session on a side" in one.reasons[0]
    with pytest.raises(InputError, match="5 dimensions and y 3"):
        sinkhorn(x, y[:, :3], cluster=None)
    with pytest.raises(InputError, match="epsilon is 0"):
        sinkhorn(np.ones((9, 2)), np.ones((9, 2)), cluster=None)
    with pytest.raises(InputError, match="centres is 1"):
        sinkhorn(x, y, cluster=None, centres=1)
    with pytest.raises(TypeError, match="cluster"):
        sinkhorn(x, y)


def test_without_the_extra_a_sentence(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(InputError, match="needs the missing package ott-jax"):
        sinkhorn(np.ones((4, 2)), np.ones((4, 2)), cluster=None)
