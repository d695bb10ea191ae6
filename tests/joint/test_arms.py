"""Arm levels and their covariance against slow, obvious computations."""

import numpy as np
import polars as pl
import pytest

import divergence as dv
from divergence.joint.arms import measure_arms
from divergence.simulate import simulate, world


def _arms(log):
    return measure_arms(dv.collapse(dv.read(log)))


def _sd(arms):
    return np.sqrt(np.diag(arms.covariance))


def test_levels_are_means_of_item_means():
    log, _ = simulate(world("baseline", n_models=2, n_contexts=2, n_items=400), 1)
    log = log.filter(pl.int_range(pl.len()) % 7 != 0)  # items with one trial weigh as those with two
    arms = _arms(log)
    for k, level in enumerate(arms.level):
        regime = "deployment" if arms.deployed[k] else "evaluation"
        context = sorted(set(log["context"]))[arms.context[k]]
        mine = log.filter(pl.col("model") == f"model-{arms.model[k]}", regime=regime, context=context)
        assert level == pytest.approx(mine.group_by("item").agg(pl.col("score").mean())["score"].mean(), abs=1e-12)


def test_standard_error_is_that_of_item_means():
    log, _ = simulate(world("baseline", n_models=1, n_contexts=1, n_items=300), 2)
    arms = _arms(log)
    for regime, k in (("deployment", 0), ("evaluation", 1)):
        items = log.filter(pl.col("regime") == regime).group_by("item").agg(pl.col("score").mean())["score"]
        assert _sd(arms)[k] == pytest.approx(items.std() / np.sqrt(300), rel=1e-9)


def test_copies_do_not_narrow():
    log, _ = simulate(world("copies", n_models=2, n_contexts=3, n_trials=1), 3)
    doubled = pl.concat([log, log.with_columns(trial=pl.col("trial") + 1)])
    one, two = _arms(log), _arms(doubled)
    np.testing.assert_allclose(two.level, one.level, atol=1e-12)
    np.testing.assert_allclose(two.covariance, one.covariance, atol=1e-12)


def test_copies_in_sessions_do_not_narrow():
    log, _ = simulate(world("sessions", n_models=2, n_contexts=2, n_trials=1), 3)
    doubled = pl.concat([log, log.with_columns(trial=pl.col("trial") + 1)])
    np.testing.assert_allclose(_arms(doubled).covariance, _arms(log).covariance, atol=1e-12)


def test_sessions_widen():
    log, _ = simulate(world("sessions", n_models=2, n_contexts=2, n_items=400), 4)
    with_sessions, without = _arms(log), _arms(log.drop("session"))
    ratio = _sd(with_sessions)[with_sessions.deployed] / _sd(without)[with_sessions.deployed]
    assert ratio.min() > 1.2  # 12 rows a session at an intra-class correlation near .2 on the outcome: sqrt(1 + 11 x .1)


def test_waves_are_taken_out():
    log, _ = simulate(world("waves", n_models=3, n_contexts=3, n_items=400, wave=0.6), 5)
    # drop the second wave of one context: its level must not move by the wave's shift
    lopsided = log.filter(~((pl.col("context") == "context-1") & (pl.col("wave") == "wave-1")))
    whole, part = _arms(log), _arms(lopsided)
    moved = part.level - whole.level
    one = np.array([i for i, c in enumerate(whole.context) if c == 1])
    assert np.abs(moved[one]).max() < 0.05  # a shift of .6 on the logit scale would move it by .11
    assert whole.wave[1] - whole.wave[0] == pytest.approx(1.2 * 0.85, abs=0.2)  # attenuated by what items spread


def test_regimes_without_rows_of_a_kind():
    log = pl.DataFrame(
        {"regime": "deployment", "model": "m", "context": ["a"] * 3 + ["b"] * 3, "score": [1.0, 1.0, 1.0, 0.0, 1.0, 0.0]}
    )
    arms = _arms(log)  # rows without item are items of their own
    np.testing.assert_allclose(arms.level, [1.0, 1 / 3])
    assert np.isfinite(arms.covariance).all()
