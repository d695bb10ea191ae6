"""Do the intervals of the mean hazard hold what they say?"""

import numpy as np
from plain_logs import episodes, steps_to_the_end

import divergence as dv
from divergence.cells.episodes import agent_episodes


def _mean_hazard(cells, rng):
    from divergence.estimands.collapse_hazard import _combinations, _numbers

    weight = rng.standard_exponential((400, len(cells.levels["block"])))
    ((_, mine),) = _combinations(cells, agent_episodes(cells))
    draws = next(value for statistic, _, _, value, _ in _numbers(cells, mine, weight, rng) if statistic is None)
    return np.quantile(draws, [0.05, 0.95])


def test_coverage_of_the_mean_hazard():
    """100 logs of 80 episodes: coverage of 90 % intervals within four standard errors."""
    rng = np.random.default_rng(12)
    hits = 0
    for _ in range(100):
        cells = dv.collapse(dv.read(episodes(*steps_to_the_end(rng, 80, 0.12, 8))))
        low, high = _mean_hazard(cells, rng)
        hits += low <= 0.12 <= high
    assert abs(hits / 100 - 0.9) < 4 * np.sqrt(0.09 / 100), hits
