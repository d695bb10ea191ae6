"""Powers of a beta law, and draws of its parameters."""

import numpy as np
import pytest
from plain_logs import trials_of_items

import divergence as dv
from divergence.estimands.beta_binomial import beta_parameters, power_mean


def _posterior(log):
    return dv.fit(dv.collapse(dv.read(log)), seed=0)


def test_the_power_of_a_uniform_law():
    for k in range(1, 6):
        assert power_mean(np.array(0.5), np.array(1 / 3), k) == pytest.approx(1 / (k + 1))
    assert np.allclose(beta_parameters(0.5, 1 / 3), (1, 1))


@pytest.mark.parametrize("value", [0, 2])
def test_all_succeed_or_all_fail_is_not_certainty(value):
    answer = dv.pass_power(_posterior(trials_of_items([value] * 10, 2)))
    low, high = answer.where(statistic="pass^2").interval()[0]
    assert high - low > 0.05 and (low > 0.7 if value else high < 0.3)
