"""What of answers and sessions stays: choices and numbers as they are, every other text as a hash that compares."""

import polars as pl
import pytest

from divergence.executions.importers.kept_values import answer, kept
from divergence.executions.importers.privacy import Privacy

CHOICES = (
    "A",
    "(c)",
    "[B]",
    "d.",
    "7",
    "-3.5",
    "+12",
    "1.234.567"[:5],
    "48,000",
    "12 %",
    "50%",
    "true",
    "Yes",
    "no.",
    "None",
    "",
)
TEXTS = ("Paris", "alice@example.org", "5551234567", "A B", "yes, because", "sk-1234", "Ann", "ja", "x = 1", " ", "3.14.15")


@pytest.mark.parametrize("text", CHOICES)
def test_a_choice_or_a_number_stays(text):
    assert answer(text) == text


@pytest.mark.parametrize("text", TEXTS)
def test_any_other_text_is_a_hash_and_stays_one(text):
    hashed = answer(text)
    assert hashed.startswith("sha256:") and len(hashed) == 7 + 16
    assert answer(hashed) == hashed


def test_texts_that_differ_in_space_or_form_only_are_one_answer():
    assert answer("Paris  in\nFrance ") == answer("Paris in France")
    assert answer("caf\u00e9") == answer("cafe\u0301")
    assert answer("Paris") != answer("paris") and answer("Paris") != answer("Par is")


def test_a_table_keeps_what_compares_and_no_more():
    table = pl.DataFrame(
        {"answer": ["Paris", "A", None, "Paris"], "gold": ["Paris", "B", "", None], "session": ["ann", None] * 2}
    )
    mine, other = (kept(table, Privacy(salt=salt * 32)) for salt in (b"a", b"b"))
    assert mine.select("answer", "gold").equals(other.select("answer", "gold"))  # two machines compare their answers
    assert mine["answer"][0] == mine["answer"][3] == mine["gold"][0] and mine["answer"].to_list()[1:3] == ["A", None]
    assert mine["gold"].to_list()[1:] == ["B", "", None]
    assert mine["session"][0] == mine["session"][2] != other["session"][0] and mine["session"][1] is None
    assert kept(mine, Privacy(salt=b"b" * 32)).equals(mine)  # what was hashed once stays as it is
    texts = kept(table, Privacy(keep_text=True, salt=b"a" * 32))
    assert texts["answer"].equals(table["answer"]) and texts["session"].equals(mine["session"])
