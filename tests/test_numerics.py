"""Ranks of combinations against `numpy.unique`, which sorts whole columns."""

import numpy as np
import pytest
from scipy.stats import rankdata as ranked

from divergence.numerics import combinations, on_scale, rankdata, together


@pytest.mark.parametrize(
    ("size", "ranges"),
    [
        (1, (3,)),
        (500, (20, 30)),
        (3000, (8,) * 8),
        (300, (10**6, 10**6)),
        (12, (2**40, 2**40)),
        (40, (2, 2**50, 3)),
        (7, (1, 1)),
    ],
)
def test_combinations_are_those_of_numpy(size, ranges):
    random = np.random.default_rng(size)
    codes = [random.integers(-1, high, size) for high in ranges]
    keys, place = combinations(*codes)
    expected, inverse = np.unique(np.stack(codes), axis=1, return_inverse=True)
    assert np.array_equal(keys, expected)
    assert np.array_equal(place, inverse.ravel())
    assert np.array_equal(together(*codes), place)
    assert np.array_equal(keys[:, place], np.stack(codes))


def test_no_rows_have_no_combination():
    keys, place = combinations(np.zeros(0, int), np.zeros(0, int))
    assert keys.shape == (2, 0)
    assert place.shape == (0,)


@pytest.mark.parametrize("method", ["average", "min", "dense"])
@pytest.mark.parametrize("axis", [None, 0, 1])
def test_places_are_those_of_scipy(method, axis):
    rng = np.random.default_rng(0)
    tied, apart, torn = rng.integers(0, 4, (5, 6)), rng.standard_normal((5, 6)), rng.integers(0, 4, (5, 6)) / 2
    torn[2, 3] = np.nan
    for values in (tied, apart, torn, tied[:1], tied[:, :1], tied[:0], tied[:, :0]):
        mine, theirs = rankdata(values, method, axis), ranked(values, method=method, axis=axis)
        assert mine.dtype == theirs.dtype
        assert np.array_equal(mine, theirs, equal_nan=True)


def test_what_misses_an_end_of_the_scale_by_rounding_lies_at_it():
    one_failure = 1 - 1e-9
    found = on_scale(np.array([1 + 2e-16, 1 - 2e-16, -1e-17, 0.5, one_failure, 1.2]))
    assert found.tolist() == [1, 1, 0, 0.5, one_failure, 1]
