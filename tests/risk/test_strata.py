"""Strata: what a new one is like."""

import numpy as np
import pytest

from divergence.risk.strata import _fresh


@pytest.mark.parametrize("n", [(1, 1, 1), (5, 3, 1, 1), (9, 1)])
def test_a_new_task_varies_more_around_the_mean_of_seen_ones_than_they_do(n):
    """By drawing tasks: 40,000 draws leave 1 % of a variance, so four standard errors of the ratio are 6 %."""
    share = np.array(n) / sum(n)
    tasks = np.random.default_rng(0).standard_normal((40_000, len(n) + 1))
    level = tasks[:, :-1] @ share
    seen = ((tasks[:, :-1] - level[:, None]) ** 2).mean()
    assert _fresh(np.array(n)) == pytest.approx(((tasks[:, -1] - level) ** 2).mean() / seen, rel=0.06)
