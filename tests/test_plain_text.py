"""Is the normal form Unicode's own, and is it made in a time that grows as the text does?"""

import time
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from divergence.comparison import near_ids
from divergence.executions.importers import kept_values
from divergence.executions.importers.privacy import Privacy
from divergence.plain_text import MOST_MARKS, nfkc
from divergence.probe import scoring

MARKS = "\u0301\u0323\u0327\u05b4\u0345\u0f73\uff9e\u3099\u0344\u0334"  # some are no marks until they are taken apart
LETTERS = "aeE\u00e9\ufb1d\u0f71\uff76\ufdfa\u1100\uac00\u1161\u00b4 \u212a\ud800"
long_runs = st.lists(st.tuples(st.sampled_from(LETTERS), st.text(alphabet=MARKS, max_size=90)), max_size=4).map(
    lambda parts: "".join(letter + marks for letter, marks in parts)
)
LONG = {  # a run whose marks are out of order, some only once they are taken apart
    "two classes": "a" + "\u0301" * 60_000 + "\u0323" * 60_000,
    "alternating": "\u0301\u0323\u0327" * 50_000,
    "half-width": "\uff76" + "\uff9e" * 60_000 + "\u0334" * 60_000,
    "tibetan": "\u0f73\u0f71" * 60_000,
    "composed": "\u00e9" + "\u0344\u0323" * 60_000,
}


def marks_in_a_row(text: str) -> int:
    most = run = 0
    for letter in unicodedata.normalize("NFKD", text):
        run = run + 1 if unicodedata.combining(letter) else 0
        most = max(most, run)
    return most


@given(st.text(max_size=60) | long_runs)
def test_texts_without_a_long_run_have_unicodes_own_form(text):
    own = unicodedata.normalize("NFKC", text)
    assert (nfkc(text) == own) == (marks_in_a_row(text) <= MOST_MARKS)


@given(st.text(max_size=60) | long_runs)
def test_it_is_applied_once(text):
    once = nfkc(text)
    assert nfkc(once) == once == nfkc(unicodedata.normalize("NFKC", once)) and marks_in_a_row(once) <= MOST_MARKS
    assert nfkc(unicodedata.normalize("NFD", once)) == once


@pytest.mark.parametrize("text", LONG.values(), ids=LONG)
def test_a_stranger_cannot_make_it_slow(text):
    """Hours, were the marks sorted at once. Each of those who ask for a normal form is asked."""
    began = time.process_time()
    assert unicodedata.is_normalized("NFKC", nfkc(text))
    item = {"scorer": "exact", "gold": "4", "item": "i"}
    answer, score = scoring.score(text, item)
    assert score == scoring.lenient(text, item, score) == 0 and answer == scoring.tidy(answer)
    assert scoring.number(text) is None and scoring.lenient(text, {**item, "scorer": "number"}, 0.0) == 0
    assert not near_ids.alike([text], ["b"]) and len(near_ids.alike([text], [f" {text}"])) == 1
    assert kept_values.answer(text).startswith("sha256:")
    privacy = Privacy(False, b"salt")
    assert privacy.prompt_item(text) == privacy.prompt_item(f"{text} ") != privacy.prompt_item(f"{text}b")
    assert time.process_time() - began < 60
