"""Exact sums of floats: any order and any split give the same bytes; against `math.fsum`."""

import math

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from divergence.cells.exact_sums import PARTS, RANGES, parts, total

LARGE = 2.0**76

VALUES = st.lists(
    st.one_of(
        st.floats(-1e3, 1e3).filter(lambda x: not 0 < abs(x) < 1e-22),
        st.floats(1e-22, 1e21),
        st.integers(0, 2**40).map(float),
        st.floats(1e-22, 1e-9),
        st.just(0.1),
        st.just(0.0),
    ),
    min_size=1,
    max_size=60,
)


def added(*pieces):
    """The sum of all pieces, each summed by itself and the parts added up."""
    tables = [pl.DataFrame({"x": piece}, schema={"x": pl.Float64}).select(parts("x", pl.col("x"))) for piece in pieces]
    return pl.concat(tables).select(pl.col("x" + part).sum() for part in PARTS).select(total("x")).item()


@settings(max_examples=200, deadline=None)
@given(VALUES, st.integers(0, 2**31 - 1), st.integers(1, 5))
def test_any_order_and_any_split_give_the_same_bytes(values, seed, pieces):
    rng = np.random.default_rng(seed)
    shuffled = rng.permutation(values)
    split = [part.tolist() for part in np.array_split(shuffled, pieces)]
    assert added(values) == added(shuffled.tolist()) == added(*split)
    # Each value is rounded once, by half a unit at most, and the sum twice.
    units = sum(0.5 / 2.0**unit for x in values for _, low, high, unit in RANGES if 2.0**low <= abs(x) < 2.0**high)
    whole = math.fsum(values)
    assert abs(added(values) - whole) <= units + 4 * np.spacing(max(map(abs, values)) * len(values))


def test_plain_addition_depends_on_the_order_and_this_does_not():
    values = [0.1, 0.2, 0.3, 1e6, 1e12, -1e12]
    assert sum(values) != sum(values[::-1])
    assert added(values) == added(values[::-1]) == 1000000.6


def test_counts_are_exact():
    values = [float(k) for k in (0, 1, 1, 3, 2**30, 2**50, 7)]
    assert added(values) == sum(values)


def test_what_is_missing_counts_nothing_and_what_is_no_number_is_not_hidden():
    assert added([1.5, None, 2.0]) == 3.5
    assert added([None]) == 0
    assert math.isnan(added([1.0, float("nan")]))
    assert added([LARGE, 1.0, LARGE]) == 2 * LARGE
    assert added([float("inf"), 1.0]) == float("inf")


def test_a_value_loses_nothing_that_matters_whatever_its_unit():
    values = np.random.default_rng(0).lognormal(0, 1, 500)
    for unit in (1e-60, 1e-30, 1e-21, 1e-12, 1e-6, 1.0, 1e9, 1e20, 1e40):
        assert math.isclose(added((values * unit).tolist()), math.fsum(values * unit), rel_tol=1e-12)
        squares = (values * unit) ** 2
        assert math.isclose(added(squares.tolist()), math.fsum(squares), rel_tol=1e-12)
