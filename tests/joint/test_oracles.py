"""Exact small cases: a beta-binomial cell, a conjugate analysis of variance, a two-by-two design on a dense grid."""

import numpy as np
import polars as pl
import pytest
from scipy.special import betaln, expit
from scipy.stats import beta, norm
from scipy.stats import t as student

import divergence as dv
from divergence.estimands.beta_binomial import power_mean
from divergence.joint import sample_density
from divergence.joint.coordinates import correlation, half_normal
from divergence.joint.hierarchy import BATCH_BYTES, IN_PLACE_MIN, Hierarchy, inverses
from divergence.joint.importance import Importance, Proposal, _tempered
from divergence.joint.problem import _solved
from divergence.joint.user_density import UserDensity


def test_one_cell_is_nearly_beta_binomial():
    """One arm of 400 items: the interval of its level against Jeffreys' beta posterior."""
    y = np.r_[np.ones(100), np.zeros(300)]
    log = pl.DataFrame(
        {"regime": "evaluation", "model": "m", "context": "c", "item": [str(k) for k in range(400)], "score": y}
    )
    lower, upper = dv.bench_level(dv.fit(dv.collapse(dv.read(log)), seed=1)).interval()[0]
    exact = beta(100.5, 300.5).ppf([0.05, 0.95])
    # half a standard deviation of a 5 % quantile from 1000 effective draws is .04 sd; Bessel and the prior add .01 sd
    np.testing.assert_allclose([lower, upper], exact, atol=0.15 * beta(100.5, 300.5).std())


def _balanced(models=6, contexts=4, seed=0):
    """A crossed design with equal errors, as the arrays of the hierarchy: models, contexts, what is left."""
    rng = np.random.default_rng(seed)
    m, c = np.divmod(np.arange(models * contexts), contexts)
    same_model, same_context = (m[:, None] == m).astype(float), (c[:, None] == c).astype(float)
    size = len(m)
    return {
        "value": rng.normal(size=models)[m] + 0.3 * rng.normal(size=contexts)[c] + 0.2 * rng.normal(size=size),
        "covariance": 0.05 * np.eye(size),
        "products": np.stack([same_context, np.eye(size)]),
        "widths": np.array([0.5, 0.3]),
        "local": np.zeros((0, size, size)),
        "outlier": np.array(0.0),
        "fixed": np.full((size, size), 2.5**2),
        "bench": same_model,
        "deployed": np.zeros((size, size)),
        "cross": np.zeros((size, size)),
        "ability": np.array(1.5),
    }, (models, contexts)


@pytest.mark.parametrize(("models", "contexts", "points"), [(6, 4, 20), (8, 6, 150)])
def test_density_is_that_of_the_analysis_of_variance(models, contexts, points):
    """In a balanced design the sums of squares are independent: the density factors over four strata, to 1e-8.

    Small matrices are factored in stacks, larger ones one by one, and 150 points of them take several rounds of work.
    """
    data, _ = _balanced(models, contexts)
    assert (models * contexts < IN_PLACE_MIN) == (points == 20)
    assert (points * 8 * (models * contexts + 1) ** 2 > BATCH_BYTES) == (points == 150)
    x = np.random.default_rng(1).normal(size=(points, 5))
    sd = half_normal(x[:, [0, 3, 4]], np.array([1.5, 0.5, 0.3]))
    y = data["value"].reshape(models, contexts)
    model, context, grand = y.mean(1), y.mean(0), y.mean()
    left = y - model[:, None] - context + grand
    squares = (
        models * contexts * grand**2,
        contexts * ((model - grand) ** 2).sum(),
        models * ((context - grand) ** 2).sum(),
        (left**2).sum(),
    )
    noise = 0.05 + sd[:, 2] ** 2
    strata = (
        noise + contexts * sd[:, 0] ** 2 + models * sd[:, 1] ** 2 + models * contexts * 2.5**2,
        noise + contexts * sd[:, 0] ** 2,
        noise + models * sd[:, 1] ** 2,
        noise,
    )
    freedom = (1, models - 1, contexts - 1, (models - 1) * (contexts - 1))
    expected = -0.5 * (x**2).sum(1)
    for ss, v, df in zip(squares, strata, freedom, strict=True):
        expected -= 0.5 * (df * np.log(v) + ss / v)
    np.testing.assert_allclose(Hierarchy.of(data).density(x), expected, atol=1e-8)


@pytest.mark.parametrize(("models", "contexts"), [(6, 4), (8, 6)])
def test_density_and_gradient_are_those_of_the_dense_normal_law(models, contexts):
    """The determinant and the solved system by LU, and differences of the density, at points of the prior."""
    data, _ = _balanced(models, contexts)
    target = Hierarchy.of(data)
    x = np.random.default_rng(2).normal(size=(7, 5))
    seen = target.density(x)
    for point, found, system in zip(x, seen, target.covariances(x), strict=True):
        told = np.linalg.slogdet(system)[1] + target.value @ np.linalg.solve(system, target.value) + point @ point
        assert found == pytest.approx(-0.5 * told, abs=1e-9)  # of some 1e2, in double precision
        value, slope = target.gradient(point)
        assert value == pytest.approx(found, abs=1e-9)
        steps = 1e-5 * np.eye(5)
        moved = (target.density(point + steps) - target.density(point - steps)) / 2e-5
        np.testing.assert_allclose(slope, moved, atol=1e-5)  # rounding 1e-9 over the step; its third power is far below


@pytest.mark.parametrize("arms", [IN_PLACE_MIN - 1, IN_PLACE_MIN, 70])
def test_many_systems_are_solved_and_inverted_as_one_is(arms):
    """Against NumPy's general ones; condition numbers are below 1e3, so that 1e-12 is rounding."""
    rng = np.random.default_rng(arms)
    roots = rng.normal(size=(5, arms, arms))
    systems, right = roots @ roots.swapaxes(1, 2) / arms + np.eye(arms), rng.normal(size=(5, arms))
    told = np.linalg.inv(systems)
    np.testing.assert_allclose(inverses(systems.copy()), told, atol=1e-12)
    np.testing.assert_allclose(_solved(systems.copy(), right), np.einsum("nab,nb->na", told, right), atol=1e-11)
    np.testing.assert_allclose(_solved(systems[:1].copy(), right[:1])[0], told[0] @ right[0], atol=1e-11)


def test_a_proposal_has_the_density_of_its_axes():
    """Student t to either side of each axis, and the determinant of what correlates them; to rounding of some 1e2."""
    rng = np.random.default_rng(8)
    root = np.linalg.cholesky(np.cov(rng.normal(size=(6, 40))))
    proposal = Proposal(rng.normal(size=6), root, rng.uniform(0.2, 2, 6), rng.uniform(0.2, 2, 6), 3.0)
    points = proposal.draw(500, rng)
    z = np.linalg.solve(root, (points - proposal.centre).T).T
    width = np.where(z < 0, proposal.low, proposal.high)
    told = (student.logpdf(z / width, 3.0) - np.log(width)).sum(1) - np.log(np.diag(root)).sum()
    np.testing.assert_allclose(proposal.log_density(points), told, atol=1e-11)
    at_the_seam = proposal.centre[None] - 1e-13  # which side a point lies on that was drawn is not for rounding to say
    told = (student.logpdf(0.0, 3.0) - np.log(proposal.high)).sum() - np.log(np.diag(root)).sum()
    assert proposal.log_density(at_the_seam)[0] == pytest.approx(told, abs=1e-11)


def test_tempered_weights_leave_as_many_effective_draws_as_are_asked_for():
    log_weight = 4 * np.random.default_rng(9).normal(size=3000)
    weight = _tempered(log_weight, 150.0)
    assert weight.sum() == pytest.approx(1, abs=1e-12)
    assert 1 / np.square(weight).sum() == pytest.approx(150, rel=1e-4)  # the power is found to 1e-6
    flat = np.zeros(300)
    np.testing.assert_allclose(_tempered(flat, 150.0), 1 / 300, atol=1e-15)


def test_a_covariance_that_is_none_is_an_error():
    for models, contexts in ((6, 4), (8, 6)):
        data, _ = _balanced(models, contexts)
        size = models * contexts
        broken = Hierarchy.of(data | {"products": np.stack([-np.eye(size), -np.eye(size)])})
        with pytest.raises(np.linalg.LinAlgError):
            broken.density(np.full((3, 5), 3.0))
        with pytest.raises(np.linalg.LinAlgError):
            broken.gradient(np.full(5, 3.0))
    for work in (inverses, lambda broken: _solved(broken, np.ones((2, 40)))):
        with pytest.raises(np.linalg.LinAlgError):
            work(np.stack([-np.eye(40)] * 2))


def test_a_two_by_two_design_on_a_dense_grid():
    """Posterior means and sds of three standard deviations, by importance sampling and by a grid over them."""
    data, _ = _balanced(2, 2, seed=3)
    target = Hierarchy.of(data)
    axis = np.linspace(-4.5, 4.5, 37)
    grid = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1).reshape(-1, 3)
    points = np.zeros((len(grid), 5))
    points[:, [0, 3, 4]] = grid
    mass = np.exp(target.density(points) - target.density(points).max())
    mass /= mass.sum()
    sample = Importance()(data, 0)
    assert all(d.passed for d in sample.diagnostics)
    for k, width in ((0, 1.5), (3, 0.5), (4, 0.3)):
        exact, drawn = half_normal(points[:, k], width), half_normal(sample.x[:, k], width)
        mean = mass @ exact
        sd = np.sqrt(mass @ (exact - mean) ** 2)
        assert drawn.mean() == pytest.approx(mean, abs=4 * sd / np.sqrt(1000))
        assert drawn.std() == pytest.approx(sd, rel=0.12)  # an sd from 1000 effective draws: 2.2 %, more with its tail
    for k in (1, 2):  # nothing is known of the deployed: their coordinates keep the prior
        assert sample.x[:, k].mean() == pytest.approx(0, abs=4 / np.sqrt(1000))
        assert sample.x[:, k].std() == pytest.approx(1, abs=0.1)
    assert np.abs(correlation(sample.x[:, 2])).max() <= 1


def test_a_two_by_two_density_is_the_integral_over_its_effects():
    """The likelihood given standard deviations by dense quadrature over two models and two contexts, to 1e-8."""
    data, _ = _balanced(2, 2, seed=5)
    data |= {"fixed": np.zeros((4, 4))}  # the common mean is left out: four effects make a grid that a machine can hold
    x = np.array([-1.0, 0.0, 0.0, -0.3, -0.3])
    theta_sd, u_sd, s = half_normal(x[[0, 3, 4]], np.array([1.5, 0.5, 0.3]))
    theta, u = (np.linspace(-8 * sd, 8 * sd, 81) for sd in (theta_sd, u_sd))
    y, spread = data["value"].reshape(2, 2), np.sqrt(0.05 + s**2)
    given = norm.logpdf(y[:, :, None, None], theta[:, None] + u, spread)  # (models, contexts, theta, u)
    prior = norm.pdf(u, 0, u_sd) * (u[1] - u[0]), norm.pdf(theta, 0, theta_sd) * (theta[1] - theta[0])
    # Given both contexts the models are independent: their integrals multiply.
    each = np.einsum("mtu,mtv,t->muv", np.exp(given[:, 0]), np.exp(given[:, 1]), prior[1])
    integral = np.einsum("uv,u,v->", each[0] * each[1], *[prior[0]] * 2)
    seen = Hierarchy.of(data).density(x[None])[0] + 0.5 * x @ x - 2 * np.log(2 * np.pi)
    assert seen == pytest.approx(np.log(integral), abs=1e-8)


def test_a_beta_binomial_cell_is_exact():
    """The core's density of logit(p) after 3 of 10: its integral is a beta function, its mean 3.5 / 11, to 1e-8."""
    import jax

    z = np.linspace(-30, 30, 6001)
    with jax.enable_x64(True):
        target = UserDensity(lambda x: 3.5 * jax.nn.log_sigmoid(x[0]) + 7.5 * jax.nn.log_sigmoid(-x[0]))
        mass = np.exp(target.density(z[:, None])) * (z[1] - z[0])
    assert np.log(mass.sum()) == pytest.approx(betaln(3.5, 7.5), abs=1e-8)
    assert mass @ expit(z) / mass.sum() == pytest.approx(3.5 / 11, abs=1e-8)
    p = expit(z)
    for k in (1, 2, 4):  # success k times in a row
        moment = power_mean(np.array(3.5 / 11), np.array(1 / 12), k)
        assert mass @ p**k / mass.sum() == pytest.approx(float(moment), abs=1e-8)


def test_a_beta_binomial_cell_through_the_core():
    """logit(p) with a Jeffreys prior after 3 of 10: the quantiles of Beta(3.5, 7.5)."""
    import jax

    sample = sample_density(lambda x: 3.5 * jax.nn.log_sigmoid(x[0]) + 7.5 * jax.nn.log_sigmoid(-x[0]), 1, seed=4)
    for q in (0.05, 0.5, 0.95):
        below = (expit(sample.x[:, 0]) < beta(3.5, 7.5).ppf(q)).mean()
        assert below == pytest.approx(q, abs=norm.ppf(0.9999) * np.sqrt(q * (1 - q) / 1000))


def test_a_point_beyond_all_numbers_has_no_density_and_gives_no_warning():
    """The product of 40 axes' terms leaves double precision there; nearer, it is the sum of the axes' logarithms."""
    proposal = Proposal(np.zeros(40), np.eye(40), np.full(40, 1e-6), np.full(40, 1e-6), 8.0)
    far, near = proposal.log_density(np.stack([np.full(40, 1e6), np.full(40, 1e-2)]))
    assert far == -np.inf
    told = 40 * (student.logpdf(1e4, 8.0) + np.log(1e6))
    assert near == pytest.approx(told, abs=1e-9)  # rounding of some 1e3
