import pytest

from divergence.report import words


@pytest.mark.parametrize(
    ("width", "places"), [(12.0, 0), (9.9, 1), (1.0, 1), (0.12, 2), (0.0123, 3), (1e-9, 4), (0.0, 1), (float("nan"), 1)]
)
def test_digits_leave_two_of_the_width(width, places):
    assert words.digits(width) == places


@pytest.mark.parametrize(
    ("value", "unit", "width", "text"),
    [
        (0.6244, "probability", 0.04, "62.4%"),
        (-0.0341, "fraction", 0.039, "−3.4 points"),
        (-0.00004, "fraction", 0.05, "0.0 points"),
        (0.01, "fraction", 1.0, "1.0 points"),
        (-0.7061, "probability", 0.12, "−70.6%"),
        (1234.5, "s", 20.0, "1,234 s"),
        (0.0123, "usd", 0.004, "0.0123 USD"),
        (0.41, "ratio", 0.2, "0.41"),
    ],
)
def test_amounts_carry_unit_digits_and_a_real_minus(value, unit, width, text):
    assert words.amount(value, unit, width) == text


def test_a_phrase_states_the_unit_once():
    row = {"median": -0.034, "lower": -0.051, "upper": -0.012, "unit": "fraction"}
    assert words.phrase(row) == "−3.4 points (−5.1 to −1.2)"
    assert words.phrase(row | {"median": 0.034, "lower": 0.012, "upper": 0.051}, signed=True) == "+3.4 points (1.2 to 5.1)"


@pytest.mark.parametrize("width", [0.003, 0.0099, 0.05, 0.099, 0.11, 0.5])
def test_shares_side_by_side_have_a_decimal_each(width):
    assert len(words.amount(0.603, "probability", width).rstrip("%").partition(".")[2]) == (2 if width < 0.01 else 1)


def test_draws_never_show_certainty():
    assert [words.chance(p) for p in (0.0, 0.009, 0.5, 0.995, 1.0)] == [
        "less than 1%",
        "less than 1%",
        "50%",
        "more than 99%",
        "more than 99%",
    ]
    assert words.brief_chance(1.0) == "> 99%"


def test_lists_and_counts_agree_in_number():
    assert words.join([]) == ""
    assert words.join(["a"]) == "a"
    assert words.join(["a", "b", "c"]) == "a, b and c"
    assert words.join(list("abcdefg")) == "a, b, c, d and 3 more"
    assert (words.plural(1, "model"), words.plural(2, "model"), words.plural(12, "model")) == (
        "one model",
        "two models",
        "12 models",
    )
    assert [words.every(n, "row") for n in (1, 2, 3)] == ["the one row", "both rows", "all three rows"]


def test_reasons_become_sentences_and_names_stay_names():
    assert words.sentence("the log has one context") == "The log has one context."
    assert words.sentence("kv_cache_dtype never varies.") == "kv_cache_dtype never varies."


def test_diagnostics_are_shown_with_three_digits_or_whole():
    assert [words.seen(v) for v in (0.47331, 1951.4, 2.058e-07, "none")] == ["0.473", "1,951", "2.06e-07", "none"]
