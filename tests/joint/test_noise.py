"""How sure the noise is: against the laws that it must become, and a simulation of its own."""

import dataclasses

import numpy as np
import polars as pl
import pytest
from scipy.stats import norm, t

import divergence as dv
from divergence.joint import methods
from divergence.joint.arms import measure_arms
from divergence.joint.link import Response
from divergence.joint.noise import draw_noise, noise_of_noise, pooled_noise

REPLICATIONS = 4000


def _of_items(square, items):
    """`tau` and `rho` of one time of mean 1 whose items have this squared coefficient of variation."""
    variance = np.array([square / items])
    found = noise_of_noise(np.ones(1), variance, variance, np.array([float(items)]), "log", np.zeros(1), np.zeros(1))
    return tuple(float(one[0]) for one in found)


@pytest.mark.parametrize("items", [10, 20, 50])
def test_values_that_hardly_differ_have_the_noise_of_normal_ones(items):
    tau, rho = _of_items(1e-6, items)
    assert tau == pytest.approx(np.sqrt(2 / items), rel=1e-3)
    assert abs(rho) < 0.01


@pytest.mark.parametrize("freedom", [10, 20, 50])
def test_drawn_noise_of_normal_values_is_students(freedom):
    """Its 95 % point against t: the drawn law matches two moments of log w, what is left is of order 1 / n^2."""
    tau = np.sqrt(2 / freedom)
    nodes, weights = np.polynomial.hermite_e.hermegauss(61)
    wide = np.exp(0.5 * tau * (0.5 * tau - nodes))
    at = t.ppf(0.95, freedom)
    assert weights @ norm.cdf(at / wide) / weights.sum() == pytest.approx(0.95, abs=0.2 / freedom**2 + 1e-4)


@pytest.mark.parametrize("sigma", [0.3, 0.6])
def test_log_normal_values_by_simulation(sigma):
    """Sd of log(variance / squared mean) of a sample, and its correlation with the mean, from 4000 samples."""
    rng, items = np.random.default_rng(1), 1500
    ratio, mean = np.empty((2, REPLICATIONS))
    for k in range(REPLICATIONS):
        x = np.exp(rng.normal(-(sigma**2) / 2, sigma, items))
        ratio[k], mean[k] = np.log(x.var() / x.mean() ** 2), np.log(x.mean())
    tau, rho = _of_items(np.expm1(sigma**2), items)
    # Monte Carlo: 1 / sqrt(2 n) of the sd, times two for its own heavy tails, three errors; terms of order 1 / items beside
    assert ratio.std() == pytest.approx(tau, rel=6 / np.sqrt(2 * REPLICATIONS) + 30 / items)
    assert np.corrcoef(ratio, mean)[0, 1] == pytest.approx(rho, abs=4 / np.sqrt(REPLICATIONS))


def test_it_vanishes_with_items_and_ends_at_its_limit():
    assert _of_items(0.35, 3000)[0] == pytest.approx(_of_items(0.35, 300)[0] / np.sqrt(10), rel=1e-9)
    assert _of_items(2.0, 5)[0] == methods.NOISE_LOG_SD_MAX


def _response(covariance, log_sd, rho):
    size = len(covariance)
    pooled = pooled_noise(covariance, np.full(size, log_sd), np.full(size, rho))
    return Response(np.zeros(size), covariance, np.ones(size), *pooled)


def test_drawn_errors_keep_their_covariance_and_lean_on_their_group():
    """Before they are widened: the covariance as given, whatever leans; and the log width correlates with the mean error."""
    blocks = np.kron(np.eye(3), 0.9 + 0.1 * np.eye(4))
    for covariance, groups in ((np.eye(30), 30), (0.8 + 0.2 * np.eye(30), 1), (blocks, 3), (np.eye(1), 1)):
        response, draws = _response(covariance, 0.4, 0.5), 20_000
        assert len(np.unique(response.noise_group)) == groups
        error, wide = draw_noise(response, draws, np.random.default_rng(2))
        plain = error / wide
        np.testing.assert_allclose(np.cov(plain.T), covariance, atol=5 / np.sqrt(draws / 2))
        mine = response.noise_group == 0
        z = -np.log(wide[:, 0])  # 0.5 tau z and a constant
        seen = np.corrcoef(z, plain[:, mine].mean(1))[0, 1]
        assert seen == pytest.approx(0.5, abs=4 / np.sqrt(draws))


def test_copies_of_an_arm_stay_copies():
    """One noise for arms that are as good as the same: their difference is not widened by what each is off."""
    sd = np.array([1.0, 1.0, 1.0])
    covariance = np.outer(sd, sd) * (1 - 1e-6) + 1e-6 * np.eye(3)
    pooled = pooled_noise(covariance, np.array([0.1, 0.3, 0.6]), np.array([0.1, 0.2, 0.3]))
    error, _ = draw_noise(Response(np.zeros(3), covariance, sd, *pooled), 4000, np.random.default_rng(0))
    assert error[:, 0].std() > 1
    np.testing.assert_allclose((error[:, 0] - error[:, 2]).std() / np.sqrt(2e-6), 1.0, atol=0.15)


def _times(items, sigma=1.0):
    rng = np.random.default_rng(3)
    y = np.exp(rng.normal(0, sigma, items) + rng.normal(0, 0.3, (2, 3, items)))
    m, c, i = (a.ravel() for a in np.indices(y.shape))
    return pl.DataFrame(
        {
            "regime": np.where(c == 0, "evaluation", "deployment"),
            "model": m.astype(str),
            "context": c.astype(str),
            "item": i.astype(str),
            "latency_s": y.ravel(),
        }
    )


def _cells(log):
    return dv.collapse(dv.read(log, configuration=dv.Configuration(outcome="latency_s")))


def test_few_uneven_items_are_said():
    few, many = (measure_arms(_cells(_times(*size))) for size in ((12, 1.2), (400, 0.5)))
    assert any("Few items for values this uneven: 12 effective items" in note for note in few.notes)
    assert not any("Few items" in note for note in many.notes)


def test_few_sessions_are_said():
    """Three sessions that shift every score in them: the level is theirs, and three say little of how sessions differ."""
    rng = np.random.default_rng(5)
    session = rng.integers(3, size=(2, 300))
    y = rng.random((2, 300)) < np.array([0.2, 0.5, 0.8])[session]
    m, i = (a.ravel() for a in np.indices(y.shape))
    log = pl.DataFrame(
        {
            "regime": "deployment",
            "model": m.astype(str),
            "context": "c",
            "item": i.astype(str),
            "session": session.ravel().astype(str),
            "score": y.ravel().astype(float),
        }
    )
    found = measure_arms(dv.collapse(dv.read(log)))
    assert any("Few sessions: 3 sessions behind the level of score" in note for note in found.notes)
    assert (found.session_share > 0.5).all()


def test_few_items_widen_and_lean_upwards():
    """Beside the same arms whose variances are taken as known: wider, and more so above than below."""

    class Known(dv.Importance):
        def measure(self, cells, spec=None):
            return dataclasses.replace(super().measure(cells, spec), noise_log_sd=None, noise_lean=None)

    cells = _cells(_times(20))
    sides = []
    for method in (dv.Importance(draws=20_000), Known(draws=20_000)):
        draws = np.log(dv.joint.levels(dv.fit(cells, method=method, seed=0).fits[0], "evaluation").draws[:, :, 0])
        lower, middle, upper = np.quantile(draws, [0.05, 0.5, 0.95], axis=0)
        sides.append([middle - lower, upper - middle])
    wider = np.array(sides[0]) / sides[1]
    assert (wider.sum(0) > 2.1).all()
    assert (wider[1] > wider[0]).all()


def test_scores_without_sessions_have_no_noise_of_noise():
    log = _times(40).with_columns(score=(pl.col("latency_s") > 1).cast(pl.Float64)).drop("latency_s")
    arms = measure_arms(dv.collapse(dv.read(log)))
    assert not arms.noise_log_sd.any()
    assert not arms.session_share.any()
