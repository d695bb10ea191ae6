"""OpenAI evals: events joined by sample, on a genuine pair."""

import json

import pytest
from imported_pairs import flips

from divergence.errors import InputError
from divergence.executions.importers import import_log


@pytest.mark.parametrize(("run", "right", "accuracy"), [("before", 24, 0.8), ("after", 28, 0.9333333333333333)])
def test_accuracy_and_tokens_are_those_of_the_report(logs, run, right, accuracy):
    imported = import_log([logs("openai_evals") / f"{run}.jsonl"])
    table = imported.executions
    assert (table.height, table["score"].sum(), table["score"].mean()) == (30, right, accuracy)
    assert (table["input_tokens"].sum(), table["output_tokens"].sum()) == (270, 109)
    empty = table.filter(table["item"] == "arith.dev.19")
    assert empty["score"].to_list() == [0.0]  # an empty answer is wrong, and no error
    assert "error_type" in imported.missing
    assert not [note for note in imported.notes if "in the log itself" in note]


def test_a_pair_flips_as_stated_and_its_functions_are_contexts(logs):
    before, after = (import_log([logs("openai_evals") / f"{run}.jsonl"]).executions for run in ("before", "after"))
    gained, lost = flips(before, after)
    assert sorted(gained) == ["arith.dev.16", "arith.dev.18", "arith.dev.23", "arith.dev.3"]
    assert lost == []
    both = import_log([logs("openai_evals")]).executions
    assert both["scaffold"].unique().sort().to_list() == ["completion_fns=stub-t0", "completion_fns=stub-t8"]
    assert both["model"].unique().to_list() == ["stub-a"]


def event(kind, sample, **data):
    return {
        "run_id": "r",
        "event_id": 0,
        "sample_id": sample,
        "type": kind,
        "data": data,
        "created_at": "2026-01-01 00:00:00+00:00",
    }


def test_events_need_not_be_neighbours_and_errors_are_the_harness(tmp_path):
    spec = {"spec": {"completion_fns": ["f"], "eval_name": "e", "run_config": {"seed": 1}, "run_id": "r"}}
    lines = [
        spec,
        event("sampling", "a", sampled=["x"], model="m", usage={"prompt_tokens": 1, "completion_tokens": 2}),
        event("sampling", "b", sampled=["y"], model="m", usage={"prompt_tokens": 3, "completion_tokens": 4}),
        event("match", "b", correct=False, expected="z", picked="y"),
        event("match", "a", correct=True, expected="x", picked="x"),
        event("error", "c", type="RateLimitError", message="CANARY"),
    ]
    path = tmp_path / "r.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    imported = import_log([path])
    rows = {row["item"]: row for row in imported.executions.iter_rows(named=True)}
    assert [rows[item]["score"] for item in "abc"] == [1.0, 0.0, None]
    assert [rows[item]["input_tokens"] for item in "abc"] == [1, 3, None]
    assert rows["c"]["error_type"] == "RateLimitError"
    assert "CANARY" not in repr(imported)
    path.write_text(json.dumps(event("match", "a", correct=True)) + "\n")
    with pytest.raises(InputError, match="has no spec"):
        import_log([path], format="openai-evals")
