"""Stability over contexts against loops; the coefficients of generalizability theory against the book's numbers."""

import itertools

import numpy as np
import polars as pl
import pytest

import divergence as dv
from divergence.estimands.stability import inside, tail
from divergence.joint import Levels
from divergence.simulate import simulate, world

RNG = np.random.default_rng(20260712)


def _posterior(log):
    return dv.fit(dv.collapse(dv.read(log)), seed=0)


def _levels(law):
    law = np.array(law)
    draws = RNG.uniform(0.2, 0.9, (6, *law.shape))
    names = tuple(f"m{k}" for k in range(law.shape[0]))
    return Levels(draws, names, tuple(f"c{k}" for k in range(law.shape[1])), law, np.ones(law.shape, bool))


def test_share_of_contexts_near_the_mean_against_loops():
    mu = _levels([[0.5, 0.2, 0.3], [0.1, 0.1, 0.8]])
    for eps in (0.0, 0.1, 0.3):
        for s, m in itertools.product(range(6), range(2)):
            mean = sum(w * v for w, v in zip(mu.law[m], mu.draws[s, m], strict=True))
            near = sum(w for w, v in zip(mu.law[m], mu.draws[s, m], strict=True) if abs(v - mean) <= eps)
            assert inside(mu, eps)[s, m] == pytest.approx(near, abs=1e-12)
    assert (inside(mu, 1.0) == pytest.approx(1)) and (inside(mu, 0.1) <= inside(mu, 0.2)).all()


@pytest.mark.parametrize("high", [False, True])
def test_tail_against_a_law_of_repeated_contexts(high):
    """A law of tenths is 40 contexts of which a share of .1 are four."""
    mu = _levels([[0.5, 0.2, 0.3], [0.1, 0.1, 0.8]])
    quantile, worst = tail(mu, 0.25, high)
    for s, m in itertools.product(range(6), range(2)):
        each = sorted(np.repeat(mu.draws[s, m], (mu.law[m] * 40 + 0.5).astype(int)), reverse=high)
        assert quantile[s, m] == each[9]
        assert worst[s, m] == pytest.approx(np.mean(each[:10]))


def test_what_is_missing_is_said(waves_posterior):
    answer = dv.stability(waves_posterior)
    assert "no required level is declared" in answer.where(statistic="Phi(lambda)").reasons[0]
    assert answer.where(statistic=None).identified
    log, _ = simulate(world("baseline", n_models=2, n_contexts=2, n_items=40, n_trials=1), 1)
    answer = dv.stability(_posterior(log))
    assert "0 items have 2 replicates" in answer.where(statistic="pass^2_within").reasons[0]
    assert answer.where(statistic=None).identified and answer.where(statistic="cvar_10").identified
    one = dv.stability(_posterior(log.filter(pl.col("context") != "context-2")))
    assert not one.identified and "two deployment contexts" in one.reasons[0]


def test_a_band_needs_a_width_in_the_unit():
    log, _ = simulate(world("baseline", n_models=2, n_contexts=2, n_items=40), 1)
    log = log.with_columns(latency_s=1.0 + pl.col("score")).drop("score")
    seconds = dv.Configuration.from_table({"outcome": "latency_s"})
    posterior = dv.fit(dv.collapse(dv.read(log, configuration=seconds)), seed=0)
    answer = dv.stability(posterior)
    assert "no eps is declared" in answer.where(statistic=None).reasons[0]
    assert answer.where(statistic="quantile_90").identified
    assert dv.stability(posterior, eps=10.0).where(statistic=None).draws.min() == 1


@pytest.mark.parametrize(
    ("bad", "told"),
    [
        ({"eps": -0.1}, "half the width of a band"),
        ({"eps": float("nan")}, "half the width of a band"),
        ({"quality_required": float("inf")}, "quality_required is a level"),
        ({"k": 1}, "from 2 on"),
        ({"k": 2.5}, "from 2 on"),
    ],
)
def test_bad_input_is_a_sentence(waves_posterior, bad, told):
    with pytest.raises(dv.InputError, match=told):
        dv.stability(waves_posterior, **bad)


def test_declared_values_reach_stability_and_stay_with_their_outcome(waves_posterior):
    declared = dv.Configuration.from_table({"stability_eps": 0.01, "quality_required": 0.5})
    answer = dv.answer_all(waves_posterior, configuration=declared)["stability"]
    np.testing.assert_array_equal(answer.draws[:, :4], dv.stability(waves_posterior, eps=0.01).draws[:, :4])
    assert answer.where(statistic="Phi(lambda)").identified


def test_a_law_that_the_log_cannot_serve(waves_posterior):
    for question in (dv.stability, dv.projection_instability, dv.reversal, dv.rank_agreement, dv.gap_for_confidence):
        with pytest.raises(dv.InputError, match="never saw"):
            question(waves_posterior, law={"context-9": 1.0})
    with pytest.raises(dv.InputError, match="sum to 1"):
        dv.Configuration.from_table({"deployment_law": {"context-1": 0.5, "context-2": 0.6}})
    with pytest.raises(dv.InputError, match="stability_eps lies between 0"):
        dv.Configuration.from_table({"stability_eps": -0.05})
