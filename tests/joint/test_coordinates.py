"""Where each sampled coordinate lies: the parts of a layout cover it once, and its slope is that of its variances."""

import pathlib
import re

import numpy as np
import pytest

from divergence.joint import coordinates
from divergence.joint.coordinates import ABILITIES, Layout

SHAPES = [(2, 0, 0), (2, 4, 0), (3, 0, 3), (3, 4, 3)]


def _layout(terms, levels, models):
    return Layout(1.5, np.linspace(0.2, 0.8, terms), 1.0, levels, models, own_term=terms - 1, instability=0.5)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_parts_cover_every_coordinate_and_variance_once(shape):
    at = _layout(*shape)
    spread = [at.spread] if at.models else []
    x = [
        *range(ABILITIES),
        *range(at.dims)[at.terms],
        *range(at.dims)[at.own_levels],
        *spread,
        *range(at.dims)[at.models_own],
    ]
    assert x == list(range(at.dims))
    s = [*range(ABILITIES), *range(at.count)[at.terms], *range(at.count)[at.own_levels], *range(at.count)[at.own_models]]
    assert s == list(range(at.count)) and [at.term(k) for k in range(shape[0])] == list(range(at.count))[at.terms]


@pytest.mark.parametrize("shape", SHAPES)
def test_the_slope_is_that_of_the_variances(shape):
    """Of `c s(x) - x x / 2`, by central differences of 1e-5: an error of 1e-10 of the third derivative, some 100."""
    at, rng = _layout(*shape), np.random.default_rng(0)
    x, c = 0.5 * rng.standard_normal(at.dims), rng.standard_normal(at.count)

    def value(point):
        return at.variances(point[None])[0] @ c - point @ point / 2

    steps = 1e-5 * np.eye(at.dims)
    expected = [(value(x + e) - value(x - e)) / 2e-5 for e in steps]
    np.testing.assert_allclose(at.slope(x, at.variances(x[None])[0], c), expected, atol=1e-8)


def test_the_ratio_of_both_regimes_ends_where_its_slope_does():
    """Beyond 4 neither the spread in deployment nor, but for the prior, the slope knows the coordinate."""
    at = _layout(*SHAPES[0])
    x = np.zeros((2, at.dims))
    x[:, 1] = 4.2, 5.0
    s = at.variances(x)
    np.testing.assert_array_equal(s[0], s[1])
    assert s[0, 1] == pytest.approx(s[0, 0] * np.exp(2 * coordinates.RATIO * np.sinh(4)))
    assert at.slope(x[0], s[0], np.ones(at.count))[1] == -x[0, 1]


def test_scales_of_their_own_end_where_the_slope_does():
    """Beyond a thousand times the others' scale neither the variance nor, but for the prior, the slope knows the point."""
    at = _layout(3, 4, 3)
    x = np.zeros(at.dims)
    x[at.own_levels.start], x[at.spread], x[at.models_own.start] = 7.5, 3.0, 7.9
    further = x.copy()
    further[[at.own_levels.start, at.models_own.start]] += 0.05
    s = at.variances(np.stack([x, further]))
    np.testing.assert_array_equal(s[0], s[1])
    assert s[0, at.own_levels][0] == pytest.approx(np.exp(2 * coordinates.OWN_MAX) * s[0, at.term(0)])
    slope = at.slope(x, s[0], np.ones(at.count))
    np.testing.assert_array_equal(
        slope[[at.own_levels.start, at.models_own.start]], -x[[at.own_levels.start, at.models_own.start]]
    )


def test_the_order_is_written_in_one_file():
    """Elsewhere a coordinate is asked for by what it is of: no `3 + k` counts past those of theta."""
    home = pathlib.Path(coordinates.__file__)
    for path in home.parent.glob("*.py"):
        assert path == home or not re.search(r"[\[( ]3 \+ (k|terms|len|count|levels)", path.read_text()), path.name
