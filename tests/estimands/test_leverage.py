"""The leverage of a headline is what the correlation leaves."""

import numpy as np

import divergence as dv


def test_headline_leverage_is_what_the_correlation_leaves(waves_posterior):
    estimate = dv.leverage(waves_posterior)
    b, d = dv.bench_level(waves_posterior).draws, dv.deployed_level(waves_posterior).draws
    r = [np.corrcoef(b[s], d[s])[0, 1] for s in range(20)]
    np.testing.assert_allclose(estimate.draws[:20, 0], 1 - np.square(r), rtol=1e-8)
    curve = estimate.where(statistic="curve").draws
    assert (curve[:, 0] == 1).all() and (np.diff(curve, axis=1) <= 0).all()
