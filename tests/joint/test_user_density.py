"""A log density given by the user: exact moments, a funnel-shaped hierarchy by quadrature, refusals."""

import jax.numpy as jnp
import numpy as np
import pytest

import divergence as dv
from divergence.joint import sample_density


def test_a_correlated_normal_in_any_units():
    scale = np.array([1e-3, 1.0, 50.0])
    root = scale[:, None] * np.linalg.cholesky(np.array([[1, 0.7, 0], [0.7, 1, -0.5], [0, -0.5, 1.0]]))
    mean, precision = np.array([0.002, -3.0, 400.0]), np.linalg.inv(root @ root.T)
    sample = sample_density(lambda x: -0.5 * (x - mean) @ precision @ (x - mean), 3, seed=1)
    assert all(d.passed for d in sample.diagnostics)
    error = scale / np.sqrt(1000)  # effective draws are at least half of 2000
    assert (np.abs(sample.x.mean(0) - mean) < 4 * error).all()
    np.testing.assert_allclose(np.cov(sample.x.T), root @ root.T, atol=5 * np.outer(scale, scale).max() / np.sqrt(500))
    np.testing.assert_allclose(sample.x.std(0), scale, rtol=4 / np.sqrt(2 * 1000))


def test_a_hierarchy_against_quadrature():
    """Eight group means with known errors, effects integrated out by hand: mean and sd of mu and log tau on a grid."""
    y, s = np.array([28, 8, -3, 7, -1, 1, 18, 12.0]) / 10, np.array([15, 10, 16, 11, 9, 11, 10, 18.0]) / 10

    def log_density(x):
        mu, log_tau, unit = x[0], x[1], x[2:]
        prior = -0.5 * (mu / 0.5) ** 2 - jnp.log1p((jnp.exp(log_tau) / 0.5) ** 2) + log_tau - 0.5 * (unit**2).sum()
        return prior - 0.5 * (((y - mu - jnp.exp(log_tau) * unit) / s) ** 2).sum()

    sample = sample_density(log_density, 10, seed=2)
    assert all(d.passed for d in sample.diagnostics)
    tau, mu = np.exp(np.linspace(-12, 4, 2001))[:, None, None], np.linspace(-3, 3, 301)[None, :, None]
    v = s**2 + tau**2
    log_mass = (-0.5 * (y - mu) ** 2 / v - 0.5 * np.log(v)).sum(2) - 0.5 * (mu[..., 0] / 0.5) ** 2
    log_mass += np.log(tau[..., 0]) - np.log1p((tau[..., 0] / 0.5) ** 2)
    mass = np.exp(log_mass - log_mass.max())
    mass /= mass.sum()
    for draws, value in ((sample.x[:, 0], mu[0, :, 0][None] + 0 * mass), (np.exp(sample.x[:, 1]), tau[:, :, 0] + 0 * mass)):
        mean = (mass * value).sum()
        sd = np.sqrt((mass * (value - mean) ** 2).sum())
        assert draws.mean() == pytest.approx(mean, abs=4 * sd / np.sqrt(400))
        assert draws.std() == pytest.approx(sd, rel=0.2)


def test_bad_input_is_a_sentence():
    with pytest.raises(dv.InputError, match="another start"):
        sample_density(lambda x: jnp.log(x[0]) - x[0], 1)
    with pytest.raises(dv.InputError, match="seed"):
        sample_density(lambda x: -(x[0] ** 2), 1, seed=1.5)
    with pytest.raises(dv.InputError, match="shape"):
        sample_density(lambda x: -(x[0] ** 2), 1, start=np.zeros(2))


@pytest.mark.parametrize("start", [0.0, 60.0, 200.0])
def test_a_slope_that_is_small_far_out_is_no_mode_nearby(start):
    """Student-t tails and wide units have small slopes anywhere: the curvature out there is not taken for the mode's."""
    freedom, middle = 4.0, np.array([30.0, 45.0])

    def log_density(x):
        return -(freedom + 1) / 2 * jnp.log1p(((x - middle) / 2) ** 2 / freedom).sum()

    sample = sample_density(log_density, 2, seed=3, start=np.full(2, start))
    assert all(d.passed for d in sample.diagnostics), sample.diagnostics
    np.testing.assert_allclose(np.median(sample.x, 0), middle, atol=4 * 1.25 * 2.2 / np.sqrt(2000))
    quartiles = np.quantile(sample.x, [0.25, 0.75], axis=0)
    np.testing.assert_allclose(quartiles - middle, 2 * np.outer([-0.7407, 0.7407], np.ones(2)), atol=0.25)


def test_a_start_without_a_curvature_is_no_failure():
    """|x|^1.5 has a slope at 0 and no second derivative; the mode, at .04, has both."""
    sample = sample_density(lambda x: (-(jnp.abs(x) ** 1.5) + 0.3 * x).sum(), 1, seed=0)
    grid = np.linspace(-9, 9, 90001)
    mass = np.exp(-(np.abs(grid) ** 1.5) + 0.3 * grid)
    mean = (mass * grid).sum() / mass.sum()
    assert all(d.passed for d in sample.diagnostics)
    assert sample.x.mean() == pytest.approx(mean, abs=4 * sample.x.std() / np.sqrt(2000))
