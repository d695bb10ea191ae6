"""Who counts how much: design weights, items judged twice, waves that do not connect."""

import numpy as np
import polars as pl
import pytest

import divergence as dv
from divergence.joint.arms import measure_arms
from divergence.simulate import simulate, world


def _levels(log):
    arms = measure_arms(dv.collapse(dv.read(log)))
    return dict(zip(zip(arms.deployed.tolist(), arms.context.tolist(), strict=True), arms.level, strict=True))


def test_design_weights_undo_what_logging_chose():
    """Failures logged with chance .1: the weighted level is that of all requests, by arithmetic."""
    rows = [{"score": 1.0, "probability": 1.0}] * 50 + [{"score": 0.0, "probability": 0.1}] * 5
    log = pl.DataFrame(rows).with_columns(regime=pl.lit("deployment"), model=pl.lit("m"), context=pl.lit("c"))
    assert _levels(log)[True, 0] == pytest.approx(50 / (50 + 5 / 0.1))


def test_an_item_of_two_scorers_counts_once():
    log = pl.DataFrame({"item": [f"i{k}" for k in range(100)], "score": [1.0] * 50 + [0.0] * 50}).with_columns(
        regime=pl.lit("evaluation"), model=pl.lit("m"), context=pl.lit("c"), scorer=pl.lit("s1")
    )
    twice = pl.concat([log, log.head(50).with_columns(scorer=pl.lit("s2"))])
    assert _levels(twice)[False, 0] == pytest.approx(0.5)


def test_a_context_in_a_wave_of_its_own_does_not_break_the_others():
    log, _ = simulate(world("waves", n_models=2, n_contexts=4), 1)
    lonely = log.with_columns(wave=pl.when(pl.col("context") == "context-4").then(pl.lit("wave-9")).otherwise("wave"))
    arms = measure_arms(dv.collapse(dv.read(lonely)))
    assert (arms.level > 0).all()
    assert (arms.level < 1).all()
    assert np.isfinite(arms.covariance).all()


def test_a_constant_time_is_a_sentence():
    log, _ = simulate(world("null", n_models=2, n_contexts=2, n_items=20), 1)
    setting = dv.Configuration(outcome="latency_s")
    cells = dv.collapse(dv.read(log.with_columns(latency_s=0.25), configuration=setting))
    with pytest.raises(dv.InputError, match="all values of latency_s are the same"):
        dv.fit(cells)


def test_too_many_arms_is_a_sentence():
    log = pl.DataFrame({"context": [f"c{k}" for k in range(600)]}).with_columns(
        regime=pl.lit("deployment"), model=pl.lit("m"), score=pl.lit(1.0)
    )
    with pytest.raises(dv.InputError, match="600 combinations"):
        dv.fit(dv.collapse(dv.read(log)))
