"""The state: equal to the direct sums, whatever the chunks, shards, order and type of the rows."""

import dataclasses

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from divergence.errors import InputError
from divergence.geometry.moments import Moments, moments, moments_of_chunks, paired_moments
from divergence.geometry.sums import NAMES, Sums

# Sums of n products in float64 about a shift near the mean: n eps relative to the largest term, with room to spare.
CLOSE = dict(rtol=1e-9, atol=1e-8)


def direct(x: np.ndarray, y: np.ndarray) -> Sums:
    """The sums by definition, row by row, about the means."""
    x, y = x - x.mean(0), y - y.mean(0)
    total = {name: 0.0 for name in NAMES}
    for u, v in zip(x, y, strict=True):
        a, b = u @ u, v @ v
        row = dict(
            n=1,
            x=u,
            y=v,
            xx=np.outer(u, u),
            yy=np.outer(v, v),
            xy=np.outer(u, v),
            aa=a * a,
            bb=b * b,
            ab=a * b,
            ax=a * u,
            ay=a * v,
            bx=b * u,
            by=b * v,
        )
        total = {name: total[name] + row[name] for name in NAMES}
    return Sums(**total)


def same(first: Sums, second: Sums, **close) -> None:
    for name in NAMES:
        np.testing.assert_allclose(getattr(first, name), getattr(second, name), **(close or CLOSE), err_msg=name)


def same_blocks(first: Moments, second: Moments) -> None:
    np.testing.assert_array_equal(first.keys, second.keys)
    np.testing.assert_array_equal(first.sessions, second.sessions)
    shifted = second.sums.shifted(first.shift_x - second.shift_x, first.shift_y - second.shift_y)
    same(first.sums, shifted)


def draw(seed, n=40, p=3, q=2, sessions=6):
    generator = np.random.default_rng(seed)
    x, y = generator.standard_normal((n, p)) + 3, generator.standard_normal((n, q)) - 2
    return x, y, generator.integers(sessions, size=n)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), chunk=st.integers(1, 50), sessions=st.integers(1, 20))
def test_pooled_sums_are_the_direct_ones_for_any_chunk_size(seed, chunk, sessions):
    x, y, cluster = draw(seed, sessions=sessions)
    state = paired_moments(x, y, cluster=cluster, chunk_rows=chunk, blocks=8)
    same(state.sums.pooled().centred(), direct(x, y))
    same_blocks(state, paired_moments(x, y, cluster=cluster, blocks=8))


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), cut=st.integers(1, 39), sessions=st.integers(1, 20))
def test_merge_of_shards_is_the_whole_in_either_order(seed, cut, sessions):
    x, y, cluster = draw(seed, sessions=sessions)  # above 8 sessions a shard may be unfolded and the whole folded
    left = paired_moments(x[:cut], y[:cut], cluster=cluster[:cut], blocks=8)
    right = paired_moments(x[cut:], y[cut:], cluster=cluster[cut:], blocks=8)
    whole = paired_moments(x, y, cluster=cluster, blocks=8)
    same_blocks(left.merge(right), whole)
    same_blocks(right.merge(left), whole)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_order_of_rows_does_not_matter(seed):
    x, y, cluster = draw(seed)
    order = np.random.default_rng(seed).permutation(len(x))
    same_blocks(paired_moments(x, y, cluster=cluster), paired_moments(x[order], y[order], cluster=cluster[order]))


def test_each_session_is_a_block_until_there_are_more_than_blocks():
    x, y, cluster = draw(1, n=60, sessions=5)
    state = paired_moments(x, y, cluster=cluster, blocks=5)
    assert sorted(state.sums.n) == sorted(np.bincount(cluster))
    folded = paired_moments(x, y, cluster=cluster, blocks=4)
    assert len(folded.keys) <= 4 and len(folded.sessions) == 5 and folded.n == 60


def test_stream_of_chunks_equals_the_whole():
    x, y, cluster = draw(2, n=50)
    chunks = [(x[a:b], y[a:b], cluster[a:b]) for a, b in ((0, 7), (7, 8), (8, 50))]
    same_blocks(moments_of_chunks(chunks, clustered=True), paired_moments(x, y, cluster=cluster))
    one = moments_of_chunks([(a, None, c) for a, _, c in chunks], clustered=True)
    same_blocks(one, moments(x, cluster=cluster))


def test_sides_are_the_one_sample_states():
    x, y, cluster = draw(3)
    state = paired_moments(x, y, cluster=cluster)
    for name, rows in (("x", x), ("y", y)):
        same_blocks(state.side(name), moments(rows, cluster=cluster))


def test_a_common_shift_changes_no_centred_sum():
    x, y, cluster = draw(4, p=3, q=3)
    state = paired_moments(x, y, cluster=cluster)
    moved = state.about(np.array([1.0, 2.0, 3.0]))
    same(moved.sums.pooled().centred(), direct(x, y))
    np.testing.assert_allclose(moved.sums.pooled().x / moved.n + moved.shift_x, x.mean(0))


def test_float32_far_from_zero_keeps_its_digits():
    generator = np.random.default_rng(5)
    x = (generator.standard_normal((20_000, 8)) + 300).astype(np.float32)
    state = moments(x, cluster=None, chunk_rows=512)
    centred = state.sums.pooled().centred()
    exact = np.cov(x.astype(float).T, bias=True) * len(x)
    # shifted float32 products: about sqrt(16 rows a segment) * 6e-8 relative to the diagonal; unshifted 300^2 worse
    np.testing.assert_allclose(centred.xx, exact, atol=2e-6 * exact.max())
    unshifted = (x.T @ x).astype(float) - len(x) * np.outer(x.mean(0), x.mean(0))
    assert np.abs(unshifted - exact).max() > 100 * np.abs(centred.xx - exact).max()


def test_float16_is_widened_without_loss():
    x = np.random.default_rng(6).standard_normal((30, 4)).astype(np.float16)
    same(moments(x, cluster=None).sums, moments(x.astype(np.float32), cluster=None).sums)


def test_bad_rows_are_set_aside_with_their_count():
    x, y, cluster = draw(7)
    bad_x, bad_y = x.copy(), y.copy()
    bad_x[3, 0], bad_x[5, 1], bad_y[5, 0], bad_y[9, 1] = np.nan, np.inf, np.nan, 1e200
    keep = np.setdiff1d(np.arange(len(x)), [3, 5, 9])
    state = paired_moments(bad_x, bad_y, cluster=cluster)
    assert state.rejected == 3 and state.n == len(x) - 3
    same_blocks(state, paired_moments(x[keep], y[keep], cluster=cluster[keep]))
    assert state.merge(state).rejected == 6


def test_unit_length_scales_rows_and_sets_zero_vectors_aside():
    x = np.array([[3.0, 4.0], [0.0, 0.0], [0.0, 2.0]])
    state = moments(x, cluster=None, unit_length=True)
    assert state.rejected == 1
    same(state.sums.pooled().centred(), direct(np.array([[0.6, 0.8], [0.0, 1.0]]), np.zeros((2, 0))), atol=1e-15)
    assert moments(x, cluster=None).rejected == 0


def test_polars_columns_of_lists_and_of_arrays():
    x = np.random.default_rng(8).standard_normal((6, 3))
    expected = moments(x, cluster=None)
    lists = pl.Series("embedding", x.tolist())
    same(moments(lists, cluster=None).sums, expected.sums)
    arrays = lists.cast(pl.Array(pl.Float64, 3))
    same(moments(arrays, cluster=pl.Series(range(6))).sums.pooled(), expected.sums.pooled())


X = np.zeros((4, 2))
BAD = {
    "ragged list": (lambda: moments([[1.0, 2.0], [3.0]], cluster=None), "different lengths.*lengths 1, 2"),
    "ragged column": (lambda: moments(pl.Series([[1.0], [2.0, 3.0]]), cluster=None), "different lengths"),
    "null in column": (lambda: moments(pl.Series([[1.0], None]), cluster=None), "different lengths"),
    "empty column": (lambda: moments(pl.Series([], dtype=pl.List(pl.Float64)), cluster=None), "no rows"),
    "no list column": (lambda: moments(pl.Series([1.0]), cluster=None), "column of lists"),
    "one axis": (lambda: moments([1.0, 2.0], cluster=None), "1 axes"),
    "text": (lambda: moments([["a", "b"]], cluster=None), "holds numbers"),
    "no dimensions": (lambda: moments(np.zeros((3, 0)), cluster=None), "0 dimensions"),
    "unequal rows": (lambda: paired_moments(X, X[:3], cluster=None), "4 rows and y 3"),
    "misaligned": (
        lambda: paired_moments(X, X, cluster=None, items=(list("abcd"), list("abdc"))),
        "row 2 is item c in x and d in y",
    ),
    "items short": (lambda: paired_moments(X, X, cluster=None, items=(list("abc"), list("abcd"))), "3 and 4 rows"),
    "cluster short": (lambda: moments(X, cluster=[1, 2]), "2 labels for 4 rows"),
    "cluster null": (lambda: moments(X, cluster=[1, None, 2, 3]), "null in 1 rows"),
    "nothing left": (lambda: moments(X * np.nan, cluster=None), r"no usable rows \(4 set aside\)"),
    "one block": (lambda: moments(X, cluster=None, blocks=1), "at least 2 blocks"),
    "chunk 0": (lambda: moments(X, cluster=None, chunk_rows=0), "at least 1 row"),
    "other width": (lambda: moments_of_chunks([(X, None, None), (X[:, :1], None, None)], clustered=False), "1 and 0 dim"),
    "chunk cluster": (lambda: moments_of_chunks([(X, None, None)], clustered=True), "without cluster"),
    "chunk rows": (lambda: moments_of_chunks([(X, X[:1], None)], clustered=False), "4 rows of x and 1 of y"),
    "merge": (lambda: moments(X, cluster=None).merge(moments(X[:, :1], cluster=None)), "differ in dimensions"),
    "merge kinds": (lambda: moments(X, cluster=None).merge(moments(X, cluster=[1, 2, 3, 4])), "differ in clustered"),
    "side": (lambda: moments(X, cluster=None).side("z"), "sides x and y"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_a_sentence(case):
    call, sentence = BAD[case]
    with pytest.raises(InputError, match=sentence):
        call()


def test_cluster_must_be_written():
    with pytest.raises(TypeError, match="cluster"):
        moments(X)
    with pytest.raises(TypeError, match="cluster"):
        paired_moments(X, X)


def test_the_state_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        moments(X, cluster=None).rejected = 1
