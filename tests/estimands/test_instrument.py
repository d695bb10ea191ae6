"""Effects of measuring waves sum to zero."""

import numpy as np

import divergence as dv


def test_waves_sum_to_zero(waves_posterior):
    np.testing.assert_allclose(dv.instrument(waves_posterior).draws.sum(1), 0, atol=1e-12)
