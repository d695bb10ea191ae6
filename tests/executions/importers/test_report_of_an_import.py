"""What an import says about itself: its means against the log's own, runs that differ, formats side by side."""

import polars as pl
import pytest

from divergence.executions.importers import convert
from divergence.executions.importers.claims import Claim, agrees, differences
from divergence.executions.importers.format import Format
from divergence.executions.importers.imported import assemble, together
from divergence.executions.importers.mapping import Draft, Field, Outcome, Place

FIELDS = (
    Field("execution_id", "id", convert.text, needed=True),
    Field("model", "model", convert.text, needed=True),
    Field("task", "task", convert.text),
    Field("item", "item", convert.text),
    Field("score", "score", float),
    Field("output_tokens", "tokens", convert.count),
)
MADE = Format("made", "made", "1", "this test", "one record", FIELDS, regime="deployment")


def drafted(rows, **constants):
    draft = Draft(FIELDS, (), constants)
    for number, row in enumerate(rows):
        record = {"id": str(number), "model": "m", "task": "t", "item": str(number), **row}
        draft.add(record, [Outcome("acc", row.get("score"), None, None)], Place(row.get("file", "f"), number))
    return draft


def test_a_claim_that_holds_says_nothing_and_one_that_does_not_gives_both_numbers():
    draft = drafted([{"score": 1.0, "tokens": 3}, {"score": 0.0, "tokens": 4}, {"score": 1.0, "tokens": 5}])
    draft.claim("acc", 2 / 3)
    draft.claim("acc", 0.6667, {"task": "t"})
    draft.claim("output_tokens", 12, {"file": "f"}, "sum")
    draft.claim("rows", 3, statistic="count")
    assert assemble(draft, MADE).notes == ()
    draft.claim("acc", 0.5, {"task": "t"})
    draft.claim("rows", 4, statistic="count")
    draft.claim("missing", 0.5)
    draft.claim("acc", float("nan"))
    draft.claim("acc", "0.5")
    said = assemble(draft, MADE).notes
    assert said == (
        "The mean of acc for task t is 0.5 in the log itself, and 0.666667 in the 3 rows imported.",
        "The number of rows is 4 in the log itself, and 3 in the 3 rows imported.",
        "The mean of missing is 0.5 in the log itself, and no imported row carries it.",
    )


@pytest.mark.parametrize(
    ("stated", "seen", "same"),
    [
        (0.67, 2 / 3, True),
        (0.66, 2 / 3, False),
        (0.6666666666666666, 2 / 3, True),
        (0.6666666666666666, 0.6666660, False),
        (20.0, 20.4, False),
        (1e12, 1e12 + 1, True),
    ],
)
def test_numbers_agree_within_the_digits_that_are_stated(stated, seen, same):
    assert agrees(stated, seen) is same


def test_a_claim_of_an_empty_scope_is_told():
    rows = pl.LazyFrame({"execution_id": ["a"], "task": ["t"], "__file": ["f"]})
    outcomes = pl.LazyFrame({"execution_id": ["a"], "metric": ["acc"], "value": [1.0]})
    assert "no imported row" in differences([Claim("acc", 1.0, {"task": "other"})], rows, outcomes)[0]


def test_settings_that_differ_between_runs_of_a_model_are_context():
    draft = drafted([{"file": "one"}, {"file": "two"}, {"file": "three", "model": "other"}])
    draft.run_settings("one", {"add_bos_token": True, "limit": 3, "api_key": "sk-hidden"})
    draft.run_settings("two", {"add_bos_token": False, "limit": 3})
    draft.run_settings("three", {"limit": 3})
    made = assemble(draft, MADE)
    assert made.executions["scaffold"].to_list() == ["add_bos_token=true", "add_bos_token=false", None]
    assert any("runs of m differ in add_bos_token" in note for note in made.notes)
    assert "hidden" not in repr(made)
    same = drafted([{"file": "one"}, {"file": "two"}])
    for file in ("one", "two"):
        same.run_settings(file, {"add_bos_token": True})
    assert "scaffold" in assemble(same, MADE).missing


def test_a_format_has_a_regime_unless_the_caller_sets_one():
    assert assemble(drafted([{}]), MADE).executions["regime"].to_list() == ["deployment"]
    assert assemble(drafted([{}], regime="evaluation"), MADE).executions["regime"].to_list() == ["evaluation"]


def test_two_formats_keep_what_each_says_and_one_execution_once():
    both = together([assemble(drafted([{"score": 1.0}, {}]), MADE), assemble(drafted([{"tokens": 2}]), MADE)])
    assert both.executions.height == 2
    assert both.rejected["rule"].to_list() == ["execution_id_unique"]
    assert "output_tokens" not in both.missing
