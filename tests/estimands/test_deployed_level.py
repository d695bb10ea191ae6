"""The deployed level under declared laws."""

import numpy as np

import divergence as dv


def test_a_declared_law_is_a_mixture(waves_posterior):
    half = dv.deployed_level(waves_posterior, law={"context-1": 0.5, "context-2": 0.5}).draws
    alone = [dv.deployed_level(waves_posterior, law={c: 1.0}).draws for c in ("context-1", "context-2")]
    np.testing.assert_allclose(half, (alone[0] + alone[1]) / 2, atol=1e-12)
