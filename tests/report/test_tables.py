import re

import numpy as np
import polars as pl
import pytest
from great_tables import GT

from divergence.estimate import Estimate
from divergence.report import Check, tables


def test_points_are_shown_as_percentage_points_with_sensible_digits(hand_made):
    html = tables.fragment(tables.answers(hand_made("gap", {"model": ["a"]}, [-0.0341], spread=0.02)))
    assert "−3.4" in html
    assert "−5.2" in html
    assert "median, points" in html


def test_units_may_differ_from_row_to_row():
    rows = pl.DataFrame({"factor": ["f", "f"], "statistic": [None, "variance_share"], "unit": ["fraction", "ratio"]})
    draws = np.stack([np.linspace(0.02, 0.04, 50), np.linspace(0.3, 0.5, 50)], axis=1)
    html = tables.fragment(tables.answers(Estimate("serving_effect", "", "fraction", rows, draws)))
    assert "3.0" in html
    assert "0.40" in html


def test_a_refused_number_shows_its_reason_and_no_value():
    rows = pl.DataFrame({"model": ["a", "b"]})
    draws = np.stack([np.linspace(0, 0.1, 9), np.full(9, np.nan)], axis=1)
    html = tables.fragment(
        tables.answers(Estimate("gap", "", "fraction", rows, draws, reason=(None, "b has no bench rows")))
    )
    assert "b has no bench rows" in html
    assert "nan" not in html.lower()


def test_names_are_escaped_and_the_fragment_brings_no_style(hand_made):
    html = tables.fragment(tables.answers(hand_made("gap", {"model": ["<script>alert(1)</script>"]}, [0.1])))
    assert "<script" not in html
    assert "&lt;script&gt;" in html
    assert "<style" not in html
    assert " id=" not in html


def test_long_answers_are_cut_and_say_so(hand_made):
    many = hand_made("gap", {"model": [f"m{k}" for k in range(tables.MOST_NUMBERS + 5)]}, [0.1] * (tables.MOST_NUMBERS + 5))
    assert tables.fragment(tables.answers(many)).count("<tr>") <= tables.MOST_NUMBERS + 1
    assert f"{tables.MOST_NUMBERS} of {tables.MOST_NUMBERS + 5} numbers" in tables.caption(many)


def test_caption_states_interval_kind_and_level(hand_made):
    text = tables.caption(hand_made("gap", {"model": ["a"]}, [0.1], counts={"n_rows": 1200}, method="draws"))
    assert text == "Median and 90% equal-tailed interval from 1,200 rows. Method: draws."
    one = tables.caption(hand_made("gap", {"model": ["a"]}, [0.1], counts={"n_rows": 9, "n_contexts": 1}))
    assert "9 rows, 1 context." in one


def test_numbered_models_stand_best_first(hand_made):
    answer = hand_made("bench_level", {"model": ["a", "b", "c"]}, [0.4, 0.9, 0.6], unit="probability")
    assert tables.best_first(answer) == ["b", "c", "a"]


def test_rejected_rows_are_grouped_by_file_and_rule():
    rows = pl.DataFrame(
        {"file": ["a"] * 12 + ["b"], "row": range(13), "rule": ["score"] * 13, "sentence": ["The score is 7."] * 13}
    )
    html = tables.fragment(tables.rejected(rows))
    assert "0, 1, 2, 3, 4, 5, 6, 7, …" in html
    assert html.count("The score is 7.") == 2


def test_rejected_rows_without_the_usual_columns_are_still_counted():
    assert "3" in tables.fragment(tables.rejected(pl.DataFrame({"rule": ["score"] * 3})))


def test_a_failed_check_is_said_in_words():
    html = tables.fragment(tables.checks([Check("R-hat", 1.2, "at most 1.01", False, "The chains disagree.")]))
    assert "FAILED" in html
    assert "1.2" in html


@pytest.mark.parametrize("by", [None, "group"])
@pytest.mark.parametrize("rows", [5, 1, 0])
def test_the_markup_is_that_of_great_tables(by, rows):
    """The oracle: great-tables itself, its style sheet, wrapper and ids taken out."""
    frame = pl.DataFrame(
        {
            "a": ['x <b>&"\' id="q"', "two\nlines", None, "  ", "nan"],
            "b": ["1", None, "$x_1$ **b** \\", "NA", "None"],
            "group": ["one", "<two>", "one", None, ""],
        }
    ).head(rows)
    labels = {"a": "A <x> 'q' & \"r\"", "b": "B", "group": "of"}
    shown = GT(frame.select(pl.all().cast(pl.String).fill_null("")), groupname_col=by)
    shown = shown.cols_label({name: label for name, label in labels.items() if name != by})
    shown = shown.cols_align("left", [name for name in ("a", "group") if name != by]).cols_align("right", ["b"])
    html = re.sub(r"<style>.*?</style>", "", shown.as_raw_html(), flags=re.DOTALL)
    table = html[html.index("<table") : html.index("</table>") + len("</table>")]
    table = re.sub(r' (?:id|headers|data-quarto-[a-z-]+|style)="[^"]*"', "", table)
    made = tables.banded(frame, labels, ["b"], by) if by else tables.plain(frame, labels, ["b"])
    assert tables.fragment(made) == f'<div class="scroll" tabindex="0" role="group" aria-label="Table">{table}</div>'
