"""Checks of a fitted model: each against a slow computation, and each sees what was planted for it."""

import dataclasses

import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import multivariate_normal

import divergence as dv
from divergence.joint import new_context_check, predictive_check, prior_sensitivity
from divergence.joint.posterior import hierarchy_of
from divergence.joint.predictive_check import surprises
from divergence.joint.prior_sensitivity import cumulative_jensen_shannon
from divergence.simulate import simulate, world


@pytest.fixture(scope="module")
def posterior():
    log, _ = simulate(world("baseline", n_models=5, n_contexts=5, n_items=80), 1)
    return dv.fit(dv.collapse(dv.read(log)), seed=1)


def test_a_right_model_is_not_surprised_and_a_wrong_one_is(posterior):
    check = predictive_check(posterior)
    assert not surprises(check)
    assert check.filter(statistic="mean").height == 6
    fit = posterior.fits[0]
    value = fit.response.value.copy()
    one = fit.arms.context == fit.arms.context[0]
    value[one] += 3 * np.sqrt(fit.response.covariance[0, 0])  # a context moved after the fit
    moved = dataclasses.replace(fit, response=dataclasses.replace(fit.response, value=value))
    told = surprises(predictive_check(dataclasses.replace(posterior, fits=(moved,))))
    assert any(fit.cells.levels["context"][fit.arms.context[0]] in sentence for sentence in told)


def test_distance_is_that_of_arviz():
    from arviz_stats.base import array_stats

    rng = np.random.default_rng(2)
    draws = rng.gamma(2.0, size=800)
    weight = np.exp(0.3 * draws)
    weight /= weight.sum()
    both = (draws[None], weight[None], weight[None])
    theirs = float(array_stats.power_scale_sense(*both, 0.5, 2.0))  # powers whose slopes are the distances
    assert cumulative_jensen_shannon(draws, weight) == pytest.approx(theirs, rel=1e-9)
    assert cumulative_jensen_shannon(draws, np.full(800, 1 / 800)) == pytest.approx(0, abs=1e-6)


def test_two_contexts_leave_their_scale_to_the_prior():
    log, _ = simulate(world("baseline", n_models=8, n_contexts=2, n_items=80), 3)
    few = log.drop("quantization", "kv_cache_dtype", "concurrency")
    table = prior_sensitivity(dv.fit(dv.collapse(dv.read(few)), seed=1))
    assert table.filter(scale="theta_E")["likelihood"][0] > table.filter(scale="beta:context")["likelihood"][0]
    assert (table["prior"] >= 0).all()
    assert table.filter(scale="theta_E")["levels"][0] == 8


def test_a_held_out_context_by_the_partitioned_normal_law(posterior):
    fit = posterior.fits[0]
    one = dataclasses.replace(fit, x=fit.x[:40])
    row = new_context_check(dataclasses.replace(posterior, fits=(one,))).row(2, named=True)
    target = hierarchy_of(one)
    names = np.array(fit.cells.levels["context"])[fit.arms.context]
    held = (names == row["context"]) & fit.arms.deployed
    log_p = []
    for s in target.covariances(one.x):
        gain = s[np.ix_(held, ~held)] @ np.linalg.inv(s[np.ix_(~held, ~held)])
        law = multivariate_normal(gain @ target.value[~held], s[np.ix_(held, held)] - gain @ s[np.ix_(~held, held)])
        log_p.append(law.logpdf(target.value[held]))
    plain = np.log(len(log_p)) - logsumexp(-np.array(log_p))  # harmonic mean; smoothing changes the largest weights only
    assert row["elpd"] == pytest.approx(plain, abs=0.3)
    assert row["arms"] == held.sum()


def test_new_contexts_are_predicted_with_the_promised_coverage():
    covered, trusted = [], []
    for seed in range(6):
        log, _ = simulate(world("baseline", n_models=5, n_contexts=6, n_items=80), 10 + seed)
        check = new_context_check(dv.fit(dv.collapse(dv.read(log)), seed=seed))
        trusted += check["trusted"].to_list()
        covered += check["covered"].to_list()
    assert np.mean(trusted) > 0.5
    assert 0.8 <= np.mean(covered) <= 0.99  # 180 levels in 36 contexts: an sd of .02 to .05


def test_two_contexts_are_refused():
    log, _ = simulate(world("baseline", n_models=3, n_contexts=2, n_items=40), 3)
    with pytest.raises(dv.NotIdentifiedError, match="2 deployment contexts"):
        new_context_check(dv.fit(dv.collapse(dv.read(log)), seed=1))
