"""Answers that moved against ability that moved: textbook values, a known world, and the drift of a real service."""

import pathlib

import numpy as np
import polars as pl
import pytest
from scipy.stats import norm

import divergence as dv
from divergence.configuration import Configuration
from divergence.estimands.answer_bias import split

DRIFT = pathlib.Path(__file__).parents[3] / "shared/data/llm_drift.parquet"


def _world(rng, size, criterion, regime, context, ability=1.5):
    """Evidence of class a is N(d'/2, 1), of b N(-d'/2, 1); the answer is a above the criterion."""
    gold = rng.choice(["a", "b"], size)
    evidence = np.where(gold == "a", ability / 2, -ability / 2) + rng.standard_normal(size)
    right = (evidence > criterion) == (gold == "a")
    return pl.DataFrame(
        {
            "regime": regime,
            "model": "m",
            "context": context,
            "task": "two",
            "item": [f"i{k}" for k in range(size)],
            "gold": gold,
            "score": right.astype(float),
        }
    )


def _effects(*logs, **more):
    log = dv.read(pl.concat(logs), **more) if logs else dv.read(**more)
    return dv.context_effect(dv.fit(dv.collapse(log), seed=0))


def test_textbook_values():
    assert split(np.array(0.8), np.array(0.2)) == pytest.approx((2 * norm.ppf(0.8), 0.0))
    competence, bias = split(np.array(0.9), np.array(0.5))
    assert (competence, bias) == pytest.approx((1.28155, -0.64078), abs=1e-5)


def test_a_moved_criterion_is_bias_and_a_lost_ability_is_competence():
    """1,500 trials a context: truths inside 99.9 % intervals, and the other part's interval holds 0."""
    rng = np.random.default_rng(1)
    logs = [
        _world(rng, 1500, 0.0, "evaluation", "bench"),
        _world(rng, 1500, 0.8, "deployment", "shifted"),
        _world(rng, 1500, 0.0, "deployment", "weaker", ability=0.7),
    ]
    answer = _effects(*logs)
    for context, bias, competence in (("shifted", 0.8, 0.0), ("weaker", 0.0, -0.8)):
        for statistic, truth in (("bias", bias), ("competence", competence)):
            row = answer.where(context=context, statistic=statistic)
            low, high = row.interval(0.999)[0]
            assert low < truth < high and high - low < 0.9
            assert row.rows["level"][0] == "a" and row.to_frame()["unit"][0] == "ratio"


def test_tasks_without_two_right_answers_have_none():
    rng = np.random.default_rng(2)
    logs = [
        _world(rng, 60, 0.0, r, c).with_columns(gold=pl.Series(rng.choice(["a", "b", "c"], 60)))
        for r, c in (("evaluation", "bench"), ("deployment", "live"))
    ]
    assert not (set(_effects(*logs).rows["statistic"].drop_nulls()) & {"bias", "competence"})


@pytest.mark.skipif(not DRIFT.is_file(), reason="the shared drift log is absent")
def test_the_drift_of_gpt_4_on_primes_is_bias():
    """84.0 -> 51.1 % because it stopped saying prime: 476 primes lost and none gained, 147 composites gained."""
    table = {
        "regime": {"column": "context", "evaluation": ["2023-03"]},
        "columns": {"gold": "subset"},
        "where": {"task": ["prime_full"], "model": ["gpt-4"]},
    }
    frame = pl.read_parquet(DRIFT)
    task = next(t for t in frame["task"].unique() if "prime" in t)
    table["where"]["task"] = [task]
    log = dv.read(DRIFT, configuration=Configuration.from_table(table))
    answer = dv.context_effect(dv.fit(dv.collapse(log), seed=0))
    bias, competence, one_way = (answer.where(statistic=s) for s in ("bias", "competence", "one_way"))
    assert bias.interval()[0].min() * bias.interval()[0].max() > 0 and abs(np.median(bias.draws)) > 1.5
    assert not competence.identified and "623 of the 623 answers" in competence.reason[0]
    assert one_way.interval()[0][0] > 0.98
    wide = log.valid.pivot("context", index=["item", "gold"], values="score")
    lost = wide.filter((pl.col("2023-03") == 1) & (pl.col("2023-06") == 0)).group_by("gold").len()
    gained = wide.filter((pl.col("2023-03") == 0) & (pl.col("2023-06") == 1)).group_by("gold").len()
    assert dict(lost.iter_rows()) == {"prime": 476} and dict(gained.iter_rows()) == {"composite": 147}


def test_lost_ability_sends_answers_both_ways():
    """The same 600 items twice: evidence drawn anew flips answers both ways, a moved criterion one way only."""
    rng = np.random.default_rng(4)
    gold = rng.choice(["a", "b"], 600)
    evidence = np.where(gold == "a", 0.75, -0.75) + rng.standard_normal(600)
    again = np.where(gold == "a", 0.75, -0.75) + rng.standard_normal(600)

    def log(values, criterion, regime, context):
        return pl.DataFrame(
            {
                "regime": regime,
                "model": "m",
                "context": context,
                "task": "two",
                "gold": gold,
                "item": [f"i{k}" for k in range(600)],
                "score": ((values > criterion) == (gold == "a")) * 1.0,
            }
        )

    answer = _effects(
        log(evidence, 0.0, "evaluation", "bench"),
        log(evidence, 1.0, "deployment", "shifted"),
        log(again, 0.0, "deployment", "redrawn"),
    )
    assert not answer.where(context="shifted", statistic="competence").identified
    assert answer.where(context="redrawn", statistic="competence").identified
    assert np.median(answer.where(context="redrawn", statistic="one_way").draws) < 0.6
