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


def timed(digits, trials=3, seed=4):
    """Unnumbered trials with a latency (about .4 s, of an item alike within a tenth) that is rounded to so many digits."""
    runs, random = log(items=100, trials=trials, seed=seed), np.random.default_rng(seed)
    own = dict(zip(runs["item"].unique(maintain_order=True), random.gamma(16, 0.025, 100), strict=True))
    latency = [own[item] * random.normal(1, 0.1) for item in runs["item"]]
    return runs.with_columns(latency_s=pl.Series(latency).round(digits))


@pytest.mark.parametrize("part", [0.5, 0.1])
@pytest.mark.parametrize("digits", [3, 9])
def test_a_part_that_was_pasted_twice_is_seen_by_its_times(part, digits):
    once = timed(digits)
    again = pl.concat([once, once.sample(fraction=part, seed=1)])
    read = dv.read(again)
    copies = again.height - once.height
    assert abs(read.counts.rejected["row_once"] - copies) <= 0.02 * once.height
    assert "latency_s to its last digit" in read.notes[0]


@pytest.mark.parametrize("digits", [1, 2, 3, 9])
@pytest.mark.parametrize("trials", [1, 3])
def test_times_that_are_equal_because_they_are_rounded_make_no_copies(digits, trials):
    assert dv.read(timed(digits, trials)).counts.rejected == {}


@pytest.mark.parametrize("part", [1.0, 0.2])
@pytest.mark.parametrize("name", ["execution_id", "uuid"])
def test_copies_under_ids_of_their_own_are_said_and_count(part, name):
    once = timed(6)
    again = pl.concat([once, once.sample(fraction=part, seed=1)])
    again = again.with_columns((pl.lit("id-") + pl.int_range(pl.len()).cast(pl.String)).alias(name))
    read = dv.read(again, configuration=dv.Configuration.from_table({"columns": {"execution_id": name}}))
    assert read.counts.valid == again.height
    (said,) = [caution for caution in read.cautions if "an id of their own" in caution]
    assert f"{again.height - once.height:,} of {again.height:,} rows" in said and f"one id in {name}." in said


@pytest.mark.parametrize("digits", [1, 2, 9])
def test_runs_with_ids_are_no_copies(digits):
    runs = timed(digits).with_columns(execution_id=pl.lit("id-") + pl.int_range(pl.len()).cast(pl.String))
    assert not [caution for caution in dv.read(runs).cautions if "an id of their own" in caution]


def test_what_is_there_twice_under_one_id_is_a_duplicate_and_no_copy_under_another():
    runs = timed(6).with_columns(execution_id=pl.lit("id-") + pl.int_range(pl.len()).cast(pl.String))
    for given in (pl.concat([runs, runs.head(12)]), [runs, runs.head(12)]):  # in one file, and in two
        read = dv.read(given, accept_rejected=1.0)
        assert read.counts.rejected == {"execution_id_unique": 12}
        assert not [caution for caution in read.cautions if "an id of their own" in caution]
