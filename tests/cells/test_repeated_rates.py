"""A published rate that is repeated over the same items adds no items."""

import polars as pl
import pytest

import divergence as dv


def rates(times, score=0.31, n=100, **more):
    rows = [
        {"regime": "deployment", "model": "m", "context": c, "score": score, "score_n": n, "trial": t} | more
        for c in ("a", "b")
        for t in range(times)
    ]
    return pl.DataFrame(rows)


def interval(frame):
    found = dv.deployed_level(dv.fit(dv.collapse(dv.read(frame)), seed=0)).to_frame()
    return found.select("lower", "median", "upper").row(0)


@pytest.mark.parametrize("more", [{"item": "maths"}, {"item": None}, {"item": "maths", "task": "t"}])
@pytest.mark.parametrize("times", [2, 10])
def test_runs_over_the_same_items_know_no_more_of_them(times, more):
    frame = rates(times, **more).cast({"item": pl.String})
    assert interval(frame) == pytest.approx(interval(rates(1, **more).cast({"item": pl.String})), abs=1e-5)


def test_runs_that_differ_count_as_their_mean():
    frame = rates(2, item="maths").with_columns(score=pl.when(pl.col("trial") == 0).then(0.2).otherwise(0.4))
    cells = dv.collapse(dv.read(frame))
    assert cells.counts["n"].sum() == 200 and cells.counts["y"].sum() == pytest.approx(60)


def test_other_strata_and_unnamed_rates_are_items_of_their_own():
    two = pl.concat([rates(1, item="maths"), rates(1, item="code")])
    assert dv.collapse(dv.read(two)).counts["n"].sum() == 400
    assert dv.collapse(dv.read(rates(3).drop("trial"))).counts["n"].sum() == 600
