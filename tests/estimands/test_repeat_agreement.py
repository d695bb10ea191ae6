"""Total agreement of repeated runs, counted item by item."""

import numpy as np
import polars as pl
import pytest

import divergence as dv


def log(runs=4, items=60, seed=0, answers=True):
    random = np.random.default_rng(seed)
    rows = []
    for i in range(items):
        steady = i % 3 > 0
        for t in range(runs):
            answer = "a" if steady else str(random.choice(["a", "b", "c"]))
            row = {
                "regime": "evaluation",
                "model": "m",
                "context": "c",
                "item": f"i{i}",
                "trial": t,
                "score": float(answer == "a"),
            }
            rows.append(row | ({"answer": answer} if answers else {}))
    return pl.DataFrame(rows)


def rows_of(frame):
    found = dv.pass_power(dv.fit(dv.collapse(dv.read(frame)), seed=0)).to_frame()
    return {r["statistic"]: r for r in found.filter(pl.col("statistic").str.starts_with("agreement")).iter_rows(named=True)}


@pytest.mark.parametrize("runs", [2, 5])
def test_it_is_the_plain_count(runs):
    frame = log(runs)
    found = rows_of(frame)
    for statistic, column in (("agreement", "score"), ("agreement_answers", "answer")):
        plain = (frame.group_by("item").agg(pl.col(column).n_unique() == 1)[column]).mean()
        assert found[statistic]["mean"] == pytest.approx(plain, abs=2e-3) and found[statistic]["level"] == str(runs)
        assert found[statistic]["lower"] < plain < found[statistic]["upper"]


def test_answers_agree_no_more_often_than_their_scores():
    found = rows_of(log())
    assert found["agreement_answers"]["mean"] <= found["agreement"]["mean"]


def test_items_with_fewer_runs_are_left_out_and_single_runs_give_nothing():
    frame = log()
    ragged = frame.filter(~((pl.col("item") == "i0") & (pl.col("trial") > 0)))
    assert rows_of(ragged)["agreement"]["n_items"] == 59
    assert rows_of(frame.filter(trial=0)) == {}


def test_all_alike_is_not_called_certain():
    frame = (
        log()
        .with_columns(score=pl.lit(1.0), answer=pl.lit("a"))
        .with_columns(score=pl.when(pl.col("item") == "i1").then(0.0).otherwise("score"))
    )
    row = rows_of(frame)["agreement_answers"]
    assert row["lower"] > 0.9 and row["lower"] < 1
