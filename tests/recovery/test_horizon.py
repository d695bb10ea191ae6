"""Do the intervals of the horizon hold what they say?"""

import numpy as np
import polars as pl

import divergence as dv


def _log(rng, size=400, middle=4.0, slope=-1.2, lengths=(1, 2, 4, 8, 16, 32), **more):
    length = rng.choice(lengths, size).astype(float)
    p = 1 / (1 + np.exp(-slope * np.log2(length / middle)))
    frame = {
        "regime": ["evaluation"] * size,
        "model": ["m"] * size,
        "context": ["c"] * size,
        "item": [f"i{k}" for k in range(size)],
        "task_length": length,
        "score": (rng.random(size) < p).astype(float),
    }
    return pl.DataFrame(frame | more)


def test_coverage():
    """150 logs of 150 tasks: coverage of T50 within four standard errors."""
    from divergence.estimands.horizon import _combinations, _fit

    rng = np.random.default_rng(3)
    hits = total = 0
    for _ in range(150):
        cells = dv.collapse(dv.read(_log(rng, 150)))
        ((_, mine),) = _combinations(cells)
        length = np.array([float(v) for v in cells.levels["task_length"]])[mine["task_length"]]
        found, why = _fit(mine, length, 400, rng)
        if why is None:
            low, high = np.quantile(found[0], [0.05, 0.95])
            hits, total = hits + (low <= 4.0 <= high), total + 1
    assert total > 140 and abs(hits / total - 0.9) < 4 * np.sqrt(0.09 / total), hits / total
