"""The gap that can be trusted: against simulation, and where no gap can be."""

import itertools

import numpy as np
import polars as pl
import pytest

import divergence as dv
from divergence.estimands.gap_for_confidence import needed, pair_noise
from divergence.estimands.projection_instability import Projection, project
from divergence.estimate import Estimate
from divergence.simulate import simulate, world

RNG = np.random.default_rng(20260711)

BENCH = RNG.normal(0.6, 0.1, (40, 7))

DEPLOYED = 0.8 * BENCH + RNG.normal(0, 0.04, (40, 7))


def _posterior(log):
    return dv.fit(dv.collapse(dv.read(log)), seed=0)


def test_the_observed_gap_that_can_be_trusted_by_simulation():
    """Of pairs whose *observed* gap is g_05_observed, one in twenty is reversed in deployment."""
    gamma, noise, beta, tau = 0.1, 0.05, 0.8, 0.02
    known = (np.array([value]) for value in (gamma, beta, tau))
    line = Projection(("a",), BENCH, DEPLOYED, DEPLOYED[:, :, None], np.ones(1), *known)
    shrink = gamma**2 / (gamma**2 + noise**2)
    trusted = needed(line, np.array([shrink]))[0]
    true = RNG.normal(0, gamma, 4_000_000)
    observed = true + RNG.normal(0, noise, true.size)
    near = np.abs(observed - trusted) < 0.001
    deployed = beta * true[near] + RNG.normal(0, tau, near.sum())
    error = np.sqrt(0.05 * 0.95 / near.sum())
    assert abs((deployed < 0).mean() - 0.05) < 4 * error
    assert true[near].mean() == pytest.approx(shrink * trusted, abs=4 * gamma / np.sqrt(near.sum()))
    assert needed(line)[0] < trusted


def test_noise_of_an_observed_gap_against_resampled_items(waves_world, waves_posterior):
    log = waves_world[0].filter(regime="evaluation")
    item = log.group_by("model", "item").agg(pl.col("score").mean()).sort("model")
    table = item.pivot(on="model", index="item", values="score").drop("item").to_numpy()
    first, second = np.array(list(itertools.combinations(range(4), 2))).T
    _, line = project(waves_posterior, None, None)
    mean, noise = pair_noise(waves_posterior.fits[0], line, first, second)
    resampled = table[RNG.integers(0, len(table), (2000, len(table)))].mean(1)
    oracle = (resampled[:, first] - resampled[:, second]).var(0)
    # Correlations are shrunk towards those of alike pairs, so single pairs differ; their mean must not.
    assert mean == pytest.approx(noise.mean())
    assert noise.mean() == pytest.approx(oracle.mean(), rel=0.15)


def test_a_bench_that_orders_nothing_is_refused():
    log, _ = simulate(world("baseline", n_models=4, n_contexts=2, n_items=60, ability=0.0, projection=0.4), 1)
    posterior = _posterior(log)
    answer = dv.gap_for_confidence(posterior)
    assert not answer.identified and "does not order deployment" in answer.reasons[0]
    assert dv.projection_instability(posterior).identified


def test_infinite_draws_have_quantiles_and_no_mean():
    draws = np.r_[np.linspace(1, 2, 97), [np.inf] * 3][:, None].repeat(2, 1)
    estimate = Estimate(
        "gap_for_confidence",
        "",
        "fraction",
        pl.DataFrame({"model": ["a", "b"]}),
        draws,
        quantiles_only=np.array([True, True]),
    )
    row = estimate.to_frame().row(0, named=True)
    assert row["mean"] is None and row["sd"] is None and row["identified"]
    assert row["median"] == pytest.approx(np.median(draws[:, 0])) and row["upper"] < 2
    wide = estimate.to_frame(0.98).row(0, named=True)
    assert wide["upper"] is None and wide["lower"] is not None
    assert "1.5" in repr(estimate)
