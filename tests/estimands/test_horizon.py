"""The task length that is still solved: a known law, coverage, an independent fit, and what is refused."""

import numpy as np
import pytest
from plain_logs import tasks_by_length
from scipy.optimize import minimize

import divergence as dv
from divergence.estimands.horizon import half_life_ratio, logistic
from divergence.numerics import few_clusters


def _answer(log):
    return dv.horizon(dv.fit(dv.collapse(dv.read(log)), seed=0))


def test_ratios_of_a_constant_hazard():
    assert [round(half_life_ratio(q), 4) for q in (0.8, 0.9, 0.99)] == [0.3219, 0.152, 0.0145]


def test_a_known_horizon_is_found():
    answer = _answer(tasks_by_length(np.random.default_rng(1), 1500))
    for statistic, truth in ((None, 4.0), ("T80", 4.0 * 2 ** (np.log(4) / -1.2)), ("slope", -1.2)):
        low, high = answer.where(statistic=statistic).interval(0.99)[0]
        assert low < truth < high


def test_the_fit_agrees_with_a_general_optimiser():
    rng = np.random.default_rng(2)
    x, n, y = np.arange(6.0), rng.integers(5, 20, 6).astype(float), np.zeros(6)
    y = np.minimum(rng.poisson(5, 6), n).astype(float)
    weight = rng.standard_exponential((3, 6))
    a, b = logistic(x, n, y, weight)
    centre = (n @ x) / n.sum()
    for s in range(3):

        def loss(c, w=weight[s]):
            eta = c[0] + c[1] * (x - centre)
            return (w * (n * np.logaddexp(0, eta) - y * eta)).sum() + c @ c / 50

        best = minimize(loss, np.zeros(2), method="BFGS", options={"gtol": 1e-10}).x
        assert (a[s], b[s]) == pytest.approx((best[0] - best[1] * centre, best[1]), abs=1e-5)


@pytest.mark.parametrize(
    ("log", "words"),
    [
        (tasks_by_length(np.random.default_rng(4)).drop("task_length"), "no row of this log has `task_length`"),
        (
            tasks_by_length(np.random.default_rng(4), regime=["deployment"] * 400, item=[None] * 400),
            "It needs 3 declared lengths and 5 named tasks",
        ),
        (tasks_by_length(np.random.default_rng(4), lengths=(2, 4)), "It needs 3 declared lengths and 5 named tasks"),
        (tasks_by_length(np.random.default_rng(4), slope=1.0), "does not surely fall"),
        (tasks_by_length(np.random.default_rng(4), 3000, middle=300.0, slope=-0.8), "above the lengths that were tried"),
    ],
    ids=["no lengths", "no items", "two lengths", "rises", "extrapolation"],
)
def test_what_is_no_horizon_is_refused(log, words):
    assert words in _answer(log).reason[0]


def test_few_clusters_widen_and_many_do_not():
    assert few_clusters(12) == pytest.approx(1.140, abs=5e-4) and few_clusters(5) > 1.4
    assert few_clusters(2000) == pytest.approx(1.0, abs=1e-3)
