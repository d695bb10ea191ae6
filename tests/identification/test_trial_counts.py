"""Repeats that depend on what came before are no replicates; repeats whose number was settled are."""

import numpy as np
import polars as pl
import pytest

import divergence as dv
from divergence.executions import read
from divergence.identification.audit import audit


def until_success(random, p):
    runs = []
    while len(runs) < 4 and not any(runs):
        runs.append(random.random() < p)
    return runs


def more_where_they_disagree(random, p):
    runs = list(random.random(2) < p)
    return runs if runs[0] == runs[1] else [*runs, *(random.random(3) < p)]


def another_after_a_failure(random, p):
    runs = [random.random() < p]
    return runs if runs[0] else [*runs, random.random() < p]


def settled(random, p):
    return list(random.random(random.integers(1, 4)) < p)


def alike(random, p):
    return list(random.random(3) < p)


def log(rule, items=100, seed=0, regime="evaluation"):
    random = np.random.default_rng(seed)
    rows = []
    for model, level in (("A", 0.6), ("B", 0.45)):
        for i, p in enumerate(random.beta(4 * level, 4 * (1 - level), items)):
            place = {"regime": regime, "model": model, "item": f"q{i}", "context": "c"}
            rows += [place | {"trial": k, "score": float(run)} for k, run in enumerate(rule(random, p))]
    return pl.DataFrame(rows)


@pytest.mark.parametrize("rule", [until_success, more_where_they_disagree, another_after_a_failure])
@pytest.mark.parametrize("regime", ["evaluation", "deployment"])
def test_repeats_that_follow_an_outcome_are_said_and_are_no_replicates(rule, regime):
    told = read(log(rule, items=200, regime=regime))
    found = {f.name: f for f in audit(told.design)}["driven_trials"]
    assert "go" in found.sentence and "--where trial=0" in found.action and len(found.sentence) <= 300
    answer = dv.pass_power(dv.fit(told.cells, seed=0)).to_frame()
    mine = answer.filter(pl.col("statistic").is_null() | pl.col("statistic").str.starts_with("pass^"))
    refused = mine.filter(~pl.col("identified"))["reason"]
    assert refused.len() and any("settled before" in reason for reason in refused)


@pytest.mark.parametrize("rule", [settled, alike])
@pytest.mark.parametrize("seed", range(3))
def test_repeats_whose_number_was_settled_before_are_replicates(rule, seed):
    told = read(log(rule, seed=seed))
    assert "driven_trials" not in {f.name for f in audit(told.design)}
    assert dv.pass_power(dv.fit(told.cells, seed=0)).where(statistic="pass^2").to_frame()["identified"].all()


def test_a_second_judge_of_failures_is_no_second_trial():
    """Every item was tried once; what failed was judged again by somebody else."""
    random = np.random.default_rng(0)
    rows = []
    for i in range(200):
        right = float(random.random() < 0.5)
        place = {"regime": "evaluation", "model": "A", "item": f"q{i}", "context": "c", "trial": 0, "score": right}
        rows += [place | {"scorer": "one"}, *([] if right else [place | {"scorer": "two"}])]
    assert read(pl.DataFrame(rows)).design.driven_trials == ()
