"""Each model's own instability scale: exact where it can be, found where it was planted, calibrated, and on by a rule."""

import dataclasses

import calibration as sbc
import numpy as np
import polars as pl
import pytest
from scipy.special import expit

import divergence as dv
from divergence.joint.design import CONTEXTS_EACH, LOCAL_SCALES_MAX, arm_loadings
from divergence.joint.posterior import hierarchy_of
from divergence.joint.prior_sensitivity import prior_sensitivity
from divergence.joint.problem import draw_effects, padded, problem
from divergence.simulate import simulate, world

OWN = dv.Spec(instability="per_model")


def _planted(seed, scales, contexts=16, items=300):
    """Rows of models whose residuals over the contexts have exactly these standard deviations."""
    rng = np.random.default_rng(seed)
    models = len(scales)
    residual = rng.standard_normal((models, contexts))
    residual = np.asarray(scales)[:, None] * (residual - residual.mean(1)[:, None]) / residual.std(1)[:, None]
    eta = 0.3 + rng.normal(0, 0.5, (models, 1)) + residual
    y = rng.random((models, contexts, items)) < expit(eta[:, :, None] - rng.normal(0, 1, items))
    m, c, i = (a.ravel() for a in np.indices(y.shape))
    return pl.DataFrame(
        {
            "regime": np.where(c == 0, "evaluation", "deployment"),
            "model": m.astype(str),
            "context": np.char.add("c", c.astype(str)),
            "item": i.astype(str),
            "score": y.ravel().astype(float),
        }
    )


def _fit(log, spec=OWN, seed=0):
    return dv.fit(dv.collapse(dv.read(log)), spec=spec, seed=seed).fits[0]


@pytest.fixture(scope="module")
def small():
    log, _ = simulate(world("baseline", n_models=3, n_contexts=4, n_items=60), 1)
    return {True: _fit(log), False: _fit(log.drop("quantization", "kv_cache_dtype", "concurrency"))}


@pytest.mark.parametrize("factors", [True, False])
def test_density_is_that_of_the_equations(small, factors):
    """The host's density and the NumPyro model against the normal law whose covariance is written out effect by effect."""
    import jax
    from scipy.stats import multivariate_normal, norm

    from divergence.joint.numpyro_model import log_density

    fit = small[factors]
    target, design = hierarchy_of(fit), fit.design
    z = arm_loadings(design, fit.arms, telling=True)
    data, keep = padded(problem(design, fit.response, z))
    count = 3 + len(data["widths"]) + len(data["local"]) + 1 + len(data["own"])
    rest = np.setdiff1d(np.arange(count), keep)
    constants = []
    for seed in range(3):
        x = np.random.default_rng(seed).normal(size=target.dims)
        sd = dataclasses.replace(fit, x=x[None]).scales
        variance = np.zeros((design.size, design.size))
        for term in design.terms:
            size = term.columns.stop - term.columns.start
            scale = np.atleast_1d(sd[term.name][0]) if term.name in sd else np.array([term.width])
            variance[term.columns, term.columns] = np.diag(np.repeat(scale, size // len(scale)) ** 2)
        bench, deployed = (design.term(f"theta_{r}").columns for r in "ED")
        cross = np.eye(bench.stop - bench.start) * sd["rho"][0] * sd["theta_E"][0] * sd["theta_D"][0]
        variance[bench, deployed] = variance[deployed, bench] = cross
        law = multivariate_normal(np.zeros(len(z)), z @ variance @ z.T + fit.response.covariance)
        expected = law.logpdf(fit.response.value) + norm.logpdf(x).sum()
        whole = np.zeros(count)
        whole[keep] = x
        with jax.enable_x64(True):
            theirs = float(log_density(whole, {k: jax.numpy.asarray(v) for k, v in data.items()}))
        padding = norm.logpdf(0) * (len(rest) + len(data["value"]) - len(z))  # coordinates and arms that do nothing
        assert theirs - padding == pytest.approx(expected, abs=1e-8)
        constants.append(target.density(x[None])[0] - expected)
        value, slope = target.gradient(x)
        assert value == pytest.approx(target.density(x[None])[0], abs=1e-8)
        step = 1e-5 * np.eye(len(x))
        differences = (target.density(x + step) - target.density(x - step)) / 2e-5
        np.testing.assert_allclose(slope, differences, atol=1e-5 * max(1, np.abs(slope).max()))
    np.testing.assert_allclose(constants, constants[0], atol=1e-8)


def test_effects_given_the_scales_are_the_conjugate_normal(small):
    fit = small[True]
    design, z = fit.design, arm_loadings(fit.design, fit.arms, telling=True)
    one = dataclasses.replace(fit, x=fit.x[:1])
    exact = dataclasses.replace(fit.response, root=None)
    mean = draw_effects(design, exact, z, one.scales, None)[0]
    total = hierarchy_of(one).covariances(one.x)[0]
    # E(Z b | value) = value - V (Z var(b) Z' + V)^-1 value
    np.testing.assert_allclose(
        z @ mean, fit.response.value - fit.response.covariance @ np.linalg.solve(total, fit.response.value), atol=1e-8
    )


def test_one_model_with_three_times_the_scale_is_found():
    """Six worlds of four models in 16 contexts; and as many in which all are alike."""
    found, same = [], []
    for seed in range(6):
        scales = _fit(_planted(seed, (0.6, 0.2, 0.2, 0.2)), seed=seed).scales["delta"]
        found.append((scales[:, :1] > scales[:, 1:]).all(1).mean())
        alike = _fit(_planted(100 + seed, (0.3,) * 4), seed=seed).scales["delta"]
        ratio = np.quantile(alike[:, 0] / alike[:, 1:].mean(1), [0.05, 0.95])
        same.append(ratio[0] <= 1 <= ratio[1])
    assert np.mean(found) > 0.9
    assert np.sum(same) >= 4  # of 6 at .9 each: fewer with probability .016


def test_the_unstable_model_gets_its_own_width():
    """What a new context does to it: wider than what it does to the others, by the planted scales."""
    fit = _fit(_planted(7, (0.6, 0.15, 0.15, 0.15)))
    mu = dv.joint.levels(fit, "deployment", contexts="new").draws[:, :, 0]
    width = np.log(mu / (1 - mu)).std(0)
    assert width[0] > 1.5 * width[1:].max()


def test_the_rule_is_said_and_printed(tmp_path):
    few, many = _planted(1, (0.2,) * 3, contexts=4), _planted(1, (0.2,) * 3, contexts=CONTEXTS_EACH)
    shared, own = (_fit(rows, dv.Spec()) for rows in (few, many))
    assert shared.design.instability == 0
    assert f"one instability scale (a model was judged in 4 contexts, less than {CONTEXTS_EACH})" in shared.why
    assert own.design.instability == dv.Spec().instability_spread
    assert own.why.endswith("each model has its own instability scale")
    assert own.scales["delta"].shape == (2000, 3)
    posterior = dv.fit(dv.collapse(dv.read(many)), seed=0)
    posterior.save(tmp_path / "m")
    assert "log s[m] ~ N(log s, tau_s)" in (tmp_path / "m" / "posterior.json").read_text()
    back = dv.load(tmp_path / "m")
    np.testing.assert_array_equal(back.fits[0].scales["tau_s"], posterior.fits[0].scales["tau_s"])
    assert posterior.to_arviz()["posterior"]["sd_delta"].shape == (1, 2000, 3)
    assert "tau_s" in prior_sensitivity(posterior)["scale"].to_list()
    assert _fit(many, dv.Spec(instability="shared")).design.instability == 0
    assert "s[m]" not in dv.fit(dv.collapse(dv.read(few)), seed=0).equations()
    assert "delta ~ N(0, s[m])" in posterior.equations()


@pytest.mark.parametrize(
    ("models", "contexts", "sentence"),
    [
        (3, 2, "judged in 2 contexts, less than 3"),
        (2, 5, "2 models, of their own have scales 3 to"),
        (LOCAL_SCALES_MAX + 1, 4, "25 models"),
    ],
)
def test_scales_that_the_log_cannot_tell_apart_are_refused(models, contexts, sentence):
    with pytest.raises(dv.InputError, match=sentence):
        _fit(_planted(2, (0.2,) * models, contexts=contexts, items=20))


@pytest.mark.parametrize("value", ["own", None, 1.0])
def test_an_unknown_choice_is_a_sentence(value):
    with pytest.raises(dv.InputError, match="auto, shared, per_model"):
        dv.Spec(instability=value)


@pytest.mark.prove
def test_scales_are_calibrated():
    """200 fits from the prior: no quantity outside its band, corrected for their number."""
    rank, spent = sbc.ranks(sbc.template("instability", n_models=4, n_contexts=8), 200, seed=4)
    table = sbc.summary(rank)
    print(spent, table)
    assert "sd tau_s" in table
    assert min(p for _, _, p in table.values()) > 0.01, table
    assert spent["gates"] > 0.9
