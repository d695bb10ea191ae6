"""Powers of success: the published counts of tau-bench, closed forms, brute force over tuples, and coverage."""

import itertools
import math
import pathlib

import numpy as np
import polars as pl
import pytest
from plain_logs import trials_of_items

import divergence as dv
from divergence.configuration import Configuration
from divergence.estimands.pass_power import unbiased

TAU = pathlib.Path(__file__).parents[3] / "shared/data/tau_bench_episodes.parquet"


def _posterior(log):
    return dv.fit(dv.collapse(dv.read(log)), seed=0)


def _posterior_of(log):
    return dv.fit(dv.collapse(log), seed=0)


def test_the_unbiased_count_is_the_share_of_successful_tuples():
    for n, y, k in itertools.product(range(1, 7), range(7), range(1, 4)):
        if y <= n and k <= n:
            trials = [1] * y + [0] * (n - y)
            tuples = list(itertools.combinations(trials, k))
            assert unbiased(np.array([n]), np.array([y]), k)[0] == pytest.approx(sum(map(math.prod, tuples)) / len(tuples))


@pytest.mark.skipif(not TAU.is_file(), reason="the shared tau-bench episodes are absent")
def test_tau_bench():
    """Published pass^1..4 exactly; the heterogeneity model is near the count at k = 4, tasks taken for alike are not."""
    log = dv.read(TAU, configuration=Configuration.from_table({"constants": {"regime": "evaluation"}}))
    answer = dv.pass_power(_posterior_of(log)).to_frame()
    mean = dict(zip(answer["statistic"], answer["mean"], strict=True))
    for k, value in enumerate((0.420, 0.27333333, 0.22, 0.20), 1):
        assert mean[f"pass^{k}"] == pytest.approx(value, abs=1e-7)
    assert mean["pass^4_model"] == pytest.approx(0.20, abs=0.04)
    assert abs(mean["pass^4_model"] - mean["pass^1"] ** 4) > 0.1  # .031: the mean to the fourth
    assert mean["task_correlation"] == pytest.approx(0.40, abs=0.03)


def test_more_tries_than_trials_are_the_models_business():
    answer = dv.pass_power(_posterior(trials_of_items([0, 1, 2, 2, 1, 0, 2, 2], 2)), powers=(1, 2, 3))
    assert answer.where(statistic="pass^3").reason == ("0 items have 3 trials; the count needs 2",)
    assert answer.where(statistic="pass^3_model").identified
    assert np.allclose(answer.where(statistic=None).draws, answer.where(statistic="pass^2").draws)


def test_one_trial_gives_the_first_power_only():
    answer = dv.pass_power(_posterior(trials_of_items([0, 1, 1, 0, 1], 1)))
    assert answer.where(statistic="pass^1").identified and not answer.where(statistic="pass^2_model").identified
    assert "no item has two trials" in answer.where(statistic="pass^2_model").reason[0]


@pytest.mark.parametrize("k", [0, -1, 1.5, True, "2"])
def test_a_power_that_is_none_is_a_sentence(k):
    with pytest.raises(dv.InputError, match="whole number from 1 on"):
        dv.pass_power(_posterior(trials_of_items([0, 1, 2, 2], 2)), powers=(k,))


def test_single_turn_against_the_loop():
    """Truth .9 against .3: 300 single questions, 200 episodes of 4 calls in another task."""
    rng = np.random.default_rng(5)
    single = trials_of_items((rng.random(300) < 0.9).astype(int), 1, task="quiz").with_columns(calls=pl.lit(None, pl.Int64))
    loop = trials_of_items((rng.random(200) < 0.3).astype(int), 1, task="agent").with_columns(
        calls=pl.lit(4, pl.Int64), item=pl.col("item") + "-agent"
    )
    answer = dv.pass_power(_posterior(pl.concat([single, loop]))).where(statistic="single_turn_gap")
    low, high = answer.interval(0.99)[0]
    assert low <= 0.6 <= high and high - low < 0.25
    alone = dv.pass_power(_posterior(loop)).where(statistic="single_turn_gap")
    assert "no single executions" in alone.reason[0]
