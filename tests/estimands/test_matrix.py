"""The context divergence matrix: values against plain reading, a null that holds its level, and what is refused."""

import numpy as np
import polars as pl
import pytest
from plain_logs import bench_and_traffic

import divergence as dv


def _answer(log):
    return dv.matrix(dv.fit(dv.collapse(dv.read(log)), seed=0))


def _value(answer, statistic, regime=None):
    return float(np.median(answer.where(statistic=statistic, regime=regime).draws))


def test_values_are_those_of_plain_reading():
    log = bench_and_traffic(np.random.default_rng(1), overlap=0.5, tokens=(100, 300))
    answer = _answer(log)
    assert _value(answer, "outside", "evaluation") == 0.0
    assert _value(answer, "outside", "deployment") == pytest.approx(0.5, abs=0.03)
    mean = {r: log.filter(regime=r)["input_tokens"].mean() for r in ("evaluation", "deployment")}
    for regime, value in mean.items():
        assert _value(answer, "context_tokens", regime) == pytest.approx(value, rel=0.01)
    assert _value(answer, "contexts", "evaluation") == pytest.approx(1.0)
    assert _value(answer, "contexts", "deployment") == pytest.approx(3.0, abs=0.01)
    assert _value(answer, "unseen", "deployment") == 1.0
    # Quality rises and cheapness falls with the model's number: a ranking turned round.
    assert _value(answer, "rank_correlation", "evaluation") < -0.5
    for name in ("outside", "context_tokens", "contexts"):
        low, high = answer.where(statistic=name, regime=None).interval()[0]
        contrast = _value(answer, name, "deployment") - _value(answer, name, "evaluation")
        assert low - 0.05 <= contrast <= high + 0.05
    assert _value(answer, "context_tokens p") < 0.01 and _value(answer, "contexts p") < 0.01


def test_what_an_axis_lacks_is_said():
    log = bench_and_traffic(np.random.default_rng(4), models=2, waves=1).drop("cost_usd", "input_tokens")
    answer = _answer(log)
    reasons = {a: answer.where(axis=a).reasons for a in ("focus", "state", "output")}
    assert "to rank by" in reasons["focus"][0] and "not logged in both" in reasons["state"][0]
    assert "waves" in reasons["output"][0]
    one = dv.matrix(dv.fit(dv.collapse(dv.read(log.filter(regime="evaluation"))), seed=0))
    assert one.reasons == ("It needs both regimes; this log has 0 deployment rows and 120 of evaluation.",)


def test_models_of_one_price_have_no_order_and_unjudged_traffic_has_no_contexts():
    log = bench_and_traffic(np.random.default_rng(5))
    for price in (0.002, 0.001):  # an order made of ties would be that of the names
        assert "same for all models" in _answer(log.with_columns(cost_usd=pl.lit(price))).where(axis="focus").reasons[0]
    two = _answer(log.with_columns(cost_usd=pl.when(pl.col("model") < "m3").then(0.001).otherwise(0.01)))
    # Quality m0 < ... < m4, cheap m0 = m1 = m2, dear m3 = m4: Spearman with shared places.
    assert _value(two, "rank_correlation", "evaluation") == pytest.approx(-np.sqrt(3) / 2, abs=1e-6)
    silent = log.with_columns(score=pl.when(pl.col("regime") == "evaluation").then(pl.col("score")))
    assert "no judged rows" in _answer(silent).where(axis="infrastructure").reasons[0]
