"""Rows that are there more than once: copies of a log count once, runs that are numbered count as what they are."""

import numpy as np
import polars as pl
import pytest

import divergence as dv


def log(items=60, trials=1, numbered=False, seed=2, contexts=("bench", "x")):
    random = np.random.default_rng(seed)
    rows = [
        {
            "regime": "evaluation" if c == "bench" else "deployment",
            "model": "m",
            "context": c,
            "item": f"i{i}",
            "score": float(random.random() < 0.6),
        }
        | ({"trial": t} if numbered else {})
        for c in contexts
        for i in range(items)
        for t in range(trials)
    ]
    return pl.DataFrame(rows)


@pytest.mark.parametrize("times", [2, 3, 5])
@pytest.mark.parametrize("shuffled", [False, True])
def test_a_log_given_several_times_counts_once(times, shuffled):
    once = log(trials=2)
    again = pl.concat([once] * times)
    again = again.sample(fraction=1.0, shuffle=True, seed=0) if shuffled else again
    read = dv.read(again)
    assert read.counts.valid == once.height and read.counts.rejected == {"row_once": (times - 1) * once.height}
    assert f"there {times} times" in read.notes[0] and "column trial" in read.notes[0]
    one, other = (dv.excess_flips(dv.fit(dv.collapse(r), seed=0)).to_frame() for r in (dv.read(once), read))
    columns = ["context", "context_b", "median", "lower", "upper", "identified"]
    assert one.select(columns).equals(other.select(columns))


def test_one_odd_row_makes_them_runs():
    once = log()
    assert dv.read(pl.concat([once, once, once[:1]])).counts.rejected == {}


@pytest.mark.parametrize("items", [4, 9])
def test_a_handful_of_rows_twice_is_no_evidence(items):
    once = log(items=items)
    assert dv.read(pl.concat([once, once])).counts.rejected == {}


def test_numbered_runs_that_agree_are_runs():
    greedy = log(numbered=True)
    both = pl.concat([greedy, greedy.with_columns(trial=pl.lit(1))], how="vertical_relaxed")
    assert dv.read(both).counts.rejected == {}


def test_a_numbered_run_logged_again_is_a_copy():
    runs = log(trials=3, numbered=True)
    read = dv.read(pl.concat([runs, runs[:40]]))
    assert read.counts.rejected == {"row_once": 40} and "its number included" in read.notes[0]
    # and an equal number with another outcome is a contradiction for others to judge, no copy
    other = runs[:40].with_columns(score=1 - pl.col("score"))
    assert dv.read(pl.concat([runs, other])).counts.rejected == {}


def test_copies_do_not_make_a_log_misread():
    """Three in four rows are copies; the share of bad values is that of the others."""
    once = log(items=100)
    bad = once.with_columns(score=pl.when(pl.int_range(pl.len()) < 4).then(7.0).otherwise("score"))
    read = dv.read(pl.concat([bad] * 4))
    assert read.counts.rejected == {"row_once": 3 * 200, "score_in_range": 4}
