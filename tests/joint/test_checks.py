"""Checks of a fitted model: each against a slow computation, and each sees what was planted for it."""

import dataclasses

import calibration as sbc
import numpy as np
import polars as pl
import pytest
from scipy.special import logsumexp
from scipy.stats import kstest, multivariate_normal

import divergence as dv
from divergence.joint import new_context_check, predictive_check, prior_sensitivity
from divergence.joint.design import arm_loadings
from divergence.joint.new_context_check import _log_density, _predicted, _without, context_elpd, gain_in_all
from divergence.joint.posterior import hierarchy_of, standard_deviations
from divergence.joint.predictive_check import surprises
from divergence.joint.prior_sensitivity import SENSITIVE, cumulative_jensen_shannon
from divergence.joint.problem import problem
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


@pytest.mark.parametrize("seed", [3, 4, 5])
def test_two_contexts_leave_their_scale_to_the_prior(seed):
    """The declared prior moves the scale of two contexts at least twice as far as that of sixteen models."""
    log, _ = simulate(world("baseline", n_models=16, n_contexts=2, n_items=80), seed)
    few = log.drop("quantization", "kv_cache_dtype", "concurrency")
    table = prior_sensitivity(dv.fit(dv.collapse(dv.read(few)), seed=1))
    assert table.filter(scale="beta:context")["prior"][0] > 2 * table.filter(scale="theta_E")["prior"][0] >= 0
    assert table.filter(scale="theta_E")["likelihood"][0] > SENSITIVE
    assert table.filter(scale="theta_E")["levels"][0] == 16


def test_a_wide_prior_is_not_felt_and_a_narrow_one_is(posterior):
    """The declared half-normal law of `delta`'s standard deviation, of 25 levels: wide it does nothing, narrow it binds."""
    wide, narrow = (
        prior_sensitivity(dv.fit(posterior.fits[0].cells, spec=dv.Spec(residual=width), seed=1))
        .filter(scale="delta")
        .row(0, named=True)
        for width in (1.5, 0.04)
    )
    assert wide["verdict"] is None and wide["prior"] < SENSITIVE < narrow["prior"]
    assert narrow["verdict"] is not None


def test_a_held_out_context_by_the_partitioned_normal_law(posterior):
    fit = posterior.fits[0]
    one = dataclasses.replace(fit, x=fit.x[:40])
    row = new_context_check(dataclasses.replace(posterior, fits=(one,)), refit=False).row(2, named=True)
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
    bench = ~fit.arms.deployed
    assert (fit.arms.model[bench] == fit.arms.model[held]).all()  # so that plain slices are pairs of one model
    cov = fit.response.covariance
    noise = cov[np.ix_(held, held)] + cov[np.ix_(bench, bench)] - cov[np.ix_(held, bench)] - cov[np.ix_(bench, held)]
    naive = multivariate_normal(np.zeros(held.sum()), noise).logpdf(target.value[held] - target.value[bench])
    assert row["gain"] == pytest.approx(row["elpd"] - naive, abs=1e-3)  # the jitter of 1e-9


def test_its_weights_are_those_of_arviz(posterior):
    """Log density and k-hat of the reweighted contexts against arviz-stats' leave-one-out of the same log densities."""
    from arviz_stats.base import array_stats

    fit = posterior.fits[0]
    check = new_context_check(posterior, refit=False)
    target = hierarchy_of(fit)
    x = fit.x[np.linspace(0, len(fit.x) - 1, 500).astype(int)]
    names = np.array(fit.cells.levels["context"])[fit.arms.context]
    for row in check.iter_rows(named=True):
        held = (names == row["context"]) & fit.arms.deployed
        precision = np.linalg.inv(target.covariances(x))
        block = np.linalg.inv(precision[:, held][:, :, held])
        left = np.einsum("sab,sb->sa", block, precision[:, held] @ target.value)
        log_p = np.array([multivariate_normal(np.zeros(held.sum()), b).logpdf(e) for b, e in zip(block, left, strict=True)])
        elpd, k_hat = array_stats.loo(log_p[None], chain_axis=0, draw_axis=1, r_eff=1.0)[:2]
        assert row["elpd"] == pytest.approx(float(elpd), abs=1e-6), row
        assert row["k_hat"] == pytest.approx(float(k_hat), abs=1e-6), row


def test_weights_and_a_refit_agree_where_the_weights_are_good(posterior):
    """Two roads to one predictive density; 500 draws behind each."""
    fit = posterior.fits[0]
    check = new_context_check(posterior, refit=False)
    good = check.filter(pl.col("k_hat") < 0.5)
    assert good.height
    for row in good.iter_rows(named=True):
        names = np.array(fit.cells.levels["context"])[fit.arms.context]
        held = np.flatnonzero((names == row["context"]) & fit.arms.deployed)
        x, passed = _without(fit, held)
        left, block = _predicted(np.linalg.inv(hierarchy_of(fit).covariances(x)), hierarchy_of(fit).value, held)
        log_p = _log_density(left, block)
        assert passed
        fresh = logsumexp(log_p) - np.log(len(log_p))
        # the error of each mean density, the reweighted one of fewer effective draws
        error = np.exp(log_p - fresh).std() * np.sqrt(2 / (len(log_p) / 4))
        assert row["elpd"] == pytest.approx(fresh, abs=4 * error)


@pytest.mark.prove
def test_predictive_probabilities_of_a_new_context_are_uniform():
    """Arm levels drawn from the model's own prior: then the probability below a held-out context's mean is uniform exactly.

    One held-out context a simulated fit, so that they are independent.
    """
    fit = sbc.template("labels", n_models=3, n_contexts=4, n_items=60)
    loadings = arm_loadings(fit.design, fit.arms)
    root = np.linalg.cholesky(fit.response.covariance)
    found = []
    for k in range(48):
        rng = np.random.default_rng([4, k])
        x = rng.standard_normal((1, fit.x.shape[1]))
        effects = sbc.prior_effects(fit, standard_deviations(fit.design, x), rng)
        response = dataclasses.replace(fit.response, value=loadings @ effects + root @ rng.standard_normal(len(root)))
        sample = dv.Importance()(problem(fit.design, response, loadings), k)
        one = dataclasses.replace(fit, x=sample.x, response=response)
        check = new_context_check(dv.Posterior((one,), dv.Spec(), {}), refit=True)
        found.append(check["pit"][k % check.height])
    assert kstest(found, "uniform").pvalue > 0.01  # the seed is fixed: this fails only when the check changes
    assert kstest(np.array(found) * 0.7, "uniform").pvalue < 1e-3  # a law that misses by that much would be seen


def test_arviz_can_compare_it_with_the_bench(posterior):
    check = new_context_check(posterior)
    found = context_elpd(check)
    assert set(found) == {"joint model", "the bench"}
    ours, theirs = found["joint model"], found["the bench"]
    assert ours.elpd == pytest.approx(check["elpd"].sum())
    assert ours.elpd - theirs.elpd == pytest.approx(gain_in_all(check)[0])
    assert ours.n_data_points == check.height == len(theirs.elpd_i)


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
