import numpy as np
import polars as pl
import pytest

from divergence.estimate import Estimate
from divergence.orders import chance_first
from divergence.report import reading


def test_ties_share_the_first_place():
    draws = np.array([[1.0, 1.0, 0.0], [0.0, 2.0, 1.0]])
    assert chance_first(draws) == pytest.approx([0.25, 0.75, 0.0])
    assert chance_first(draws, highest=False) == pytest.approx([0.5, 0.0, 0.5])
    assert reading.places(np.array([0.2, 0.9, 0.9])).tolist() == [3, 1, 2]


def test_only_models_known_in_both_answers_are_compared(hand_made):
    bench = hand_made("bench_level", {"model": ["a", "b", "c"]}, [0.5, 0.7, 0.6], "probability")
    deployed = hand_made("deployed_level", {"model": ["c", "b"]}, [0.4, 0.3], "probability")
    known = reading.levels(bench, deployed)
    assert known.models == ["b", "c"]
    assert known.second["median"].to_list() == pytest.approx([0.3, 0.4])
    assert np.median(known.second_draws, axis=0) == pytest.approx([0.3, 0.4])


def test_seconds_are_best_when_they_are_few(hand_made):
    bench = hand_made("bench_level", {"model": ["a", "b"]}, [2.0, 1.0], "s", better="lower")
    assert reading.levels(bench, bench).models == ["b", "a"]


def test_rows_of_one_task_are_not_the_models_level(hand_made):
    level = hand_made("bench_level", {"model": ["a", "a"], "task": [None, "sums"]}, [0.5, 0.9], "probability")
    frame, draws = reading.identified(level, "model")
    assert frame["median"].to_list() == pytest.approx([0.5])
    assert draws.shape[1] == 1


def test_refused_numbers_are_left_out():
    rows = pl.DataFrame({"model": ["a", "b"]})
    draws = np.stack([np.full(9, np.nan), np.linspace(0, 1, 9)], axis=1)
    frame, kept = reading.identified(Estimate("gap", "", "fraction", rows, draws, reason=("no rows", None)), "model")
    assert frame["model"].to_list() == ["b"]
    assert kept.shape == (9, 1)


PAIRS = {
    "model": ["m"] * 5,
    "context": ["bench", "bench", "one", "bench", "bench"],
    "context_b": ["one", "two", "two", "bench again", "one"],
    "regime": ["deployment", "deployment", "deployment", "evaluation", "deployment"],
}


def test_pairs_with_the_bench_are_told_from_pairs_of_deployed_contexts(hand_made):
    flips = hand_made("excess_flips", PAIRS, [0.1, 0.2, 0.3, 0.0, 0.9], "probability")
    kept = reading.bench_pairs(flips)
    assert kept.rows["context_b"].to_list() == ["one", "two", "bench again"]
    assert kept.to_frame()["median"].to_list() == pytest.approx([0.1, 0.2, 0.0])
    assert reading.bench_pairs(flips, ("one",)).rows["context_b"].to_list() == ["two", "bench again"]


def test_a_log_without_a_bench_keeps_its_pairs(hand_made):
    rows = {"context": ["one", "one", "two"], "context_b": ["two", "three", "one"]}
    flips = hand_made("excess_flips", rows, [0.1, 0.2, 0.3], "probability")
    assert reading.bench_pairs(flips).rows.height == 3
