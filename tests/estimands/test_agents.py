"""Agents and costs end to end on a simulated log: what a log lacks is refused by name, and nothing is silent."""

import numpy as np
import polars as pl
import pytest

import divergence as dv
from divergence.simulate import AgentWorld, simulate_agents

SMALL = AgentWorld(n_items=16, n_contexts=1)


def _log(spec=SMALL, seed=3):
    return simulate_agents(spec, seed)[0]


def _posterior(log):
    return dv.fit(dv.collapse(dv.read(log)), seed=0)


def _reason(estimate, **where):
    found = estimate.where(**where)
    assert found.rows.height, "a number that is not known is refused, not left out"
    assert not found.identified
    return found.reasons[0]


def test_one_context():
    """The bench alone: every number of the bench stands, what compares with deployment is refused."""
    posterior = _posterior(_log().filter(regime="evaluation"))
    assert "0 judged deployment rows" in _reason(dv.cost_ledger(posterior))
    cost = dv.cost_per_success(posterior)
    assert cost.where(context="agent-bench", statistic=None).identified
    assert _reason(cost, statistic="bench_ratio") == "the log has no deployment rows with a known cost"
    assert dv.pass_power(posterior).identified and dv.collapse_hazard(posterior).identified


def test_no_overlap():
    """Other tasks in deployment: levels stand, and what compares the regimes says that tasks differ too."""
    log = _log().with_columns(item=pl.when(regime="deployment").then(pl.col("item") + "-live").otherwise("item"))
    posterior = _posterior(log)
    for question in (dv.cost_per_success, dv.cost_ledger):
        answer = question(posterior)
        assert answer.identified and "share no item" in answer.text
    assert dv.pass_power(posterior).where(context="agent-1", statistic="pass^4").identified


def test_one_replicate():
    posterior = _posterior(_log().filter(pl.col("trial").is_null() | (pl.col("trial") == 0)))
    power = dv.pass_power(posterior)
    assert power.where(context="agent-1", statistic="pass^1").identified
    for k in (2, 3, 4):
        assert "0 items have" in _reason(power, context="agent-1", statistic=f"pass^{k}")
        assert "no item has two trials" in _reason(power, context="agent-1", statistic=f"pass^{k}_model")
    assert "no item has two trials" in _reason(power, context="agent-1", statistic="task_correlation")
    cost = dv.cost_per_success(posterior)
    assert "0 items have two trials" in _reason(cost, context="agent-1", statistic="expected_attempts")
    assert "0 tasks have two episodes" in _reason(dv.collapse_hazard(posterior), context="agent-1", statistic="frailty")


def test_censored_everywhere():
    log = _log().with_columns(
        finish_reason=pl.when(pl.col("calls").is_not_null()).then(pl.lit("calls")),
        score=pl.when(pl.col("calls").is_not_null()).then(0.0).otherwise("score"),
    )
    posterior = _posterior(log)
    assert "none of 256 did before a cap" in _reason(dv.collapse_hazard(posterior), statistic=None)
    assert "trials succeeded" in _reason(dv.cost_per_success(posterior), context="agent-1", statistic=None)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_all_fail_or_all_succeed(value):
    posterior = _posterior(
        _log().filter(task="loop").with_columns(score=pl.lit(value), finish_reason=pl.lit("stop" if value else "error"))
    )
    low, high = dv.pass_power(posterior).where(context="agent-1", statistic="pass^4", model="model-0").interval()[0]
    assert high - low > 0.02, "sixteen tasks are no certainty"
    answer = dv.collapse_hazard(posterior).where(context="agent-1", statistic=None)
    assert answer.identified == (value == 0.0)
    cost = dv.cost_per_success(posterior).where(context="agent-1", statistic=None)
    assert cost.identified == (value == 1.0)


def test_a_longer_cap_is_no_failure():
    """The same episodes cut off earlier: the hazard stays, while the share of failed episodes falls."""
    long, short = (AgentWorld(n_items=300, n_contexts=1, n_models=1, cap=cap, frailty=0.01) for cap in (40, 5))
    hazards, failed = [], []
    for spec in (long, short):
        log = _log(spec).filter(context="agent-bench")
        hazards.append(dv.collapse_hazard(_posterior(log)).where(statistic=None).draws[:, 0])
        failed.append((log["finish_reason"] == "error").mean())
    error = np.hypot(*(draws.std() for draws in hazards))
    assert abs(hazards[0].mean() - hazards[1].mean()) < 4 * error
    assert failed[1] < 0.8 * failed[0]


def test_relabelled_models_are_the_same_models():
    names = {"model-0": "zebra", "model-1": "aardvark"}
    log = _log()
    for question in (dv.pass_power, dv.cost_per_success):
        first = question(_posterior(log)).where(statistic="pass^2" if question is dv.pass_power else None)
        second = question(_posterior(log.with_columns(pl.col("model").replace(names)))).where(
            statistic="pass^2" if question is dv.pass_power else None
        )
        for old, new in names.items():
            a, b = (e.where(model=m, context="agent-1").draws[:, 0] for e, m in ((first, old), (second, new)))
            assert np.median(a) == pytest.approx(np.median(b), rel=0.05)
