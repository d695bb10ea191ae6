"""Does each scorer accept the right answer in the form asked for, and nothing else?"""

import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from divergence.errors import InputError
from divergence.probe import bounded_pattern, scoring


def item(scorer, gold, **more):
    return {"scorer": scorer, "gold": gold} | more


@pytest.mark.parametrize(
    ("row", "text", "answer", "score"),
    [
        (item("exact", "Paris"), " Paris.", "paris", 1),
        (item("exact", "Paris"), "PARIS", "paris", 1),
        (item("exact", "Paris"), "Paris, France", "paris, france", 0),
        (item("exact", "Paris"), "", "", 0),
        (item("contains", "Paris"), "It is Paris.", "paris", 1),
        (item("contains", "Paris"), "Parisian", "parisian", 0),
        (item("contains", "c++"), "I like C++ a lot", "c++", 1),
        (item("number", "12"), " 12.", "12", 1),
        (item("number", "12"), "12.0", "12", 1),
        (item("number", "1200"), "1,200", "1200", 1),
        (item("number", "12"), "12 apples", "12 apples", 0),
        (item("number", "12"), "-12", "-12", 0),
        (item("number", "12"), "1,2", "1,2", 0),
        (item("number", "12"), "nan", "nan", 0),
        (item("number", "12"), "twelve", "twelve", 0),
        (item("choice", "yes", choices=["yes", "no"]), "Yes!", "yes", 1),
        (item("choice", "yes", choices=["yes", "no"]), "no", "no", 0),
        (item("choice", "yes", choices=["yes", "no"]), "yes and no", "yes and no", 0),
        (item("regex", "7", pattern=r"answer: (\d+)"), "answer: 7", "7", 1),
        (item("regex", "7", pattern=r"answer: (\d+)"), "answer: 8", "8", 0),
        (item("regex", "7", pattern=r"answer: (\d+)"), "the answer: 7", "the answer: 7", 0),
        (item("regex", "", pattern=r"[ab]+"), "abba", "abba", 1),
    ],
)
def test_table(row, text, answer, score):
    assert scoring.score(text, row) == (answer, float(score))


@given(st.text(max_size=40))
def test_tidying_twice_changes_nothing(text):
    assert scoring.tidy(scoring.tidy(text)) == scoring.tidy(text)


@given(st.text(max_size=40), st.sampled_from(["exact", "contains", "number", "choice", "regex"]))
def test_any_text_gets_a_score_of_0_or_1(text, scorer):
    row = item(scorer, "5", choices=["5", "6"], pattern=r"(\w+)")
    answer, score = scoring.score(text, row)
    assert isinstance(answer, str) and score in (0.0, 1.0)
    if score == 1.0:  # strict: whatever is right says 5 somewhere
        assert "5" in scoring.tidy(text)


@given(st.integers(-(10**6), 10**6))
def test_every_integer_is_read_back(value):
    assert scoring.number(str(value)) == value == scoring.number(f"{value:,}")


@given(st.text(alphabet="abcdefg", min_size=1, max_size=5), st.text(alphabet="abcdefg", min_size=1, max_size=5))
def test_contains_wants_whole_words(gold, other):
    assert scoring.score(f"so {gold} then", item("contains", gold))[1] == 1.0
    assert scoring.score(f"{other}{gold}{other}", item("contains", gold))[1] == 0.0


@pytest.mark.parametrize(
    ("row", "text", "value"),
    [
        (item("exact", "Paris"), "It is Paris, in France", 1),
        (item("exact", "Paris"), "Parisian", 0),
        (item("number", "12"), "3 + 9 = 12 apples", 1),
        (item("number", "12"), "12, no, 13", 0),
        (item("number", "1200"), "about 1,200", 1),
        (item("number", "12"), "v12", 0),
        (item("choice", "yes", choices=["yes", "no"]), "Yes, of course", 1),
        (item("choice", "yes", choices=["yes", "no"]), "yes or no", 0),
        (item("regex", "7", pattern=r"answer: (\d+)"), "well, answer: 7!", 1),
        (item("contains", "Paris"), "Parisian", 0),
    ],
)
def test_a_lenient_score_finds_the_answer_in_the_text(row, text, value):
    assert scoring.lenient(text, row, scoring.score(text, row)[1]) == value


@given(st.text(), st.sampled_from(["exact", "contains", "number", "choice"]))
def test_lenient_is_never_below_strict(text, scorer):
    row = item(scorer, "12", choices=["12", "13"])
    strict = scoring.score(text, row)[1]
    assert scoring.lenient(text, row, strict) >= strict


def test_a_users_scorer_is_a_function_of_text_and_item(tmp_path):
    bodies = {"length": "text, min(len(text) / 10, 1)", "broken": "text[99], 1", "wild": "text, 7"}
    (tmp_path / "own.py").write_text("".join(f"def {n}(text, item):\n    return {b}\n" for n, b in bodies.items()))
    known = scoring.functions(tmp_path / "own.py")
    row = item("python:length", "") | {"item": "q"}
    scoring.check(row, "items.jsonl line 1", known)
    assert scoring.score("hello", row, known) == ("hello", 0.5)
    for name, words in (("broken", "IndexError"), ("wild", "from 0 to 1")):
        with pytest.raises(InputError, match=words):
            scoring.score("x", row | {"scorer": f"python:{name}"}, known)
    with pytest.raises(InputError, match="has length, broken, wild"):
        scoring.check(row | {"scorer": "python:other"}, "line 1", known)
    with pytest.raises(InputError, match="cannot be loaded"):
        scoring.functions(tmp_path / "absent.py")


SLOW = [
    (r"(a+)+$", "a" * 40 + "!"),
    (r"(a|aa)+$", "a" * 60 + "!"),
    (r"(.*)*x\Z", "y" * 30),
    (r"(\w+\s?)+:", "word " * 12 + "?"),
]


@pytest.mark.parametrize(("pattern", "text"), SLOW)
def test_a_pattern_that_does_not_end_is_ended(pattern, text, monkeypatch):
    monkeypatch.setattr(bounded_pattern, "CPU_S", 0.2)
    row = item("regex", "7", pattern=pattern)
    began = time.monotonic()
    with pytest.raises(bounded_pattern.TooSlowError):
        scoring.score(text, row)
    with pytest.raises(bounded_pattern.TooSlowError):
        scoring.lenient(text, row, 0.0)
    assert time.monotonic() - began < 20  # four tenths of a second, on however busy a machine
    assert scoring.score("answer: 7", item("regex", "7", pattern=r"answer: (\d+)")) == ("7", 1.0)


def test_a_pattern_without_a_clock_is_ended_by_the_watch(monkeypatch):
    monkeypatch.setattr(bounded_pattern, "CPU_S", 1000.0)
    monkeypatch.setattr(bounded_pattern, "WALL_S", 0.5)
    with pytest.raises(bounded_pattern.TooSlowError):
        scoring.score(SLOW[0][1], item("regex", "7", pattern=SLOW[0][0]))


def test_patterns_are_matched_from_several_threads_with_any_text():
    texts = ["", "7\n", "\ud800 7", "é" * 50_000 + "7", "\x00", '"\\'] * 20
    row, found = item("regex", "7", pattern=r"[^7]*(7?)\n?"), {}

    def score(number):
        found[number] = scoring.score(texts[number], row)[1]

    threads = [threading.Thread(target=score, args=(number,)) for number in range(len(texts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[number] for number in range(6)] == [0.0, 1.0, 1.0, 1.0, 0.0, 0.0] and len(found) == 120


@pytest.mark.parametrize("pattern", ["(", "[", "a{99999999999999999999}", "(" * 5000 + ")" * 5000, "(?P<a>x)(?P<a>y)", None])
def test_a_pattern_that_is_none_is_a_sentence(pattern):
    with pytest.raises(InputError, match="needs a valid 'pattern'"):
        scoring.check(item("regex", "7", pattern=pattern), "items.jsonl line 1")
