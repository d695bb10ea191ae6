"""Do the intervals of the cost of a success hold what they say?"""

import numpy as np
from plain_logs import priced

import divergence as dv


def test_coverage():
    """120 logs: E cost .02 exp(.125), success .6; coverage of 90 % intervals within four standard errors."""
    from divergence.cells.random_blocks import block_sums

    rng = np.random.default_rng(8)
    truth, hits = 0.02 * np.exp(0.125) / 0.6, 0
    for _ in range(120):
        cells = dv.collapse(dv.read(priced(rng, 150)))
        weight = rng.standard_exponential((400, 128))
        cost, score = block_sums(cells, "cost_usd", "deployment"), block_sums(cells, "score", "deployment")
        draws = (
            (weight @ cost.y[:, 0, 0])
            / (weight @ cost.n[:, 0, 0])
            * (weight @ score.n[:, 0, 0])
            / (weight @ score.y[:, 0, 0])
        )
        low, high = np.quantile(draws, [0.05, 0.95])
        hits += low <= truth <= high
    assert abs(hits / 120 - 0.9) < 4 * np.sqrt(0.09 / 120), hits / 120
