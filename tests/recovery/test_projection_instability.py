"""Does the line through the gaps of pairs hold its intervals where that of raw levels is flat and inflated?"""

import numpy as np

from divergence.estimands.projection_instability import regress

RNG = np.random.default_rng(20260711)


def test_the_line_of_draws_covers_where_that_of_raw_levels_is_flat_and_inflated():
    """Levels with a known normal law and known noise have an exact posterior: 300 worlds, 200 draws each, 90 % intervals."""
    models, spread, noise = 8, np.array([[0.01, 0.008], [0.008, 0.0072]]), np.diag([0.004, 0.001])
    gain = spread @ np.linalg.inv(spread + noise)
    root = np.linalg.cholesky(spread - gain @ spread)
    covered, raw = [], []
    for _ in range(300):
        level = RNG.multivariate_normal([0, 0], spread, models)
        seen = level + RNG.multivariate_normal([0, 0], noise, models)
        draws = seen @ gain.T + RNG.standard_normal((200, models, 2)) @ root.T
        exact = regress(level[None, :, 0], level[None, :, 1])
        limits = np.quantile(regress(draws[:, :, 0], draws[:, :, 1]), [0.05, 0.95], axis=1)
        covered.append([lower <= value[0] <= upper for lower, value, upper in zip(limits[0], exact, limits[1], strict=True)])
        raw.append([value[0] / at[0] for value, at in zip(regress(seen[None, :, 0], seen[None, :, 1]), exact, strict=True)])
    error = 4 * np.sqrt(0.9 * 0.1 / 300)
    assert np.abs(np.mean(covered, 0) - 0.9).max() < error
    assert np.median(raw, 0)[1] < 0.8 and np.median(raw, 0)[2] > 1.2  # what the noise does to beta and tau_p
