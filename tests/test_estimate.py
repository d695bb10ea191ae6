"""The value that every answer is: shapes, reductions, refusals."""

import numpy as np
import polars as pl
import pytest

from divergence.errors import ArgumentError
from divergence.estimate import COORDINATES, SCHEMA, Estimate, table


def _estimate(**fields):
    draws = np.linspace(0, 1, 1001)[:, None] * np.array([1.0, 2.0])
    rows = pl.DataFrame({"model": ["a", "b"], "context": [None, "c"]})
    return Estimate("gap", "a question", "fraction", rows, draws, **fields)


def test_table_has_the_columns_of_the_contract():
    contract = [
        "question",
        "statistic",
        "regime",
        "model",
        "model_b",
        "context",
        "context_b",
        "factor",
        "level",
        "task",
        "item",
        "axis",
        "outcome",
        "mean",
        "median",
        "sd",
        "lower",
        "upper",
        "interval",
        "unit",
        "identified",
        "reason",
        "noise_floor",
        "n_rows",
        "n_items",
        "n_sessions",
        "n_contexts",
        "method",
    ]
    assert _estimate().to_frame().columns == contract == list(SCHEMA)


def test_reductions_are_those_of_the_draws():
    frame = _estimate().to_frame()
    np.testing.assert_allclose(frame["mean"], [0.5, 1.0])
    np.testing.assert_allclose(frame["lower"], [0.05, 0.1])
    np.testing.assert_allclose(frame["upper"], [0.95, 1.9])
    np.testing.assert_allclose(_estimate().contrast(1, 0), np.linspace(0, 1, 1001))
    np.testing.assert_allclose(_estimate().interval(0.5), [[0.25, 0.75], [0.5, 1.5]])


def test_a_refused_number_is_null_and_says_why():
    frame = _estimate(reason=(None, "no rows")).to_frame()
    assert frame["mean"].to_list()[1] is None
    assert frame["identified"].to_list() == [True, False]
    assert frame["reason"][1] == "no rows"


def test_bounds_are_shown_though_not_identified():
    frame = _estimate(reason=("why", "why"), bounds=np.array([True, False])).to_frame()
    assert frame["mean"].is_null().to_list() == [False, True]
    assert not frame["identified"].any()


def test_refusing_gives_one_row():
    refusal = Estimate.refused("gap", "a question", "fraction", "nothing there")
    assert not refusal.identified
    assert refusal.reasons == ("nothing there",)
    assert refusal.to_frame().height == 1


def test_where_takes_rows():
    assert _estimate().where(model="b").rows.height == 1
    assert _estimate().where(context=None).rows["model"].to_list() == ["a"]
    assert _estimate().where(level="x").rows.height == 0
    assert _estimate().dims == ("model", "context")
    with pytest.raises(ArgumentError, match="model='a'"):
        _estimate().where("b")


def test_yes_or_no_has_a_probability_and_no_interval():
    draws = np.stack([np.arange(40) < 10, np.ones(40)], axis=1).astype(float)
    shown = repr(Estimate("reversal", "", "probability", pl.DataFrame({"model": ["a", "b"]}), draws))
    assert "0.25" in shown and "0 .. 1" not in shown and "1 .. 1" in shown


def test_wrong_shapes_are_errors():
    rows = pl.DataFrame({"model": ["a"]})
    with pytest.raises(ValueError, match="draws"):
        Estimate("q", "t", "fraction", rows, np.zeros((5, 2)))
    with pytest.raises(ValueError, match="reasons"):
        Estimate("q", "t", "fraction", rows, np.zeros((5, 1)), reason=("a", "b"))


def test_it_prints_as_a_table_and_escapes_html():
    one = _estimate()
    assert "0.05 .. 0.95" in repr(one)
    evil = Estimate("q", "<script>", "fraction", pl.DataFrame({"model": ["<b>"]}), np.zeros((3, 1)))
    assert "<script>" not in evil._repr_html_()
    assert "<b>&" not in evil._repr_html_()


def test_tables_stack():
    assert table([_estimate(), _estimate()]).height == 4
    assert table([]).columns == list(SCHEMA)
    assert set(COORDINATES) <= set(SCHEMA)


def test_rows_that_do_not_exist_are_an_empty_table():
    answer = Estimate("gap", "text", "fraction", pl.DataFrame({"model": ["a"]}), np.zeros((3, 1)))
    assert answer.where(model="b").to_frame().height == 0
