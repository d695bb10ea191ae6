"""Do the intervals of the horizon hold what they say?"""

import numpy as np
from plain_logs import tasks_by_length

import divergence as dv


def test_coverage():
    """150 logs of 150 tasks: coverage of T50 within four standard errors."""
    from divergence.estimands.horizon import _combinations, _fit

    rng = np.random.default_rng(3)
    hits = total = 0
    for _ in range(150):
        cells = dv.collapse(dv.read(tasks_by_length(rng, 150)))
        ((_, mine),) = _combinations(cells)
        length = np.array([float(v) for v in cells.levels["task_length"]])[mine["task_length"]]
        found, why = _fit(mine, length, 400, rng)
        if why is None:
            low, high = np.quantile(found[0], [0.05, 0.95])
            hits, total = hits + (low <= 4.0 <= high), total + 1
    assert total > 140 and abs(hits / total - 0.9) < 4 * np.sqrt(0.09 / total), hits / total
