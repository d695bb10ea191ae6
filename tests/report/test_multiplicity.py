import numpy as np
import pytest
from scipy.stats import norm

from divergence.report.multiplicity import expected_false, simultaneous


def test_the_band_of_independent_rows_is_that_of_the_largest_of_normals():
    rows, draws = 20, 40_000
    values = np.random.default_rng(7).standard_normal((draws, rows))
    reach = (simultaneous(values)[:, 1] - values.mean(0)) / values.std(0)
    exact = norm.ppf((1 + 0.9 ** (1 / rows)) / 2)
    # the quantile's own error: sqrt(p (1 - p) / n) over the density of the maximum at it (about .16); 5 of them
    assert reach == pytest.approx(np.full(rows, exact), abs=5 * np.sqrt(0.09 / draws) / 0.16)


def test_the_band_holds_nine_tenths_of_the_draws_whole():
    generator = np.random.default_rng(3)
    values = generator.standard_normal((4000, 6)) @ generator.standard_normal((6, 6)) + generator.normal(0, 3, 6)
    limits = simultaneous(values)
    inside = ((values >= limits[:, 0]) & (values <= limits[:, 1])).all(axis=1).mean()
    assert inside == pytest.approx(0.9, abs=1 / 4000 + 1e-12)


def test_copies_of_one_row_cost_nothing():
    one = np.random.default_rng(1).standard_normal((2000, 1))
    assert simultaneous(np.repeat(one, 9, axis=1))[0] == pytest.approx(simultaneous(one)[0])


def test_what_is_not_identified_stays_so_and_what_never_moves_has_no_width():
    values = np.random.default_rng(2).standard_normal((500, 3))
    values[:, 1] = np.nan
    values[:, 2] = 0.25
    limits = simultaneous(values)
    assert np.isnan(limits[1]).all()
    assert limits[2] == pytest.approx([0.25, 0.25])
    assert np.isfinite(limits[0]).all()
    assert np.isnan(simultaneous(np.full((10, 2), np.nan))).all()


def test_expected_false_claims():
    assert expected_false(40) == pytest.approx(4.0)
