"""Tasks that no scorer ties together have no mean: in every question that would give one, and in each regime by itself."""

import numpy as np
import polars as pl
import pytest

import divergence as dv
from divergence.executions import read
from divergence.results import answer_all

MEANS = ("gap", "evaluation_advantage", "leaderboard", "reversal", "serving_effect", "pass_power")


def log(tasks, regimes=("evaluation", "deployment"), stray=None, items=40, trials=1):
    """Two models on the tasks of each regime; `tasks` maps a task to its scorer, of each regime or of both.

    `stray`: (task, scorer) of one more row.
    """
    random = np.random.default_rng(5)
    rows = []
    for regime in regimes:
        for context in ("bench",) if regime == "evaluation" else ("web", "app"):
            for task, scorer in tasks.get(regime, tasks).items():
                rows += [
                    {
                        "regime": regime,
                        "context": context,
                        "model": model,
                        "task": task,
                        "item": f"{task}{i}",
                        "scorer": scorer,
                        "score": float(random.random() < 0.7),
                        "engine": context,
                        "trial": trial,
                    }
                    for model in "AB"
                    for i in range(items)
                    for trial in range(trials)
                ]
    if stray:
        rows.append(rows[0] | {"task": stray[0], "scorer": stray[1], "item": "stray"})
    return pl.DataFrame(rows)


def answered(frame, items="new"):
    read_log = read(frame, configuration=dv.Configuration(items=items))
    answers = answer_all(dv.fit(read_log.cells, seed=0), None, dv.Configuration(items=items))
    said = {a.question: a for a in read_log.answers()}
    differ = [n for n, a in said.items() if a.identified != answers[n].identified and not (a.identified and a.depends)]
    assert differ == []
    return answers


def means(answers, question):
    """Are the rows about all tasks of a level identified?"""
    return answers[question].to_frame().filter(pl.col("task").is_null())["identified"].to_list()


UNLIKE = {"prime": "accuracy", "happy": "accuracy", "code": "executable", "opinion": "response_rate"}
CHAIN = {"a": "exact", "b": "exact", "c": "judge"}


@pytest.mark.parametrize(
    ("tasks", "stray", "metrics"),
    [
        (UNLIKE, None, 3),
        (UNLIKE, ("prime", "response_rate"), 3),
        (CHAIN, None, 2),
        ({"a": "s", "b": "t", "c": None}, None, 2),
    ],
)
def test_a_scorer_of_two_tasks_or_a_stray_row_makes_no_mean_of_the_others(tasks, stray, metrics):
    answers = answered(log(tasks, stray=stray))
    for question in MEANS:
        assert not answers[question].identified, question
    for question in ("bench_level", "deployed_level"):
        assert not any(means(answers, question))
        assert answers[question].to_frame().filter(pl.col("task").is_not_null())["identified"].any()
    assert len(answers["gap"].reasons[0]) <= 300
    if stray is None and metrics == 3:
        assert (
            "the 4 tasks have 3 metrics (code: executable; happy: accuracy; opinion: response_rate)"
            in (answers["gap"].reasons[0])
        )


@pytest.mark.parametrize(
    "tasks",
    [
        {"a": "exact", "b": "exact"},
        {"a": "exact_match,none", "b": "choice"},
        {"a": None, "b": None},
        {"a": "exact", "b": None},
    ],
)
def test_like_tasks_have_a_mean(tasks):
    answers = answered(log(tasks))
    assert all(means(answers, "bench_level")) and answers["gap"].identified and answers["leaderboard"].identified


def test_a_task_and_a_judge_of_its_own_in_each_regime_leave_levels_but_no_comparison():
    answers = answered(log({"evaluation": {"mmlu": "exact"}, "deployment": {"support": "user"}}))
    assert all(means(answers, "bench_level")) and all(means(answers, "deployed_level"))
    assert answers["leaderboard"].identified and answers["serving_effect"].identified
    for question in ("gap", "reversal", "evaluation_advantage"):
        assert not answers[question].identified, question
    against_bench = (
        answers["context_effect"].to_frame().filter(pl.col("context").is_not_null(), pl.col("context_b").is_null())
    )
    assert not against_bench.filter(pl.col("statistic").is_null())["identified"].any()


@pytest.mark.parametrize("scorer", ["exact", "acc"])
def test_another_task_of_the_same_metric_is_compared(scorer):
    assert answered(log({"evaluation": {"mmlu": "exact"}, "deployment": {"support": scorer}}))["gap"].identified


def test_levels_of_observed_items_have_no_rows_of_tasks_to_fall_back_on():
    answers = answered(log(UNLIKE), items="observed")
    assert not answers["bench_level"].identified and not answers["deployed_level"].identified
    assert "Read the rows" not in answers["bench_level"].reasons[0]
