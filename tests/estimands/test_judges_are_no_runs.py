"""Several scorers of one answer are judges: they add no trial of it, whatever is counted over trials."""

import numpy as np
import polars as pl
import pytest

import divergence as dv


def judged(runs, judges, agree=1.0, seed=1, items=40, contexts=("c",), rate=0.65):
    """Runs of items, each judged by all the judges, who say the same with the chance `agree`."""
    random = np.random.default_rng(seed)
    rows = []
    for c in contexts:
        for i in range(items):
            hard = random.beta(4 * rate, 4 * (1 - rate))
            for t in range(runs):
                truth = random.random() < hard
                for j in judges:
                    said = truth if random.random() < agree else random.random() < rate
                    answer = "yes" if truth else f"no {random.integers(3)}" if j == judges[0] else rows[-1]["answer"]
                    place = {"regime": "deployment", "model": "A", "context": c, "item": f"q{i}", "trial": t}
                    rows.append(place | {"scorer": j, "score": float(said), "answer": answer})
    return pl.DataFrame(rows)


def asked(frame):
    log = dv.read(frame)
    return {a.question: a for a in log.answers()}, dv.fit(dv.collapse(log), seed=0)


def known(estimate, statistic):
    return estimate.to_frame().filter(pl.col("statistic") == statistic)["identified"].to_list()


@pytest.mark.parametrize(("judges", "agree"), [("abc", 1.0), ("ab", 0.5), ("abcd", 0.8)])
def test_one_answer_of_several_judges_is_one_trial(judges, agree):
    check, posterior = asked(judged(1, list(judges), agree))
    assert "with one trial each: only the first power" in check["pass_power"].reason
    power = dv.pass_power(posterior)
    assert known(power, "pass^1") == [True] and known(power, "pass^2") == [False]
    assert known(power, "task_correlation") == [False] and known(power, "pass^2_model") == [False]
    assert known(power, "agreement") == [] and known(power, "agreement_answers") == []
    cost = dv.cost_per_success(posterior)
    assert not cost.identified and not check["cost_per_success"].identified


@pytest.mark.parametrize("judges", ["ab", "abc"])
def test_judges_that_agree_change_no_number(judges):
    frame = judged(3, list(judges))
    _, several = asked(frame)
    _, one = asked(frame.filter(scorer="a"))
    for statistic in ("pass^1", "pass^2", "pass^3", "task_correlation", "agreement", "agreement_answers"):
        told = [
            dv.pass_power(p).where(statistic=statistic).to_frame().select("mean", "lower", "upper").row(0)
            for p in (several, one)
        ]
        np.testing.assert_allclose(*told, atol=0.03 if statistic == "task_correlation" else 0.012)
    tries = [dv.cost_per_success(p).where(statistic="expected_attempts").draws[:, 0] for p in (several, one)]
    assert np.mean(tries[0]) == pytest.approx(np.mean(tries[1]), abs=0.03)
    assert np.std(tries[0]) == pytest.approx(np.std(tries[1]), rel=0.15), "more judges make no task better known"


def test_judges_that_differ_are_averaged_not_multiplied():
    """Two runs, one judge who passes all and one who passes none: half, whatever the power."""
    _, posterior = asked(judged(2, ["a", "b"]).with_columns(score=(pl.col("scorer") == "a").cast(pl.Float64)))
    power = dv.pass_power(posterior)
    for k in (1, 2):
        assert power.where(statistic=f"pass^{k}").draws.mean() == pytest.approx(0.5, abs=0.03)


def test_answers_that_several_judges_saw_are_no_replicates_of_each_other():
    _, posterior = asked(judged(1, ["a", "b", "c"], contexts=("c", "d")))
    rows = dv.excess_flips(posterior).to_frame().filter(pl.col("statistic") == "answers")
    assert rows.height and not rows["identified"].any()
    _, twice = asked(judged(2, ["a", "b"], contexts=("c", "d")))
    rows = dv.excess_flips(twice).to_frame().filter(pl.col("statistic") == "answers")
    assert rows["identified"].all()
