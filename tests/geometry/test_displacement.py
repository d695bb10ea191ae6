"""Displacement: an explicit oracle over pairs of runs, 0 where nothing moved, known movement, bad designs."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from divergence.errors import InputError
from divergence.geometry import displacement


def draw(generator, items=30, runs=(3, 2), d=4, noise=1.0, move=0.0):
    """(x, y, (items of x, of y)): every item has its own place; `move` is added to every number of y."""
    place = 3 * generator.standard_normal((items, d))
    sides, names = [], []
    for side, count in enumerate(runs):
        sides.append(np.repeat(place, count, 0) + noise * generator.standard_normal((items * count, d)) + side * move)
        names.append(np.repeat(np.arange(items), count))
    return *sides, tuple(names)


def number(estimate, statistic=None) -> float:
    return estimate.where(statistic=statistic).to_frame()["mean"][0]


def oracle(x, y, items) -> dict:
    """The definitions, by loops over pairs of runs."""
    delta, variance, raw = [], [], []
    for item in sorted(set(items[0]) & set(items[1])):
        u, v = x[items[0] == item], y[items[1] == item]
        raw.append(np.mean([((a - b) ** 2).sum() for a in u for b in v]))
        if len(u) > 1:
            variance.append(((u - u.mean(0)) ** 2).sum() / (len(u) - 1))
        if len(u) > 1 and len(v) > 1:
            products = [
                (u[a] - v[b]) @ (u[s] - v[t])
                for a in range(len(u))
                for s in range(len(u))
                if a != s
                for b in range(len(v))
                for t in range(len(v))
                if b != t
            ]
            delta.append(np.mean(products))
    return {
        None: np.mean(delta) / np.mean(variance),
        "squared": np.mean(delta),
        "replicate_variance": np.mean(variance),
        "raw": np.mean(raw),
    }


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), drop=st.integers(0, 20))
def test_equals_the_mean_over_pairs_of_distinct_runs(seed, drop):
    generator = np.random.default_rng(seed)
    x, y, items = draw(generator, items=10, move=0.3)
    keep = generator.permutation(len(x))[drop // 2 :], generator.permutation(len(y))[drop // 4 :]
    x, y, items = x[keep[0]] + 50, y[keep[1]] + 50, (items[0][keep[0]], items[1][keep[1]])
    estimate = displacement(x, y, items=items, cluster=None)
    for statistic, expected in oracle(x, y, items).items():
        assert number(estimate, statistic) == pytest.approx(expected, abs=1e-8)


def test_known_movement_in_noise_floors():
    x, y, items = draw(np.random.default_rng(1), items=400, noise=0.5, move=0.5)
    estimate = displacement(x, y, items=items, cluster=None)
    lower, upper = estimate.where(statistic=None).interval(0.999)[0]
    assert lower < 1 < upper and upper - lower < 0.6  # 4 * 0.5^2 moved over 4 * 0.5^2 of noise
    assert number(estimate, "replicate_variance") == pytest.approx(1, rel=0.1)  # 4 standard errors of chi2 on 3200


def test_nothing_moved_covers_zero_with_both_signs():
    generator, held, signs = np.random.default_rng(2), 0, []
    for _ in range(100):
        x, y, items = draw(generator, items=24, runs=(2, 2))
        estimate = displacement(x, y, items=items, cluster=None)
        lower, upper = estimate.where(statistic="squared").interval()[0]
        held += lower <= 0 <= upper
        signs.append(np.sign(number(estimate, "squared")))
    assert held >= 80  # 100 intervals that cover .90 hold fewer than 80 once in 600 times
    assert 25 <= np.sum(np.array(signs) > 0) <= 75  # 5 standard errors of a fair coin
    assert estimate.noise_floor[1] == 0 and estimate.noise_floor[3] == pytest.approx(
        2 * number(estimate, "replicate_variance")
    )


def test_rotation_shift_scale_and_order():
    generator = np.random.default_rng(3)
    x, y, items = draw(generator, move=0.4)
    turn, _ = np.linalg.qr(generator.standard_normal((4, 4)))
    base = displacement(x, y, items=items, cluster=None)
    moved = displacement(2 * x @ turn + 7, 2 * y @ turn + 7, items=items, cluster=None)
    assert number(moved) == pytest.approx(number(base), abs=1e-9)
    assert number(moved, "squared") == pytest.approx(4 * number(base, "squared"), abs=1e-8)
    order = generator.permutation(len(x))
    shuffled = displacement(x[order], y, items=(items[0][order], items[1]), cluster=None)
    assert number(shuffled) == pytest.approx(number(base), abs=1e-12)


def test_float32_far_from_zero():
    x, y, items = draw(np.random.default_rng(4), move=0.4)
    exact = displacement(x + 256, y + 256, items=items, cluster=None)
    single = displacement((x + 256).astype(np.float32), (y + 256).astype(np.float32), items=items, cluster=None)
    assert number(single) == pytest.approx(number(exact), abs=1e-3)  # inputs carry 256 * 6e-8 = 1.5e-5 of rounding


def test_clusters_of_items_widen_the_interval():
    generator = np.random.default_rng(5)
    x, y, items = draw(generator, items=60, runs=(2, 2), noise=0.3)
    passage = [i // 6 for i in items]
    y = y + np.abs(generator.standard_normal(10))[passage[1]][:, None]  # whole passages move together
    free = displacement(x, y, items=items, cluster=None)
    grouped = displacement(x, y, items=items, cluster=tuple(passage))
    assert number(free) == pytest.approx(number(grouped), abs=1e-9)
    assert np.diff(grouped.interval()[0]) > 1.5 * np.diff(free.interval()[0])
    assert grouped.counts["n_sessions"] == 10 and free.counts["n_items"] == 60


def test_unit_length_is_cosine_and_sets_zero_vectors_aside():
    x, y, items = draw(np.random.default_rng(6))
    x[0] = 0
    estimate = displacement(x, 10 * y, items=items, cluster=None, unit_length=True)
    length = [v / np.linalg.norm(v, axis=1, keepdims=True) for v in (x[1:], y)]
    assert number(estimate) == pytest.approx(oracle(*length, (items[0][1:], items[1]))[None], abs=1e-9)
    assert "1 rows with NaN" in estimate.method


def test_rows_set_aside_and_lone_items_are_named():
    x, y, items = draw(np.random.default_rng(7))
    x[4, 1], y[7, 0] = np.nan, np.inf
    names = (items[0], np.where(items[1] == 3, 99, items[1]))
    estimate = displacement(x, y, items=names, cluster=None)
    assert "2 rows with NaN" in estimate.method and "2 items on one side only" in estimate.method
    assert estimate.counts["n_items"] == 29


def test_single_runs_are_refused_with_what_is_missing():
    generator = np.random.default_rng(8)
    x, y, items = draw(generator, runs=(1, 2))
    assert "one evaluation run" in displacement(x, y, items=items, cluster=None).reasons[0]
    x, y, items = draw(generator, runs=(2, 1))
    assert "no item has 2 runs on both sides" in displacement(x, y, items=items, cluster=None).reasons[0]
    x, y, items = draw(generator, items=4, runs=(2, 2))
    one = displacement(x, y, items=items, cluster=(["s"] * 8, ["s"] * 8))
    assert not one.identified and "fewer than 3 clusters" in one.reasons[0]


def test_runs_that_never_differ_have_no_noise_floor():
    x = np.repeat(np.random.default_rng(9).standard_normal((5, 3)), 2, 0)
    items = np.repeat(np.arange(5), 2)
    estimate = displacement(x, x + 1, items=(items, items), cluster=None)
    assert estimate.reason[0] is not None and estimate.reason[1] is None
    assert number(estimate, "squared") == pytest.approx(3, abs=1e-12)


def test_bad_designs_are_sentences():
    x, y, items = draw(np.random.default_rng(10))
    with pytest.raises(InputError, match="4 dimensions and y 3"):
        displacement(x, y[:, :3], items=items, cluster=None)
    with pytest.raises(InputError, match="no item in common"):
        displacement(x, y, items=(items[0], items[1] + 100), cluster=None)
    with pytest.raises(InputError, match="items of x lie in more than one cluster"):
        displacement(x, y, items=items, cluster=(np.arange(len(x)), items[1]))
    with pytest.raises(InputError, match="another cluster in x than in y"):
        displacement(x, y, items=items, cluster=(items[0], items[1] + 1))
    with pytest.raises(InputError, match="items of x has 3 labels"):
        displacement(x, y, items=([1, 2, 3], items[1]), cluster=None)
    with pytest.raises(TypeError, match="cluster"):
        displacement(x, y, items=items)
