"""Hazards of breaking down: a slow count over steps, a constant truth, censoring, refusals."""

import numpy as np
import polars as pl
import pytest
from plain_logs import episodes, steps_to_the_end

import divergence as dv
from divergence.estimands.collapse_hazard import half_life, step_bands


def _answer(log):
    return dv.collapse_hazard(dv.fit(dv.collapse(dv.read(log)), seed=0))


def test_bands_double_and_end_at_the_longest():
    assert step_bands(11).tolist() == [[1, 1], [2, 2], [3, 4], [5, 8], [9, 11]]
    assert step_bands(1).tolist() == [[1, 1]]


def test_failures_over_steps_at_risk_against_loops():
    length, score = [2, 3, 3, 5, 8, 8], [0.0, 1.0, 0.0, 0.0, 1.0, 0.0]
    finish = ["done", "done", "done", "calls", "done", "done"]
    log = pl.concat([episodes(length, score, finish).with_columns(item=pl.col("item") + f"-{k}") for k in range(40)])
    answer = _answer(log)
    failed = risk = 0
    for steps, good, how in zip(length, score, finish, strict=True):
        risk += steps
        failed += good < 0.5 and how != "calls"
    assert answer.where(statistic=None).draws.mean() == pytest.approx(failed / risk, rel=0.02)
    third = answer.where(statistic="hazard", level="3-4").draws.mean()
    assert third == pytest.approx(1 / (5 + 3), rel=0.05)  # five reach step 3, three reach step 4, one fails


def test_a_constant_hazard_is_found_in_spite_of_caps():
    """Hazard .15, solved .05 a step, capped at 6: 600 episodes; a count of failed episodes would say .6 or so."""
    rng = np.random.default_rng(11)
    answer = _answer(episodes(*steps_to_the_end(rng, 600, 0.15, 6)))
    low, high = answer.where(statistic=None).interval(0.99)[0]
    assert low < 0.15 < high and high - low < 0.05
    slope = answer.where(statistic="slope").interval(0.99)[0]
    assert slope[0] < 0 < slope[1]
    half = answer.where(statistic="half_life").interval(0.99)[0]
    assert half[0] < np.log(0.5) / np.log(0.85) < half[1]


def test_frail_tasks_are_told_from_alike_ones():
    rng = np.random.default_rng(13)
    alike = steps_to_the_end(rng, 300, 0.1, 10)
    parts = [steps_to_the_end(rng, 150, h, 10) for h in (0.01, 0.35)]
    frail = [a + b for a, b in zip(*parts, strict=True)]
    found = []
    for one in (alike, frail):
        items = [f"i{k // 5}" for k in range(300)]
        found.append(np.median(_answer(episodes(*one, item=items)).where(statistic="frailty").draws))
    assert found[1] > 2 * found[0]


def test_turns_of_a_session_fail_where_a_failure_is_not_made_good():
    turns = pl.DataFrame(
        {
            "regime": "deployment",
            "model": "m",
            "context": "c",
            "item": [f"t{k}" for k in range(4)] * 6,
            "session": np.repeat([f"s{k}" for k in range(6)], 4),
            "turn": [1, 2, 3, 4] * 6,
            "score": [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 1.0, 1.0] * 3,
        }
    )
    episodes = dv.collapse(dv.read(turns)).episodes
    # Half of the sessions broke down at turn 2; the others made it good and were solved: turns 3 (mending) and 4 (nothing
    # after it shows whether a failure would have been made good) are no steps.
    assert episodes["n"].sum() == 6 and episodes["failed"].sum() == 3 and episodes["solved"].sum() == 3
    # The same work counted from turn 0 is the same work.
    cells = [dv.collapse(dv.read(log)) for log in (turns, turns.with_columns(pl.col("turn") - 1))]
    ends = [
        sorted(zip((c.levels["length"][k] for k in c.episodes["length"]), c.episodes["failed"], strict=True)) for c in cells
    ]
    assert ends[0] == ends[1] and {length for length, _ in ends[0]} == {"2"}


@pytest.mark.parametrize("turns", [6, 24])
@pytest.mark.parametrize("chance", [0.5, 0.8])
def test_independent_turns_have_a_flat_hazard(turns, chance):
    """h = (1 - p)^2 in every band, within four standard errors of its own draws; a slope of zero."""
    rng = np.random.default_rng(3)
    sessions = 600
    log = pl.DataFrame(
        {
            "regime": "deployment",
            "model": "m",
            "context": "c",
            "item": [f"t{k}" for k in range(turns)] * sessions,
            "session": np.repeat([f"s{k}" for k in range(sessions)], turns),
            "turn": list(range(1, turns + 1)) * sessions,
            "score": (rng.random(turns * sessions) < chance).astype(float),
        }
    )
    found = _answer(log)
    bands = found.where(statistic="hazard")
    for draws in bands.draws.T:
        assert abs(draws.mean() - (1 - chance) ** 2) < 4 * draws.std()
    slope = found.where(statistic="slope").draws
    assert abs(slope.mean()) < 4 * slope.std()


def test_a_hazard_that_rises_is_found_to_rise():
    rng = np.random.default_rng(5)
    turns, sessions = 12, 300
    score = rng.random((sessions, turns)) < np.linspace(0.95, 0.3, turns)
    log = pl.DataFrame(
        {
            "regime": "deployment",
            "model": "m",
            "context": "c",
            "item": [f"t{k}" for k in range(turns)] * sessions,
            "session": np.repeat([f"s{k}" for k in range(sessions)], turns),
            "turn": list(range(1, turns + 1)) * sessions,
            "score": score.ravel().astype(float),
        }
    )
    assert np.quantile(_answer(log).where(statistic="slope").draws, 0.05) > 0.3


@pytest.mark.parametrize(
    ("log", "words"),
    [
        (episodes([1] * 8, [0.0, 1.0] * 4), "It needs episodes: rows with calls above 1"),
        (episodes([3] * 8, [0.0] * 8, ["calls"] * 8), "It needs an episode that failed"),
        (episodes([3] * 8, [1.0] * 8), "It needs an episode that failed"),
        (episodes([3, 4], [0.0, 1.0]), "It needs 5 episodes of one model in one context; this log has 2"),
    ],
    ids=["single executions", "censored everywhere", "all solved", "too few"],
)
def test_what_shows_no_breakdown_is_refused(log, words):
    answer = _answer(log)
    assert not answer.identified and words in answer.reasons[0]


def test_a_half_life_beyond_what_was_seen_is_refused():
    hazard, survival = np.full((50, 2), 0.05), np.cumprod(np.full((50, 2), 0.95), 1)
    value, why = half_life(hazard, survival, step_bands(2))
    assert np.isnan(value).all() and "lies beyond what was seen" in why


def test_partitions_of_whole_sessions_merge_to_the_whole():
    rng = np.random.default_rng(14)
    rows = {
        "regime": "deployment",
        "model": "m",
        "context": "c",
        "item": [f"t{k}" for k in range(4)] * 20,
        "session": np.repeat([f"s{k}" for k in range(20)], 4),
        "turn": [1, 2, 3, 4] * 20,
        "score": (rng.random(80) < 0.5).astype(float),
        "gold": ["a", "b", "c", "d"] * 20,
        "task_length": [1.0, 2.0] * 40,
    }
    log = pl.DataFrame(rows)
    first = log["session"].is_in([f"s{k}" for k in range(7)])
    parts = [dv.collapse(dv.read(log.filter(keep))) for keep in (first, ~first)]
    whole = dv.collapse(dv.read(log))
    for merged in (dv.merge(*parts), dv.merge(*parts[::-1])):
        for name in ("episodes", "lengths", "golds"):
            a, b = getattr(merged, name), getattr(whole, name)
            for column in (*a.keys, *a.sums):
                assert (a[column] == b[column]).all(), (name, column)
