"""Subspace loss, Bures distance, participation ratio, principal angles: references, invariances, floors, refusals."""

import numpy as np
import pytest
import scipy.linalg
from hypothesis import given, settings
from hypothesis import strategies as st

from divergence.errors import InputError
from divergence.geometry import (
    bures,
    moments,
    paired_moments,
    participation_ratio,
    principal_angles,
    subspace_loss,
)
from divergence.geometry.principal_angles import angles
from divergence.geometry.subspace_loss import axes_that_hold


def number(estimate, statistic=None) -> float:
    return estimate.where(statistic=statistic).to_frame()["mean"][0]


def top(rows, k):
    return np.linalg.svd(rows - rows.mean(0), full_matrices=False)[2][:k].T


def test_bures_reference_and_parts(xy, values):
    x, y = xy
    estimate = bures(moments(x, cluster=None), moments(y, cluster=None))
    assert number(estimate, "plain") ** 0.5 == pytest.approx(values["bures_distance"], abs=1e-10)
    assert number(estimate, "mean_shift") + number(estimate, "covariance") == pytest.approx(number(estimate), abs=1e-9)
    c_x, c_y = np.cov(x.T, bias=True), np.cov(y.T, bias=True)
    root = scipy.linalg.sqrtm(c_x)
    plain = np.trace(c_x + c_y - 2 * scipy.linalg.sqrtm(root @ c_y @ root).real) + ((x.mean(0) - y.mean(0)) ** 2).sum()
    assert number(estimate, "plain") == pytest.approx(plain, abs=1e-8)  # square roots of matrices keep half the digits


def test_bures_far_from_zero_and_at_zero(xy):
    x, _ = xy
    at = bures(moments(x, cluster=None), moments(x + 3, cluster=None))
    far = bures(moments(x + 1000, cluster=None), moments(x + 1003, cluster=None))
    assert number(at, "plain") == pytest.approx(45, abs=1e-9)
    assert number(far, "plain") == pytest.approx(45, abs=1e-7)
    assert number(bures(moments(x, cluster=None), moments(x, cluster=None)), "plain") == pytest.approx(0, abs=1e-9)


@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 10**6), scale=st.floats(0.1, 10))
def test_rotation_shift_scale_and_order(seed, scale):
    generator = np.random.default_rng(seed)
    x, y = generator.standard_normal((2, 50, 4)) * np.array([4.0, 2, 1, 0.5])
    y = y @ np.linalg.qr(generator.standard_normal((4, 4)))[0]
    turn, _ = np.linalg.qr(generator.standard_normal((4, 4)))
    order = generator.permutation(50)

    def all_of(u, v):
        first, second = moments(u, cluster=None), moments(v, cluster=None)
        return np.array(
            [
                number(subspace_loss(first, second, components=2), "plain"),
                number(bures(first, second), "plain"),
                number(participation_ratio(first)),
                number(participation_ratio(first), "plain"),
            ]
        )

    base = all_of(x, y)
    moved = all_of(scale * x @ turn + 5, scale * y @ turn + 5)
    np.testing.assert_allclose(moved / np.array([1, scale**2, 1, 1]), base, atol=1e-8)
    np.testing.assert_allclose(all_of(x, y[order]), base, atol=1e-10)


def test_subspace_loss_by_definition(xy):
    x, y = xy
    estimate = subspace_loss(moments(x, cluster=None), moments(y, cluster=None), components=2)
    axes, cov = top(x, 2), np.cov(y.T, bias=True)
    held = np.trace(axes.T @ cov @ axes)
    assert number(estimate, "plain") == pytest.approx(1 - held / np.linalg.eigvalsh(cov)[-2:].sum(), abs=1e-10)
    # the `outside` row is corrected, its plain value lies within two standard errors of it
    sd = estimate.where(statistic="outside").to_frame()["sd"][0]
    assert number(estimate, "outside") == pytest.approx(1 - held / np.trace(cov), abs=2 * sd)


def test_known_losses():
    generator = np.random.default_rng(1)
    scale = np.array([5.0, 4, 0.1, 0.1, 0.1, 0.1])
    x = moments(generator.standard_normal((400, 6)) * scale, cluster=None)
    same = subspace_loss(x, moments(generator.standard_normal((400, 6)) * scale, cluster=None), components=2)
    other = subspace_loss(
        x, moments(generator.standard_normal((400, 6)) * scale[[2, 3, 0, 1, 4, 5]], cluster=None), components=2
    )
    assert abs(number(same)) < 0.01 and number(other) > 0.99
    assert same.noise_floor[0] < 0.01 and same.noise_floor[0] >= 0
    default = subspace_loss(x, moments(generator.standard_normal((400, 6)), cluster=None))
    assert "2 of 6 axes" in default.method and axes_that_hold(np.diag([6.0, 3, 1])) == 2


def test_halves_of_evaluation_are_the_floor_of_no_difference():
    generator, corrected, plain, floors = np.random.default_rng(2), [], [], []
    scale = np.geomspace(3, 0.5, 8)
    for _ in range(30):
        x, y = (moments(generator.standard_normal((120, 8)) * scale, cluster=None) for _ in range(2))
        estimate = subspace_loss(x, y, components=3)
        corrected.append(number(estimate))
        plain.append(number(estimate, "plain"))
        floors.append(estimate.noise_floor[0])
    assert np.mean(plain) > 4 * np.std(plain) / 30**0.5  # axes of few rows are off even if nothing differs
    assert abs(np.mean(corrected)) < 0.5 * np.mean(plain)
    assert np.mean(floors) > np.mean(plain)  # halves have half the rows


def test_participation_ratio_reference_and_few_rows(xy, values):
    x, _ = xy
    estimate = participation_ratio(moments(x, cluster=None))
    assert number(estimate, "plain") == pytest.approx(values["participation_ratio"], abs=1e-10)
    generator, debiased, plain = np.random.default_rng(3), [], []
    for _ in range(20):
        estimate = participation_ratio(moments(generator.standard_normal((60, 200)), cluster=None))
        debiased.append(number(estimate))
        plain.append(number(estimate, "plain"))
    assert np.mean(plain) < 60  # cannot exceed n - 1
    assert abs(np.mean(debiased) - 200) < 5 * np.std(debiased) / 20**0.5


def test_angles_are_refused_and_named(xy, values):
    x, y = xy
    np.testing.assert_allclose(angles(top(x, 2), top(y, 2)), values["principal_angles"], atol=1e-10)
    estimate = principal_angles(moments(x, cluster=None), moments(y, cluster=None), components=2)
    frame = estimate.to_frame()
    assert not estimate.identified and frame["identified"].to_list() == [False, False]
    for column in ("mean", "median", "sd", "lower", "upper"):
        assert frame[column].null_count() == 2
    assert frame["axis"].to_list() == ["1", "2"]
    assert frame["reason"][0].startswith("seen 0.7683 rad, and no interval") and "subspace_loss" in frame["reason"][1]


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), tilt=st.sampled_from([0.0, 1e-9, 1e-4, 0.3, 3.0]))
def test_angles_agree_with_scipy_down_to_the_smallest(seed, tilt):
    generator = np.random.default_rng(seed)
    first, _ = np.linalg.qr(generator.standard_normal((7, 3)))
    second, _ = np.linalg.qr(first + tilt * generator.standard_normal((7, 3)))
    expected = np.sort(scipy.linalg.subspace_angles(first, second))
    np.testing.assert_allclose(angles(first, second), expected, atol=1e-12)


CASES = {"subspace_loss": subspace_loss, "bures": bures}


@pytest.mark.parametrize("name", CASES)
def test_refusals_and_errors_of_two_samples(name, xy):
    x, y = xy
    ask, good = CASES[name], moments(y, cluster=None)
    for reason, state in {
        "4 rows": moments(x[:4], cluster=None),
        "one session": moments(x, cluster=["a"] * 60),
        "all rows of a side are the same": moments(np.full((60, 5), 0.3, np.float32), cluster=None),
    }.items():
        for estimate in (ask(state, good), ask(good, state)):
            assert not estimate.identified and reason in estimate.reasons[0]
    with pytest.raises(InputError, match="5 dimensions and deployment 3"):
        ask(good, moments(y[:, :3], cluster=None))
    with pytest.raises(InputError, match=r"state.side\('x'\)"):
        ask(paired_moments(x, y, cluster=None), good)


def test_other_refusals(xy):
    x, y = xy
    wide = moments(np.random.default_rng(4).standard_normal((20, 50)), cluster=None)
    one, two = moments(x, cluster=None), moments(y, cluster=None)
    assert "all dimensions" in subspace_loss(one, two, components=5).reasons[0]
    assert "do not span 30 axes" in subspace_loss(wide, wide, components=30).reasons[0]
    assert subspace_loss(wide, wide).identified  # fewer rows than dimensions is no obstacle
    assert "one session" in participation_ratio(moments(x, cluster=["a"] * 60)).reasons[0]
    with pytest.raises(InputError, match="components is 6: choose 1 to 5"):
        subspace_loss(one, two, components=6)
    with pytest.raises(InputError, match="components is 5: choose 1 to 4"):
        principal_angles(one, two, components=5)
    with pytest.raises(InputError, match="paired state"):
        participation_ratio(paired_moments(x, y, cluster=None))
