"""CKA: reference values, an O(n^2) oracle, invariances, no bias where rows are unrelated, refusals."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from divergence.geometry import cka, moments, paired_moments


def value(x, y, statistic=None, cluster=None) -> float:
    estimate = cka(paired_moments(x, y, cluster=cluster))
    return estimate.where(statistic=statistic).to_frame()["mean"][0]


def oracle(x, y) -> float:
    """Debiased CKA from the n x n kernels: Song's formula with zero diagonals, in so many loops."""

    def hsic(k, l):  # noqa: E741
        k, l = k - np.diag(np.diag(k)), l - np.diag(np.diag(l))  # noqa: E741
        n, one = len(k), np.ones(len(k))
        return (
            np.trace(k @ l) + (one @ k @ one) * (one @ l @ one) / ((n - 1) * (n - 2)) - 2 / (n - 2) * one @ k @ l @ one
        ) / (n * (n - 3))

    k, l = x @ x.T, y @ y.T  # noqa: E741
    return hsic(k, l) / np.sqrt(hsic(k, k) * hsic(l, l))


def test_reference_values(xy, values):
    x, y = xy
    assert value(x, y) == pytest.approx(values["cka_debiased"], abs=1e-10)
    assert value(x, y, "biased") == pytest.approx(values["cka_biased"], abs=1e-10)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), n=st.integers(6, 40), p=st.integers(1, 12), q=st.integers(1, 12))
def test_equals_the_kernel_formula_for_any_sizes(seed, n, p, q):
    generator = np.random.default_rng(seed)
    x = generator.standard_normal((n, p)) + 5
    y = np.resize(x, (n, q)) + generator.standard_normal((n, q))
    expected = oracle(x, y)
    if np.isfinite(expected) and abs(expected) < 5:  # a variance estimated near 0 magnifies rounding in both
        estimate = cka(paired_moments(x, y, cluster=None))
        if estimate.reason[0] is None:
            assert estimate.to_frame()["mean"][0] == pytest.approx(expected, abs=1e-7)


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 10**6), scale=st.floats(1e-2, 1e2), shift=st.floats(-10, 10))
def test_rotation_scale_shift_and_order_change_nothing(seed, scale, shift):
    generator = np.random.default_rng(seed)
    x, y = generator.standard_normal((30, 4)), generator.standard_normal((30, 4))
    y += x
    turn, _ = np.linalg.qr(generator.standard_normal((4, 4)))
    order = generator.permutation(30)
    expected = value(x, y)
    assert value(x, scale * y @ turn + shift) == pytest.approx(expected, abs=1e-8)
    assert value(x[order], y[order]) == pytest.approx(expected, abs=1e-8)
    assert value(y, x) == pytest.approx(expected, abs=1e-8)
    stretched = y * np.array([5.0, 1, 1, 1])  # not a rotation: seen
    assert abs(value(x, stretched) - expected) > 1e-3


def test_float32_keeps_its_digits():
    generator = np.random.default_rng(3)
    x = generator.standard_normal((3000, 16)) + 10
    y = x + generator.standard_normal((3000, 16))
    assert value(x.astype(np.float32), y.astype(np.float32)) == pytest.approx(value(x, y), abs=1e-6)


def test_unrelated_rows_with_fewer_rows_than_dimensions():
    generator = np.random.default_rng(4)
    debiased, biased = [], []
    for _ in range(100):
        x, y = generator.standard_normal((2, 20, 50))
        state = paired_moments(x, y, cluster=None, blocks=5)
        row = cka(state).to_frame()
        debiased.append(row["mean"][0])
        biased.append(row["mean"][1])
    standard_error = np.std(debiased) / 10
    assert abs(np.mean(debiased)) < 4 * standard_error  # fails by chance once in 16,000
    assert np.mean(biased) > 0.5


def test_interval_covers_the_truth_of_correlated_sessions(session_rows):
    generator, held = np.random.default_rng(5), 0
    mixing = np.diag([2.0, 1, 1, 0.5])
    variance = mixing.diagonal() ** 2  # of x; y adds .5: |S_xy|^2 / (|S_xx| |S_yy|) of the population
    truth = np.sqrt((variance**2).sum() / ((variance + 0.5) ** 2).sum())
    for _ in range(60):
        x, cluster = session_rows(generator, 30, 6, 4, 0.2)
        noise, _ = session_rows(generator, 30, 6, 4, 0.2)
        estimate = cka(paired_moments(x @ mixing, x @ mixing + 0.5**0.5 * noise, cluster=cluster))
        lower, upper = estimate.interval()[0]
        held += lower <= truth <= upper
    assert held >= 44  # 60 intervals that cover .85 hold fewer than 44 once in 200 times


def test_floor_is_the_cka_of_reruns(xy):
    x, y = xy
    rerun = paired_moments(x, x + 0.01 * np.random.default_rng(0).standard_normal(x.shape), cluster=None)
    estimate = cka(paired_moments(x, y, cluster=None), floor=rerun)
    assert estimate.noise_floor[0] == pytest.approx(cka(rerun).to_frame()["mean"][0], abs=1e-12)
    assert estimate.noise_floor[0] > 0.999


def test_what_it_is_and_what_it_rests_on(xy):
    x, y = xy
    x = x.copy()
    x[4, 2] = np.nan
    frame = cka(paired_moments(x, y, cluster=np.arange(60) // 6)).to_frame()
    assert frame["question"].to_list() == ["cka", "cka"] and frame["statistic"].to_list() == [None, "biased"]
    assert frame["n_rows"][0] == 59 and frame["n_sessions"][0] == 10 and frame["outcome"][0] == "embedding"
    assert "1 rows with NaN" in frame["method"][0] and frame["lower"][0] < frame["mean"][0] < frame["upper"][0]


@pytest.mark.parametrize(("rows", "reason"), [(3, "3 items"), (4, "4 items")])
def test_too_few_items_are_refused(xy, rows, reason):
    x, y = xy
    estimate = cka(paired_moments(x[:rows], y[:rows], cluster=None))
    assert not estimate.identified and reason in estimate.reasons[0]
    assert estimate.to_frame()["mean"].null_count() == 2


def test_other_refusals(xy):
    x, y = xy
    flat = np.full((60, 3), 0.1)
    for name, state in {
        "rows of y are the same": paired_moments(x, flat, cluster=None),
        "rows of x are the same": paired_moments(flat.astype(np.float32), y.astype(np.float32), cluster=None),
        "one session": paired_moments(x, y, cluster=["a"] * 60),
        "state of one sample": moments(x, cluster=None),
    }.items():
        estimate = cka(state)
        assert not estimate.identified and name in estimate.reasons[0]


def test_constant_columns_are_no_obstacle(xy):
    x, y = xy
    wider = np.concatenate([x, np.full((60, 2), 7.0)], 1)
    assert value(wider, y) == pytest.approx(value(x, y), abs=1e-10)
