"""MMD: reference values, loops as the oracle, features against every pair, the level of the session permutation."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from divergence.errors import InputError
from divergence.geometry import feature_sums, kernel_for, mmd, mmd_of_sums
from divergence.geometry.kernels import sample, session_gram
from divergence.geometry.mmd import Groups, discrepancies, permutation_test

GAMMA = (1 / np.sqrt(2 * 0.1),)  # the bandwidth of exp(-0.1 |u - v|^2)


def number(estimate, statistic=None) -> float:
    return estimate.where(statistic=statistic).to_frame()["mean"][0]


def oracle(x, y, cluster_x, cluster_y, bandwidths) -> float:
    """MMD2 by loops over pairs of rows of different sessions."""

    def k(u, v):
        return np.mean([np.exp(-((u - v) ** 2).sum() / (2 * s**2)) for s in bandwidths])

    def within(rows, cluster):
        return np.mean(
            [k(u, v) for u, c in zip(rows, cluster, strict=True) for v, e in zip(rows, cluster, strict=True) if c != e]
        )

    return within(x, cluster_x) + within(y, cluster_y) - 2 * np.mean([k(u, v) for u in x for v in y])


def test_reference_values(xy, values):
    x, y = xy
    estimate = mmd(x[:40], y[:50], cluster=None, bandwidths=GAMMA, permutations=99)
    assert number(estimate) == pytest.approx(values["mmd_unbiased"], abs=1e-10)
    assert number(estimate, "biased") == pytest.approx(values["mmd_biased"], abs=1e-10)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_equals_loops_over_pairs_of_other_sessions(seed):
    generator = np.random.default_rng(seed)
    x, y = generator.standard_normal((12, 3)), generator.standard_normal((15, 3)) + 0.5
    clusters = generator.permutation(np.arange(12) % 4), generator.permutation(np.arange(15) % 5)
    bandwidths = (0.5, 2.0)
    estimate = mmd(x, y, cluster=clusters, bandwidths=bandwidths, permutations=9)
    assert number(estimate) == pytest.approx(oracle(x, y, *clusters, bandwidths), abs=1e-12)


def test_jackknife_is_the_estimate_without_each_session():
    generator = np.random.default_rng(1)
    x, y = generator.standard_normal((20, 2)), generator.standard_normal((18, 2))
    c_x, c_y = np.arange(20) % 5, np.arange(18) % 6
    options = dict(bandwidths=(1.0,), permutations=1)

    def leave(rows, cluster):
        return [(rows[cluster != c], cluster[cluster != c]) for c in np.unique(cluster)]

    full = mmd(x, y, cluster=(c_x, c_y), **options)
    variance = 0
    for values in (
        [number(mmd(r, y, cluster=(c, c_y), **options)) for r, c in leave(x, c_x)],
        [number(mmd(x, r, cluster=(c_x, c), **options)) for r, c in leave(y, c_y)],
    ):
        variance += (len(values) - 1) / len(values) * ((values - np.mean(values)) ** 2).sum()  # equal sizes: textbook
    draws = full.draws[:, 0]
    # t draws of 4 degrees of freedom have twice the jackknife's variance; quartiles do not depend on their tails
    assert np.subtract(*np.quantile(draws, [0.75, 0.25])) == pytest.approx(2 * 0.7407 * variance**0.5, rel=0.08)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10**6), scale=st.floats(0.1, 10))
def test_rotation_scale_shift_and_order_change_nothing(seed, scale):
    generator = np.random.default_rng(seed)
    x, y = generator.standard_normal((24, 3)), 1.5 * generator.standard_normal((24, 3))
    c = np.arange(24) // 3
    turn, _ = np.linalg.qr(generator.standard_normal((3, 3)))
    order = generator.permutation(24)
    base = mmd(x, y, cluster=(c, c), permutations=49)
    moved = mmd(scale * x @ turn + 9, scale * y @ turn + 9, cluster=(c, c), permutations=49)
    shuffled = mmd(x[order], y, cluster=(c[order], c), permutations=49, bandwidths=None)
    assert number(moved) == pytest.approx(number(base), abs=1e-9)
    assert number(shuffled) == pytest.approx(number(base), abs=1e-9)
    assert number(mmd(y, x, cluster=(c, c), permutations=9)) == pytest.approx(number(base), abs=1e-9)


def test_features_come_close_to_every_pair_and_merge_to_the_whole(session_rows):
    generator = np.random.default_rng(2)
    x, c_x = session_rows(generator, 12, 20, 6, 0.2)
    y, c_y = session_rows(generator, 10, 20, 6, 0.2)
    y += 0.7
    exact = mmd(x, y, cluster=(c_x, c_y), features=0, permutations=199)
    close = mmd(x, y, cluster=(c_x, c_y), features=4096, permutations=199)
    # a mean kernel of 4096 features errs by about 1 / sqrt(4096) of a kernel value, less in a difference of means
    assert number(close) == pytest.approx(number(exact), abs=3 / 4096**0.5)
    assert number(close, "p_value") == number(exact, "p_value") == 1 / 200
    kernel = kernel_for(x, y)
    shards = [feature_sums(x[a:b], kernel, cluster=c_x[a:b]) for a, b in ((0, 50), (50, 240))]
    whole = feature_sums(x, kernel, cluster=c_x)
    merged = shards[1].merge(shards[0])
    np.testing.assert_array_equal(merged.keys, whole.keys)
    np.testing.assert_allclose(merged.total, whole.total, atol=1e-4)  # float32 cosines, summed in another order
    other = feature_sums(y, kernel, cluster=c_y)
    one, two = (mmd_of_sums(side, other, permutations=49) for side in (whole, merged))
    assert number(one) == pytest.approx(number(two), abs=1e-6)


def test_many_sessions_become_groups_of_whole_sessions(session_rows):
    x, cluster = session_rows(np.random.default_rng(3), 600, 2, 2, 0.5)
    part = sample(x, cluster, "x")
    assert len(np.unique(part.keys)) <= 256 and len(part.sessions) == 600
    kernel = kernel_for(x, x, features=16)
    halves = [feature_sums(x[a:b], kernel, cluster=cluster[a:b]) for a, b in ((0, 401), (401, 1200))]
    whole = feature_sums(x, kernel, cluster=cluster)
    np.testing.assert_array_equal(halves[0].merge(halves[1]).n, whole.n)


def test_fast_permutations_equal_the_plain_statistic():
    generator = np.random.default_rng(4)
    x, y = generator.standard_normal((12, 2)), generator.standard_normal((9, 2))
    first, second = sample(x, np.arange(12) // 3, "x"), sample(y, np.arange(9) // 3, "y")
    groups = Groups(session_gram(first, second, (1.0,)), np.full(7, 3.0), 4)
    for sides in np.array([[1, 1, 1, 1, 0, 0, 0], [0, 1, 0, 1, 1, 0, 1]], float):
        rows, labels = np.concatenate([first.rows, second.rows]), np.repeat(np.arange(7), 3)
        in_x = np.repeat(sides, 3) > 0
        expected = oracle(rows[in_x], rows[~in_x], labels[in_x], labels[~in_x], (1.0,))
        assert discrepancies(groups, sides[None])[0, 0] == pytest.approx(expected, abs=1e-12)


def level(generator, correlation, simulations, permute_rows=False, d=8) -> int:
    """How many of the simulations without a difference are rejected at .05."""
    count = 0
    for _ in range(simulations):
        rows = generator.standard_normal((40, 1, d)) * correlation**0.5
        rows = (rows + (1 - correlation) ** 0.5 * generator.standard_normal((40, 6, d))).reshape(240, d)
        labels = np.arange(120) // 6
        cluster = None if permute_rows else (labels, labels)
        estimate = mmd(rows[:120], rows[120:], cluster=cluster, permutations=199, bandwidths=(4.0,))
        count += number(estimate, "p_value") <= 0.05
    return count


@pytest.mark.parametrize("correlation", [0.0, 0.1, 0.3])
def test_level_of_the_session_permutation(correlation):
    # 60 tests at level .05 reject more than 9 once in 1,000 times
    assert level(np.random.default_rng(5), correlation, 60) <= 9


def test_a_permutation_of_rows_fails_where_sessions_matter():
    assert level(np.random.default_rng(6), 0.3, 20, permute_rows=True) >= 8  # design value .68: fewer once in 50,000


def test_the_observed_line_reaches_itself():
    rows = np.random.default_rng(7).standard_normal((4, 3))
    first, second = sample(rows[:2], None, "x"), sample(rows[2:], None, "y")
    groups = Groups(session_gram(first, second, (1.0,)), np.ones(4), 2)
    p_value, _ = permutation_test(groups, 3000, 0)
    # 6 arrangements in 3 mirror pairs: a third of all reach an observed maximum, all reach a minimum
    assert min(abs(p_value - k / 3) for k in (1, 2, 3)) < 0.04  # 4.6 standard errors of 3000 draws


def test_a_session_effect_alone_leaves_the_effect_at_zero(session_rows):
    generator, inside, across = np.random.default_rng(8), [], []
    for _ in range(40):
        x, c = session_rows(generator, 10, 10, 3, 0.5)
        y, _ = session_rows(generator, 10, 10, 3, 0.5)
        estimate = mmd(x, y, cluster=(c, c), permutations=1, bandwidths=(1.0,))
        across.append(number(estimate))
        inside.append(number(mmd(x, y, cluster=None, permutations=1, bandwidths=(1.0,))))
    error = np.std(across) / 40**0.5
    assert abs(np.mean(across)) < 4 * error
    assert np.mean(inside) > 4 * error  # with pairs of one session: a difference where there is none


def test_p_value_row_floor_and_counts(xy):
    x, y = xy
    x = x.copy()
    x[:2] = np.nan
    estimate = mmd(x, y, cluster=(np.arange(60) // 6, np.arange(60) // 5), permutations=199)
    row = estimate.where(statistic="p_value").to_frame().row(0, named=True)
    assert row["unit"] == "probability" and 0 < row["mean"] <= 1 and row["lower"] == row["upper"] == row["mean"]
    assert estimate.counts == {"n_rows": 118, "n_sessions": 22} and "2 rows with NaN" in estimate.method
    assert estimate.noise_floor[0] > 0 and "199 permutations of sessions" in estimate.method


def test_few_sessions():
    generator = np.random.default_rng(9)
    x = generator.standard_normal((12, 2))
    one = mmd(x, x + 1, cluster=(["a"] * 12, np.arange(12)))
    assert not one.identified and "1 and 12 sessions" in one.reasons[0]
    two = mmd(x, x + 1, cluster=(np.arange(12) % 2, np.arange(12) % 4), permutations=99)
    assert two.reason[0].startswith("2 sessions on a side") and two.reason[2] is None
    assert "only 15 arrangements" in two.method


def test_float16_and_zero_vectors():
    generator = np.random.default_rng(10)
    x, y = generator.standard_normal((2, 30, 3))
    half = mmd(x.astype(np.float16), y.astype(np.float16), cluster=None, permutations=9, bandwidths=(1.0,))
    assert number(half) == pytest.approx(number(mmd(x, y, cluster=None, permutations=9, bandwidths=(1.0,))), abs=2e-3)
    x[3] = 0
    assert "1 rows with NaN" in mmd(x, y, cluster=None, permutations=9, unit_length=True).method


def test_bad_input_is_a_sentence():
    x = np.random.default_rng(11).standard_normal((8, 3))
    kernel = kernel_for(x, x)
    one, other = feature_sums(x, kernel, cluster=None), feature_sums(x, kernel_for(x, 2 * x), cluster=None)
    cases = [
        (lambda: mmd(x, x[:, :2], cluster=None), "3 dimensions and y 2"),
        (lambda: mmd(x * np.nan, x, cluster=None), r"x has no usable rows \(8 set aside\)"),
        (lambda: mmd(x * 0 + 1, x * 0 + 1, cluster=None), "all rows of x and y are the same"),
        (lambda: mmd(x, x, cluster=None, bandwidths=(0.0,)), "positive lengths"),
        (lambda: mmd(x, x, cluster=None, features=3), "even number"),
        (lambda: mmd(x, x, cluster=None, permutations=0), "at least 1"),
        (lambda: mmd(x, x, cluster=(None, np.arange(8))), "None for one side only"),
        (lambda: mmd(x, x, cluster=([1, 2], np.arange(8))), "cluster of x has 2 labels for 8 rows"),
        (lambda: mmd([[1.0], [1.0, 2.0]], x, cluster=None), "different lengths"),
        (lambda: feature_sums(x[:, :2], kernel, cluster=None), "2 dimensions, the kernel was made for 3"),
        (lambda: one.merge(other), "two kernels"),
        (lambda: one.merge(feature_sums(x, kernel, cluster=np.arange(8))), "with cluster=None cannot be merged"),
        (lambda: mmd_of_sums(one, other), "of other kernels"),
    ]
    for call, sentence in cases:
        with pytest.raises(InputError, match=sentence):
            call()
    with pytest.raises(TypeError, match="cluster"):
        mmd(x, x)
