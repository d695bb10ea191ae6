"""The gap is the difference of levels, and is refused where the regimes cannot be compared."""

import numpy as np
import polars as pl

import divergence as dv
from divergence.simulate import simulate, world

"""The gap is the difference of levels, and is refused where the regimes cannot be compared."""


def _posterior_of(log, **options):
    return dv.fit(dv.collapse(dv.read(log, **options)), seed=0)


def _small_log(kind="baseline", **sizes):
    return simulate(world(kind, **({"n_models": 3, "n_contexts": 2, "n_items": 40} | sizes)), 2)[0]


def test_gap_is_the_difference_of_levels(waves_posterior):
    gap = dv.gap(waves_posterior).where(statistic=None).draws
    np.testing.assert_allclose(
        gap, dv.deployed_level(waves_posterior).draws - dv.bench_level(waves_posterior).draws, atol=1e-12
    )
    np.testing.assert_array_equal(gap, -dv.evaluation_advantage(waves_posterior).where(statistic=None).draws)


def test_different_scorers():
    log = _small_log().with_columns(scorer=pl.col("regime"))
    posterior = _posterior_of(log)
    for question in (dv.reversal, dv.gap, dv.evaluation_advantage):
        assert "different scorers" in question(posterior).reasons[0]
    assert not dv.context_effect(posterior).where(statistic=None).identified
