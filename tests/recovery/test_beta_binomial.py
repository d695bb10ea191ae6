"""Does the grid posterior of a beta-binomial law hold its intervals?"""

import numpy as np

from divergence.estimands.beta_binomial import beta_parameters, draw_beta_binomial, power_mean


def test_grid_posterior_covers_and_finds_both_parameters():
    """200 worlds of 60 tasks x 4: coverage of 90 % intervals within four binomial standard errors."""
    rng = np.random.default_rng(20261124)
    hits = np.zeros(3)
    for _ in range(200):
        m, r = rng.uniform(0.15, 0.85), rng.uniform(0.05, 0.7)  # inside the prior's range
        p = rng.beta(*beta_parameters(m, r), 60)
        mean, correlation = draw_beta_binomial(np.full(60, 4.0), rng.binomial(4, p).astype(float), 500, rng)
        for k, (draws, truth) in enumerate(
            ((mean, m), (correlation, r), (power_mean(mean, correlation, 4), power_mean(np.array(m), np.array(r), 4)))
        ):
            low, high = np.quantile(draws, [0.05, 0.95])
            hits[k] += low <= truth <= high
    assert (np.abs(hits / 200 - 0.9) < 4 * np.sqrt(0.09 / 200)).all(), hits / 200
