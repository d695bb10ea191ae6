"""Powers of a beta law, and draws of its parameters."""

import numpy as np
import polars as pl
import pytest

import divergence as dv
from divergence.estimands.beta_binomial import beta_parameters, power_mean


def _log(successes, trials, **more):
    """A log of one model in one context: item i succeeds in the first successes[i] of its trials."""
    rows = [(f"i{i}", t, float(t < y)) for i, y in enumerate(successes) for t in range(trials)]
    item, trial, score = zip(*rows, strict=True)
    frame = {"regime": "evaluation", "model": "m", "context": "c", "item": item, "trial": trial, "score": score} | more
    return pl.DataFrame({k: [v] * len(rows) if isinstance(v, str) else v for k, v in frame.items()})


def _posterior(log):
    return dv.fit(dv.collapse(dv.read(log)), seed=0)


def test_the_power_of_a_uniform_law():
    for k in range(1, 6):
        assert power_mean(np.array(0.5), np.array(1 / 3), k) == pytest.approx(1 / (k + 1))
    assert np.allclose(beta_parameters(0.5, 1 / 3), (1, 1))


@pytest.mark.parametrize("value", [0, 2])
def test_all_succeed_or_all_fail_is_not_certainty(value):
    answer = dv.pass_power(_posterior(_log([value] * 10, 2)))
    low, high = answer.where(statistic="pass^2").interval()[0]
    assert high - low > 0.05 and (low > 0.7 if value else high < 0.3)
