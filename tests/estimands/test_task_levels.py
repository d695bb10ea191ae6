"""Levels on single tasks: plain means of their items, with intervals that hold what they say."""

import numpy as np
import polars as pl
import pytest

import divergence as dv
from divergence.estimands.task_levels import task_levels


def log(tasks, contexts=("bench",), items=80, seed=0, scorer=None):
    """`tasks` maps a task to the mean of its items' chances (Beta distributed, spread 2)."""
    random = np.random.default_rng(seed)
    rows = []
    for task, mean in tasks.items():
        chance = random.beta(2 * mean, 2 * (1 - mean), items)
        for c in contexts:
            rows += [
                {
                    "regime": "evaluation" if c == "bench" else "deployment",
                    "model": "m",
                    "context": c,
                    "task": task,
                    "item": f"{task}{i}",
                    "score": float(random.random() < p),
                }
                | ({"scorer": scorer(task)} if scorer else {})
                for i, p in enumerate(chance)
            ]
    return pl.DataFrame(rows)


def fitted(frame):
    return dv.fit(dv.collapse(dv.read(frame)), seed=0)


def test_they_are_the_plain_means_of_their_items():
    frame = log({"a": 0.3, "b": 0.8}, ("bench", "x", "y"))
    posterior = fitted(frame)
    for question, regime in ((dv.bench_level, "evaluation"), (dv.deployed_level, "deployment")):
        rows = question(posterior).where(statistic="task").to_frame()
        plain = frame.filter(regime=regime).group_by("task", "item").agg(pl.col("score").mean())
        for row in rows.iter_rows(named=True):
            mine = plain.filter(task=row["task"])["score"].to_numpy()
            assert row["median"] == pytest.approx(mine.mean(), abs=0.02)
            half = 1.664 * mine.std(ddof=1) / np.sqrt(len(mine))
            assert (row["upper"] - row["lower"]) / 2 == pytest.approx(half, rel=0.15)


@pytest.mark.prove
def test_coverage():
    """150 logs, three tasks: 90 % intervals, within three standard errors (4.2 points)."""
    truth, hits, count = {"a": 0.2, "b": 0.6, "c": 0.93}, 0, 0
    for seed in range(150):
        for level in task_levels(fitted(log(truth, items=60, seed=seed))[None], "evaluation"):
            low, high = np.quantile(level.draws, [0.05, 0.95])
            hits += low <= truth[level.task] <= high
            count += 1
    assert abs(hits / count - 0.9) < 3 * np.sqrt(0.09 / count) + 0.01


def test_a_mean_over_tasks_with_a_metric_each_is_refused():
    posterior = fitted(log({"a": 0.3, "b": 0.8}, ("bench", "x"), scorer=lambda t: f"judge of {t}"))
    for question in (dv.bench_level, dv.deployed_level):
        found = question(posterior).to_frame()
        assert found.filter(pl.col("task").is_null())["identified"].to_list() == [False]
        assert found.filter(pl.col("task").is_not_null())["identified"].all()
    gap = dv.gap(posterior)
    assert not gap.identified and "--where task=NAME" in gap.reasons[0]


@pytest.mark.parametrize("scorer", [None, lambda _: "exact", lambda t: "exact" if t != "c" else None])
def test_a_metric_that_tasks_share_makes_a_mean(scorer):
    found = dv.bench_level(fitted(log({"a": 0.3, "b": 0.8, "c": 0.5}, scorer=scorer))).to_frame()
    assert found["identified"].all() and found.filter(pl.col("task").is_not_null()).height == 3


def test_one_task_has_no_rows_of_its_own_and_one_item_no_interval():
    assert dv.bench_level(fitted(log({"a": 0.5}))).to_frame().height == 1
    frame = pl.concat([log({"a": 0.5}), log({"b": 0.5}, items=1)])
    found = dv.bench_level(fitted(frame)).to_frame().filter(task="b")
    assert found["identified"].to_list() == [False] and "1 item" in found["reason"][0]
