"""The agreement of two orders, places and first places, against loops."""

import numpy as np
import polars as pl
import pytest
from scipy.stats import kendalltau

import divergence as dv
from divergence.estimands.rank_agreement import place, tied
from divergence.orders import share_of_first
from divergence.simulate import simulate, world

RNG = np.random.default_rng(20260711)


def _posterior(log):
    return dv.fit(dv.collapse(dv.read(log)), seed=0)


def test_kendall_regret_places_and_first_places_against_loops(waves_posterior):
    estimate = dv.rank_agreement(waves_posterior)
    b, d = dv.bench_level(waves_posterior).draws, dv.deployed_level(waves_posterior).draws
    for s in range(20):
        assert estimate.draws[s, 0] == pytest.approx(kendalltau(b[s], d[s]).statistic, rel=1e-9)
        assert estimate.draws[s, 1] == pytest.approx(d[s].max() - d[s][np.argmax(b[s])], abs=1e-12)
    first = estimate.where(statistic="p_best", regime="deployment").draws
    np.testing.assert_array_equal(first.argmax(1), d.argmax(1))
    np.testing.assert_array_equal(first.sum(1), 1)
    np.testing.assert_array_equal(estimate.where(statistic="rank", regime="evaluation").draws.sum(1), 4 * 5 / 2)
    assert estimate.where(statistic="tied", regime="deployment").draws[0].sum() >= 1


def test_ties_share_places():
    level = np.array([[0.5, 0.7, 0.7, 0.1]])
    np.testing.assert_array_equal(share_of_first(level), [[0, 0.5, 0.5, 0]])
    np.testing.assert_array_equal(place(level), [[3, 1.5, 1.5, 4]])
    both = place(RNG.integers(0, 3, (500, 2)).astype(float)).mean(0)
    assert (2 - both).sum() == pytest.approx(1)  # of two models 2 - E rank is P(i > j), ties 1/2
    np.testing.assert_array_equal(tied(np.array([[1.0, 0, 0]] * 8 + [[0, 1.0, 0]] * 2))[0], [1, 1, 0])


def test_the_fastest_is_first_where_less_is_better():
    log, _ = simulate(world("baseline", n_models=3, n_contexts=2, n_items=40), 4)
    speed = {"model-0": 3.0, "model-1": 1.0, "model-2": 2.0}
    log = log.with_columns(
        latency_s=pl.col("model").replace_strict(speed, return_dtype=pl.Float64) * (1 + 0.1 * pl.col("score"))
    ).drop("score")
    seconds = dv.Configuration.from_table({"outcome": "latency_s"})
    posterior = dv.fit(dv.collapse(dv.read(log, configuration=seconds)), seed=0)
    first = dv.rank_agreement(posterior).where(statistic="p_best", regime="deployment").to_frame()
    assert first.sort("mean")["model"][-1] == "model-1"


def test_models_that_are_copies_of_each_other():
    """Five names for one model: nothing is ordered, equals are first in turn, and the coupling says why it is near 1."""
    log, _ = simulate(world("baseline", n_models=1, n_contexts=3, n_items=120), 1)
    posterior = _posterior(pl.concat([log.with_columns(model=pl.lit(f"copy-{k}")) for k in range(5)]))
    assert "no bench gap can be trusted" in dv.gap_for_confidence(posterior).reasons[0]
    chances = dv.rank_agreement(posterior).where(statistic="p_best", regime="deployment").to_frame()["mean"]
    assert chances.sum() == pytest.approx(1) and chances.max() < 0.4
    assert "near 1 by construction" in dv.coupling(posterior).text
    assert dv.projection_instability(posterior).identified
