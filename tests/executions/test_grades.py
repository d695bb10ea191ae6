"""Graded answers: declared, read as their place, refused where they are no grades."""

import numpy as np
import polars as pl
import pytest

import divergence as dv


def _rows(score, **columns):
    return pl.DataFrame(
        {"regime": "evaluation", "model": "m", "item": [f"i{k}" for k in range(len(score))], "context": "c", "score": score}
        | columns
    )


def _read(rows, **options):
    return dv.read(rows, configuration=dv.Configuration.from_table(options))


@pytest.mark.parametrize(
    ("score", "grades"),
    [
        ([0, 1, 2, 3, None], 4),
        ([0.0, 1.0, 2.0, 3.0, float("nan")], [0, 1, 2, 3]),
        ([1, 2, 3, 4, None], [1.0, 2, 3, 4]),
        (["0", " 1", "2 ", "3", ""], 4),
        (["bad", "fair", "good", "best", None], ["bad", "fair", "good", "best"]),
    ],
)
def test_a_grade_is_its_place_over_the_best(score, grades):
    log = _read(_rows(score), grades=grades)
    assert log.kind == "ordinal"
    np.testing.assert_allclose(log.valid["outcome"].to_list()[:4], np.arange(4) / 3)
    assert log.valid["outcome"][4] is None
    assert log.counts.unjudged == 1
    assert "4 values are one of the grades" in log.kind_reason


def test_what_is_no_grade_is_set_aside():
    log = dv.read(_rows([0, 1, 2] * 10 + [7]), configuration=dv.Configuration.from_table({"grades": 3}))
    told = log.rejected.select("rule", "sentence", "value").row(0)
    assert told == ("score_type", "score is not one of the grades 0, 1, 2", "7")


def test_a_graded_metric_of_another_table():
    rows = _rows([0.0, 1.0, 1.0]).drop("score").with_columns(execution_id=pl.Series(["a", "b", "c"]))
    graded = pl.DataFrame({"execution_id": list("abc"), "metric": "helpful", "value": [2.0, 4.0, 5.0], "scorer": "judge"})
    log = dv.read([rows, graded], configuration=dv.Configuration(outcome="helpful", grades=("1", "2", "3", "4", "5")))
    assert log.valid.sort("execution_id")["outcome"].to_list() == [0.25, 0.75, 1.0]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"kind": "ordinal"}, "not which grades it has: say grades = 5"),
        ({"kind": "binary", "grades": 3}, "an outcome with grades is ordinal"),
        ({"grades": 1}, "seen 1"),
        ({"grades": 400}, "2 to 20, seen 400"),
        ({"grades": ["a", "a"]}, "each grade once"),
        ({"grades": "many"}, "list of them"),
        ({"grades": True}, "seen True"),
    ],
)
def test_what_was_declared_must_make_sense(options, sentence):
    with pytest.raises(dv.InputError, match=sentence):
        _read(_rows([0, 1, 0]), **options)


def test_a_mean_of_grades_is_no_grade():
    with pytest.raises(dv.InputError, match="a mean of grades is no grade"):
        _read(_rows([0, 1, 2], score_n=[1, 5, 1]), grades=3)


def test_grades_that_were_not_declared_say_what_to_do():
    with pytest.raises(dv.InputError, match="is it a grade"):
        _read(_rows([0, 1, 2, 3]))


def test_an_outcome_beside_the_grades_is_not_graded():
    log = _read(_rows([0, 1, 2], latency_s=[0.5, 1.0, 2.0]), grades=3)
    assert dv.collapse(log, outcome="latency_s").kind == "positive"
