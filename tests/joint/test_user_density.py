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
