"""The figure of any answer: what is drawn is what the table says, and what is not drawn is said."""

import numpy as np
import polars as pl
import pytest

import divergence as dv
from divergence.report.figures.plot import caption, rows
from divergence.shown import ROWS


def _answer(draws, columns, **fields):
    return dv.Estimate("gap", "a difference", "fraction", pl.DataFrame(columns), np.asarray(draws, float), **fields)


def test_the_figure_shows_the_numbers_in_shown_units():
    answer = _answer(np.random.default_rng(0).normal(0.02, 0.01, (400, 2)), {"model": ["a", "b"]})
    drawn, frame = rows(answer), answer.to_frame()
    np.testing.assert_allclose(drawn["middle"], frame["median"] * 100)
    np.testing.assert_allclose(drawn["lower"], frame["lower"] * 100)
    assert drawn["name"].to_list() == ["a", "b"]
    spec = answer.plot().to_dict()
    assert {layer["mark"]["type"] for layer in spec["layer"]} >= {"rule", "point"}
    assert len(next(iter(spec["datasets"].values()))) == 2


def test_yes_or_no_draws_have_a_probability_and_no_line():
    answer = _answer(np.array([[0.0], [1.0], [1.0], [1.0]]), {"model": ["a"]})
    drawn = rows(answer)
    assert drawn["middle"][0] == drawn["lower"][0] == drawn["upper"][0] == 75.0


def test_headline_rows_and_one_unit_are_drawn_and_the_rest_is_counted():
    answer = _answer(
        np.tile([0.1, 0.2, 0.3, 0.4], (3, 1)),
        {"model": list("abcd"), "statistic": [None, None, "B", None], "unit": ["fraction", "fraction", "fraction", "ratio"]},
    )
    drawn = rows(answer)
    assert drawn["name"].to_list() == ["a", "b"]
    assert "two more numbers" in caption(answer, drawn)


def test_long_answers_are_cut_and_refusals_are_counted():
    reasons = (None,) * 29 + ("no rows",)
    draws = np.full((3, 30), 0.1)
    draws[:, 29] = np.nan
    answer = _answer(draws, {"model": [str(k) for k in range(30)]}, reason=reasons)
    spec = answer.plot().to_dict()
    sizes = {len(data) for data in spec["datasets"].values()}
    assert ROWS in sizes and max(sizes) == ROWS
    assert "nine more numbers" in caption(answer, rows(answer)) and "one number" in caption(answer, rows(answer))


def test_a_refused_answer_has_no_figure_but_its_reason():
    with pytest.raises(dv.NotIdentifiedError, match="it needs two regimes"):
        dv.Estimate.refused("gap", "a gap", "fraction", "it needs two regimes").plot()


def test_names_are_short():
    answer = _answer(np.zeros((3, 1)) + 0.1, {"model": ["m" * 200]})
    assert len(rows(answer)["name"][0]) <= 48
