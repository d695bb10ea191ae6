"""Excess flips against a loop over pairs of replicates, and on worlds where the answer is known exactly."""

import itertools

import numpy as np
import polars as pl
import pytest

import divergence as dv
from divergence.simulate import simulate, world


def _flips(log, **options):
    return dv.excess_flips(dv.fit(dv.collapse(dv.read(log)), seed=0, **options))


def _oracle(log, model, first, second, value="score"):
    """Mean over items of F(c, c') - (F(c, c) + F(c', c')) / 2, by loops over pairs of rows."""
    total = []
    for item in log["item"].unique():
        y = {c: log.filter(model=model, item=item, context=c)[value].to_list() for c in (first, second)}
        across = np.mean([a != b for a in y[first] for b in y[second]])
        within = [np.mean([a != b for a, b in itertools.combinations(y[c], 2)]) for c in (first, second)]
        total.append(across - np.mean(within))
    return np.mean(total)


def test_against_loops():
    log, _ = simulate(world("baseline", n_models=2, n_contexts=2, n_items=40, n_trials=3), 1)
    # Half of the items turn round in one context, so that the excess lies far from its limit at 0.
    turned = (pl.col("context") == "context-2") & pl.col("item").str.contains("[02468]$")
    log = log.with_columns(score=pl.when(turned).then(1 - pl.col("score")).otherwise("score"))
    log = log.with_columns(
        answer=pl.concat_str(
            pl.when(turned).then(pl.lit("b")).otherwise(pl.lit("a")), (pl.col("trial") * pl.col("score")).cast(pl.Int64)
        )
    )
    flips = _flips(log)
    for statistic, column in ((None, "score"), ("answers", "answer")):
        part = flips.where(model="model-1", context="bench", context_b="context-2", statistic=statistic)
        exact = _oracle(log, "model-1", "bench", "context-2", column)
        error = part.draws.std() / np.sqrt(len(part.draws))
        assert part.draws.mean() == pytest.approx(exact, abs=4 * error), statistic


def test_binary_answers_flip_as_scores_do():
    log, _ = simulate(world("baseline", n_models=1, n_contexts=1, n_items=50), 2)
    flips = _flips(log.with_columns(answer=pl.col("score").cast(pl.String)))
    both = [flips.where(model="model-0", context_b="context-1", statistic=s).draws for s in (None, "answers")]
    np.testing.assert_allclose(both[0], both[1], atol=1e-12)


def test_greedy_contexts_that_agree_have_none():
    log, _ = simulate(world("copies", n_models=1, n_contexts=1, n_items=80), 3)
    bench = log.filter(context="bench")
    same = pl.concat(
        [bench, bench.with_columns(regime=pl.lit("deployment"), context=pl.lit("context-1"), concurrency=pl.lit("8"))]
    )
    row = _flips(same).where(model="model-0").to_frame()
    assert row["noise_floor"][0] == 0
    assert row["lower"][0] < 1e-3
    assert 0 < row["upper"][0] < 3 / 80  # the rule of three: 0 of 80 does not exclude a few per cent


def test_a_wave_shift_is_no_flip():
    log, _ = simulate(world("null", n_models=1, n_contexts=1, n_items=2000, wave=1.0), 4)
    row = _flips(log).where(model="model-0").to_frame()
    assert abs(row["mean"][0]) < 4 * row["sd"][0]  # without the waves it is -.073, ten of these


def test_one_replicate_is_refused_with_bounds():
    log, _ = simulate(world("baseline", n_models=1, n_contexts=1, n_trials=1), 5)
    frame = _flips(log).to_frame()
    assert not frame["identified"].any()
    head = frame.filter(pl.col("statistic").is_null())
    assert head["mean"].null_count() == head.height
    lower, upper = (frame.filter(statistic=s)["mean"][0] for s in ("lower_bound", "upper_bound"))
    _, truth = simulate(world("baseline", n_models=1, n_contexts=1, n_trials=1), 5)
    assert lower <= truth["excess_flips"][0, 0] <= upper


def test_no_shared_items_is_refused():
    log, _ = simulate(world("no_overlap", n_models=1, n_contexts=1), 6)
    assert "items that one model answered in two contexts; this log has none" in _flips(log).reasons[0]


def test_replicates_of_one_session_do_not_count():
    log, _ = simulate(world("baseline", n_models=1, n_contexts=1, n_items=30), 7)
    one_session = log.with_columns(session=pl.concat_str("context", "item"))
    assert not _flips(one_session).identified
