"""The fit against an exact case, against NUTS, and under the maps that must not change it."""

import dataclasses

import numpy as np
import polars as pl
import pytest

import divergence as dv
from divergence.joint.arms import measure_arms
from divergence.joint.design import arm_loadings
from divergence.joint.hierarchy import Hierarchy
from divergence.joint.link import Response, linearise, start
from divergence.joint.methods import K_HAT_MAX
from divergence.joint.paired import LIMIT
from divergence.joint.posterior import standard_deviations
from divergence.joint.problem import UNSHRUNK, draw_effects, padded, problem
from divergence.simulate import simulate, world


def _log(kind="baseline", seed=0, **sizes):
    return simulate(world(kind, **({"n_models": 3, "n_contexts": 3, "n_items": 60} | sizes)), seed)[0]


def _fit(log, **options):
    return dv.fit(dv.collapse(dv.read(log)), seed=1, **options)


def _linear_gaussian(draws):
    """A design, its response, loadings, standard deviations, and the prior covariance of the effects written out."""
    fit = _fit(_log()).fits[0]
    design, arms = fit.design, fit.arms
    sd = {name: np.full(draws, values.mean()) for name, values in fit.scales.items()}
    prior = np.zeros((design.size, design.size))
    for term in design.terms:
        prior[term.columns, term.columns] = (
            np.eye(term.columns.stop - term.columns.start) * (sd[term.name][0] if term.name in sd else term.width) ** 2
        )
    bench, deployed = design.term("theta_E").columns, design.term("theta_D").columns
    cross = np.eye(bench.stop - bench.start) * sd["rho"][0] * sd["theta_E"][0] * sd["theta_D"][0]
    prior[bench, deployed] = prior[deployed, bench] = cross
    return design, linearise(arms, start(arms)), arm_loadings(design, arms), sd, prior


def test_effects_given_scales_are_the_conjugate_normal():
    """Matheron's draws against the textbook posterior of a linear Gaussian model, by dense algebra."""
    draws = 20_000
    design, measured, z, sd, prior = _linear_gaussian(draws)
    response = Response(measured.value, measured.covariance, measured.mu)
    effects = draw_effects(design, response, z, sd, np.random.default_rng(5))
    precision = np.linalg.inv(prior) + z.T @ np.linalg.solve(response.covariance, z)
    covariance = np.linalg.inv(precision)
    mean = covariance @ z.T @ np.linalg.solve(response.covariance, response.value)
    seen, spread = effects @ z.T, z @ covariance @ z.T
    error = np.sqrt(np.diag(spread) / draws)
    assert np.abs((seen.mean(0) - z @ mean) / error).max() < 4.5  # Monte Carlo errors; 12 arms
    np.testing.assert_allclose(np.cov(seen.T), spread, atol=5 * np.diag(spread).max() / np.sqrt(draws / 2))
    exact = draw_effects(design, response, z, {k: v[:1] for k, v in sd.items()}, None)
    np.testing.assert_allclose(exact[0] @ z.T, z @ mean, atol=1e-9)


@pytest.mark.parametrize("hinged", [False, True])
def test_effects_have_the_error_of_their_estimate(hinged):
    """Draws of a log's own response: centred on K value, spread as (K Z - 1) b + K e, K made with a wider
    law of contexts and bench levels that are not shrunk."""
    draws = 20_000
    design, response, z, sd, prior = _linear_gaussian(draws)
    design = dataclasses.replace(design, hinged=hinged)  # the loadings are those of the log either way
    effects = draw_effects(design, response, z, sd, np.random.default_rng(6))
    wide = prior.copy()
    bench, deployed = design.term("theta_E").columns, design.term("theta_D").columns
    own = np.eye(bench.stop - bench.start)
    left = prior[bench, bench] + prior[deployed, deployed] - 2 * prior[bench, deployed]
    wide[bench, bench] = wide[bench, deployed] = wide[deployed, bench] = UNSHRUNK**2 * own
    wide[deployed, deployed] = UNSHRUNK**2 * own + left
    if hinged:
        for term in (t for t in design.terms if t.name.startswith("beta") or t.name == "u"):
            wide[term.columns, term.columns] *= LIMIT
    k = wide @ z.T @ np.linalg.inv(z @ wide @ z.T + response.covariance)
    missed = np.eye(design.size) - k @ z
    spread = z @ (missed @ prior @ missed.T + k @ response.noise @ k.T) @ z.T
    seen = effects @ z.T
    error = np.sqrt(np.diag(spread) / draws)
    assert np.abs((seen.mean(0) - z @ k @ response.value) / error).max() < 4.5
    np.testing.assert_allclose(np.cov(seen.T), spread, atol=5 * np.diag(spread).max() / np.sqrt(draws / 2))


@pytest.mark.parametrize("factors", [True, False])
def test_density_is_that_of_the_equations(factors):
    """The NumPyro density and its twin on the host against the prior and the likelihood written out with SciPy."""
    import jax
    from scipy.stats import multivariate_normal, norm

    from divergence.joint.numpyro_model import log_density

    log = _log() if factors else _log().drop("quantization", "kv_cache_dtype", "concurrency")
    fit = _fit(log).fits[0]
    design, arms = fit.design, fit.arms
    z, response = arm_loadings(design, arms), linearise(arms, start(arms))
    host = Hierarchy.of(problem(design, response, z))
    data, keep = padded(problem(design, response, z))
    whole = np.random.default_rng(0).normal(size=3 + len(data["widths"]) + len(data["local"]))
    x = whole[keep]
    sd = standard_deviations(design, x[None])
    effects = np.zeros((design.size, design.size))
    for term in design.terms:
        value = sd[term.name][0] if term.name in sd else term.width
        effects[term.columns, term.columns] = np.eye(term.columns.stop - term.columns.start) * value**2  # one, or one each
    bench, deployed = design.term("theta_E").columns, design.term("theta_D").columns
    effects[bench, deployed] = effects[deployed, bench] = (
        np.eye(bench.stop - bench.start) * (sd["rho"] * sd["theta_E"] * sd["theta_D"])[0]
    )
    likelihood = multivariate_normal(np.zeros(len(arms)), z @ effects @ z.T + response.covariance).logpdf(response.value)
    padding = len(data["value"]) - len(arms)  # padded arms: standard normal at 0
    expected = norm.logpdf(whole).sum() + likelihood + padding * norm.logpdf(0.0)
    with jax.enable_x64(True):
        assert float(log_density(jax.numpy.asarray(whole), {k: jax.numpy.asarray(v) for k, v in data.items()})) == (
            pytest.approx(expected, rel=1e-10)
        )
    constant = 0.5 * (len(arms) + len(x)) * np.log(2 * np.pi)
    alone = norm.logpdf(x).sum() + likelihood
    assert host.density(np.stack([x, x]))[1] == pytest.approx(alone + constant, rel=1e-9)
    value, slope = host.gradient(x)
    assert value == pytest.approx(alone + constant, rel=1e-10)
    step = 1e-5 * np.eye(len(x))
    differences = (host.density(x + step) - host.density(x - step)) / 2e-5
    np.testing.assert_allclose(slope, differences, atol=1e-5 * max(1, np.abs(slope).max()))


def test_importance_sampling_agrees_with_nuts():
    log = _log("waves", 2)
    fast, slow = _fit(log), _fit(log, method=dv.NUTS())
    assert fast.passed
    assert slow.passed
    for question in (dv.bench_level, dv.gap, dv.kappa, dv.coupling):
        a, b = (question(fit).where(statistic=None) for fit in (fast, slow))
        error = np.hypot(a.draws.std(0) / np.sqrt(400), b.draws.std(0) / np.sqrt(400))  # 400: the gates' least
        assert (np.abs(a.draws.mean(0) - b.draws.mean(0)) < 4 * error).all(), question.__name__
        np.testing.assert_allclose(a.draws.std(0), b.draws.std(0), rtol=0.2)  # sd of an sd at 400 draws: 3.5 %; skewed


def test_same_seed_same_draws():
    log = _log()
    np.testing.assert_array_equal(_fit(log).fits[0].effects, _fit(log).fits[0].effects)


def test_relabelling_changes_nothing():
    log = _log(seed=3)
    other = log.with_columns(
        pl.col("model").replace({"model-0": "z", "model-1": "y", "model-2": "x"}), pl.col("item").str.reverse()
    )
    one, two = (dv.gap(_fit(rows)).where(statistic=None) for rows in (log, other))
    order = [list(two.rows["model"]).index(name) for name in ("z", "y", "x")]
    error = one.draws.std(0) / np.sqrt(400)
    assert (np.abs(one.draws.mean(0) - two.draws.mean(0)[order]) < 6 * error).all()


def test_swapping_regimes_flips_the_gap():
    log = _log(seed=4, n_contexts=1)
    swapped = log.with_columns(
        regime=pl.when(pl.col("regime") == "evaluation").then(pl.lit("deployment")).otherwise(pl.lit("evaluation"))
    )
    one, two = (dv.gap(_fit(rows)).where(statistic=None) for rows in (log, swapped))
    error = one.draws.std(0) / np.sqrt(400)
    assert (np.abs(one.draws.mean(0) + two.draws.mean(0)) < 6 * error).all()


def test_a_greedy_log_with_every_row_repeated_has_the_same_intervals():
    log = _log("copies", 5, n_trials=1, n_items=120)
    doubled = pl.concat([log, log.with_columns(trial=pl.col("trial") + 1)])
    one, two = _fit(log), _fit(doubled)
    for question in (dv.bench_level, dv.deployed_level, dv.gap, dv.kappa, dv.coupling):
        a, b = (np.diff(question(p).where(statistic=None).interval(), axis=1)[:, 0] for p in (one, two))
        np.testing.assert_allclose(a, b, rtol=1e-6, err_msg=question.__name__)


@pytest.mark.parametrize("value", [True, 1.5, "1", None])
def test_a_seed_is_a_whole_number(value):
    with pytest.raises(dv.InputError, match="seed"):
        dv.fit(dv.collapse(dv.read(_log())), seed=value)


def test_a_failed_gate_marks_every_estimate():
    hopeless = dv.Importance(proposals=20, rounds=(1, 1))
    posterior = _fit(_log(), method=hopeless)
    assert not posterior.passed
    assert "FAILED" in dv.gap(posterior).to_frame()["method"][0]
    k_hat = next(d for d in posterior.diagnostics if d.name == "Pareto k-hat")
    assert k_hat.threshold == K_HAT_MAX


def test_nothing_judged_is_refused():
    cells = dv.collapse(dv.read(_log()))
    nothing = dataclasses.replace(cells.counts, sums=cells.counts.sums | {"n": 0 * cells.counts["n"]})
    with pytest.raises(dv.InputError, match="judged"):
        dv.fit(dataclasses.replace(cells, counts=nothing))


def test_all_successes_are_answered():
    log = _log().with_columns(score=pl.lit(1.0))
    level = dv.bench_level(_fit(log)).to_frame()
    assert (level["upper"] <= 1).all()
    assert (level["lower"] < 0.995).all()  # 60 of 60 does not show more than that
    assert (level["lower"] > 0.9).all()


def test_latency_is_answered_in_seconds():
    rng = np.random.default_rng(6)
    log = _log(n_items=200).with_columns(latency_s=pl.Series(np.exp(rng.normal(0.5, 0.4, 3 * 4 * 200 * 2))))
    posterior = dv.fit(dv.collapse(dv.read(log, configuration=dv.Configuration(outcome="latency_s"))), seed=0)
    frame = dv.bench_level(posterior).to_frame()
    assert frame["unit"].unique().to_list() == ["s"]
    truth = np.exp(0.5 + 0.4**2 / 2)
    assert frame.filter((pl.col("lower") < truth) & (pl.col("upper") > truth)).height == 3  # .9 each; the seed is fixed


def test_measure_arms_is_deterministic():
    cells = dv.collapse(dv.read(_log()))
    np.testing.assert_array_equal(measure_arms(cells).covariance, measure_arms(cells).covariance)


def test_the_slope_is_finite_where_a_standard_deviation_rounds_to_zero_or_overflows():
    from divergence.joint.hierarchy import Hierarchy

    log = _log(n_contexts=5).select("regime", "model", "item", "context", "trial", "score")  # labels only: own scales
    fit = _fit(log).fits[0]
    target = Hierarchy.of(problem(fit.design, fit.response, arm_loadings(fit.design, fit.arms)))
    for far in (-9.0, -40.0, 9.0, 40.0):
        for k in range(target.dims):
            x = np.zeros(target.dims)
            x[k] = far
            value, slope = target.gradient(x)
            assert np.isfinite(value)
            assert np.isfinite(slope).all()
