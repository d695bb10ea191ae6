"""Counts by grade: each threshold is the binary outcome that the log would have had, and partitions add up."""

import numpy as np
import polars as pl
import pytest

import divergence as dv
from divergence.cells import at_least
from divergence.cells.cells import TABLES
from divergence.cells.grades import grade_totals
from divergence.simulate import simulate, world

GRADES = ("bad", "fair", "good", "best")


def _log(seed=0):
    """A log with sessions, copies of some rows and rows that nobody judged."""
    log, _ = simulate(world("sessions", n_models=2, n_contexts=2, n_items=15), seed)
    rng = np.random.default_rng(seed)
    grade = (2 * log["score"].cast(pl.Int64) + pl.Series(rng.integers(0, 2, log.height))).to_list()
    names = [GRADES[k] if rng.random() > 0.05 else None for k in grade]
    return log.with_columns(score=pl.Series(names, dtype=pl.String))


def _cells(rows, **options):
    return dv.collapse(dv.read(rows, configuration=dv.Configuration(grades=GRADES, factors=("quantization",), **options)))


@pytest.mark.parametrize("grade", GRADES[1:])
def test_a_threshold_is_the_binary_outcome_of_the_log(grade):
    log = _log()
    better = pl.col("score").is_in(GRADES[GRADES.index(grade) :]).cast(pl.Float64)
    reached = pl.when(pl.col("score").is_not_null()).then(better)
    binary = dv.collapse(
        dv.read(log.with_columns(score=reached), configuration=dv.Configuration(kind="binary", factors=("quantization",)))
    )
    threshold = at_least(_cells(log), grade)
    assert (threshold.kind, threshold.outcome) == ("binary", f"score >= {grade}")
    for table in ("counts", "sessions"):
        for column in (*TABLES[table][0], *TABLES[table][1]):
            np.testing.assert_array_equal(getattr(threshold, table)[column], getattr(binary, table)[column], err_msg=column)


def test_the_expected_grade_is_the_mean_of_the_thresholds():
    cells = _cells(_log(1))
    thresholds = sum(at_least(cells, grade).counts["y"] for grade in GRADES[1:]) / 3
    np.testing.assert_allclose(cells.counts["y"], thresholds, atol=1e-12)
    assert sum(grade_totals(cells).values()) == cells.counts["n"].sum()


def test_merge_is_the_whole():
    log = _log(2)
    first = np.random.default_rng(3).random(log.height) < 0.4
    merged, whole = dv.merge(_cells(log.filter(first)), _cells(log.filter(~first))), _cells(log)
    assert merged.levels == whole.levels
    assert merged.grade_names == GRADES
    for name in TABLES:
        for column in (*TABLES[name][0], *TABLES[name][1]):
            # thirds add up to rounding; counts exactly
            np.testing.assert_allclose(getattr(merged, name)[column], getattr(whole, name)[column], atol=1e-12, err_msg=name)
    np.testing.assert_array_equal(merged.grades["n"], whole.grades["n"])
    other = dv.collapse(dv.read(log, configuration=dv.Configuration(grades=GRADES[::-1], factors=("quantization",))))
    with pytest.raises(dv.InputError, match=r"grade_names .* cannot be merged"):
        dv.merge(whole, other)


def test_what_has_no_threshold_is_a_sentence():
    log = _log(4)
    with pytest.raises(dv.InputError, match="no threshold at the grade 'bad'"):
        at_least(_cells(log), "bad")
    with pytest.raises(dv.InputError, match="choose one of fair, good, best"):
        at_least(_cells(log), "excellent")
    without = _cells(log.with_columns(score=pl.col("score").replace({"best": "good"})))
    with pytest.raises(dv.InputError, match="no answer of the log has the grade 'best' of score; seen are bad, fair, good"):
        at_least(without, "best")
    binary = dv.collapse(dv.read(simulate(world("null", n_models=2, n_contexts=2, n_items=10), 1)[0]))
    with pytest.raises(dv.InputError, match="has no grades"):
        at_least(binary, "1")
