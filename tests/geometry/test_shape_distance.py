"""Shape distance: reference values, its split adds up, invariances, bias removed, refusals."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from divergence.errors import InputError
from divergence.geometry import paired_moments, shape_distance


def rows(x, y, **options) -> dict[str | None, float]:
    frame = shape_distance(paired_moments(x, y, cluster=None), **options).to_frame()
    return dict(zip(frame["statistic"], frame["mean"], strict=True))


def plain_parts(x, y) -> dict[str, float]:
    """The split from an explicit rotation: the oracle."""
    u, v = x - x.mean(0), y - y.mean(0)
    left, _, right = np.linalg.svd(u.T @ v)
    aligned = u @ (left @ right)
    n = len(x)
    unaligned, residual = ((u - v) ** 2).sum() / n, ((aligned - v) ** 2).sum() / n
    return {"mean_shift": ((x.mean(0) - y.mean(0)) ** 2).sum(), "rigid_rotation": unaligned - residual, "residual": residual}


def test_reference_values(xy, values):
    x, y = xy
    estimate = shape_distance(paired_moments(x, y, cluster=None))
    plain = estimate.where(statistic="plain").to_frame()["mean"][0]
    assert plain == pytest.approx(values["shape_angle"], abs=1e-10)


def test_parts_are_those_of_an_explicit_rotation_and_add_up(xy, values):
    from divergence.geometry.shape_distance import parts

    x, y = xy
    state = paired_moments(x, y, cluster=None)
    state = state.about(state.shift_x)
    _, angle, shift, turn, residual, kept = parts(state.sums.pooled(), np.eye(5))
    for seen, name in ((shift, "mean_shift"), (turn, "rigid_rotation"), (residual, "residual")):
        assert seen == pytest.approx(plain_parts(x, y)[name], abs=1e-10)
    assert shift + turn + residual == pytest.approx(((x - y) ** 2).sum() / 60, abs=1e-10)
    assert np.sqrt(60 * residual) == pytest.approx(values["shape_euclidean"], abs=1e-10)
    assert angle == pytest.approx(values["shape_angle"], abs=1e-10) and kept == pytest.approx(1)


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10**6), scale=st.floats(0.1, 10))
def test_angle_does_not_see_rotation_scale_shift_or_order(seed, scale):
    generator = np.random.default_rng(seed)
    x, noise = generator.standard_normal((2, 60, 3))
    y = x + noise
    turn, _ = np.linalg.qr(generator.standard_normal((3, 3)))
    order = generator.permutation(60)
    expected = rows(x, y)["plain"]
    assert rows(x, scale * y @ turn + 3)["plain"] == pytest.approx(expected, abs=1e-8)
    assert rows(x[order], y[order])["plain"] == pytest.approx(expected, abs=1e-8)
    assert rows(x, y * np.array([4.0, 1, 1]))["plain"] != pytest.approx(expected, abs=1e-3)


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_angle_is_a_metric(seed):
    x, y, z = np.random.default_rng(seed).standard_normal((3, 40, 3))
    xy, yz, xz = rows(x, y)["plain"], rows(y, z)["plain"], rows(x, z)["plain"]
    assert xz <= xy + yz + 1e-9
    assert rows(x, x)["plain"] == pytest.approx(0, abs=1e-6)  # arccos of 1 - eps is sqrt(2 eps)


def test_only_a_shift_and_only_a_turn():
    generator = np.random.default_rng(1)
    x = generator.standard_normal((200, 4)) * np.array([3, 2, 1, 1])
    turn, _ = np.linalg.qr(generator.standard_normal((4, 4)))
    shifted, turned = rows(x, x + 2), rows(x, x @ turn)
    assert shifted["mean_shift"] == pytest.approx(16, abs=1e-9)
    assert shifted["rigid_rotation"] == pytest.approx(0, abs=1e-9) == shifted["residual"]
    assert turned["residual"] == pytest.approx(0, abs=1e-9) and turned["rigid_rotation"] > 1


def test_correction_moves_towards_the_truth():
    generator, corrected, plain = np.random.default_rng(2), [], []
    for _ in range(40):
        x, noise = generator.standard_normal((2, 60, 6))
        found = rows(x, x + 2 * noise)
        corrected.append(found[None])
        plain.append(found["plain"])
    truth = np.arccos(1 / np.sqrt(5))
    # the bias of the nuclear norm makes clouds look too alike; one 40th of the replicate sd is noise
    assert np.mean(plain) < truth - 4 * np.std(plain) / 40**0.5
    assert abs(np.mean(corrected) - truth) < 0.5 * abs(np.mean(plain) - truth)


def test_more_dimensions_than_rows_uses_the_components_that_rows_can_carry():
    generator = np.random.default_rng(3)
    x = generator.standard_normal((40, 100)) * np.geomspace(10, 0.1, 100)
    estimate = shape_distance(paired_moments(x, x + 0.1 * generator.standard_normal((40, 100)), cluster=None))
    assert estimate.identified and "4 of 100 common principal components" in estimate.method
    assert 0 < estimate.where(statistic="variance_kept").to_frame()["mean"][0] < 1


def test_floor(xy):
    x, y = xy
    rerun = paired_moments(x, x + 0.01 * np.random.default_rng(0).standard_normal(x.shape), cluster=None)
    floor = shape_distance(paired_moments(x, y, cluster=None), floor=rerun).noise_floor
    assert 0 < floor[0] < 0.05 and np.isnan(floor[-1])


def test_refusals(xy):
    x, y = xy
    few = shape_distance(paired_moments(x[:9], y[:9], cluster=None))
    assert not few.identified and "9 items" in few.reasons[0]
    one = shape_distance(paired_moments(x, y, cluster=["s"] * 60))
    assert not one.identified and "one session" in one.reasons[0]
    with pytest.raises(InputError, match="x has 5 dimensions and y 3"):
        shape_distance(paired_moments(x, y[:, :3], cluster=None))
    with pytest.raises(InputError, match="components is 6: choose 1 to 5"):
        shape_distance(paired_moments(x, y, cluster=None), components=6)
