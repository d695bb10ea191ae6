"""Terminal-Bench 1: results as its own model `BenchmarkResults` (version 0.2.18) writes them."""

import json

import pytest

from divergence.errors import InputError
from divergence.executions.importers import import_log

NOTHING = dict.fromkeys(("recording_path", "trial_started_at", "trial_ended_at", "test_started_at", "test_ended_at"))
TRIALS = [  # task, attempt, is_resolved, failure_mode
    ("a", 1, True, "unset"),
    ("a", 2, False, "unset"),
    ("b", 1, None, "parse_error"),
    ("b", 2, False, "agent_timeout"),
    ("c", 1, None, "unknown_agent_error"),
    ("c", 2, True, "none"),
]


def run(tmp_path, name="run", temperature=0.0, metadata=True):
    """A run of six trials; the tool's accuracy is 2 of 6."""
    folder = tmp_path / name
    folder.mkdir()
    results = [
        {
            "id": f"{name}-{number}",
            "trial_name": f"{task}.{attempt}-of-2.{name}",
            "task_id": task,
            "instruction": "CANARY",
            "is_resolved": resolved,
            "failure_mode": mode,
            "parser_results": {"test": "passed"} if resolved else None,
            "total_input_tokens": 10 + number,
            "total_output_tokens": 3,
            "agent_started_at": f"2026-11-29T12:00:0{number}+00:00",
            "agent_ended_at": f"2026-11-29T12:00:0{number + 2}+00:00",
            **NOTHING,
        }
        for number, (task, attempt, resolved, mode) in enumerate(TRIALS)
    ]
    whole = {"id": "x", "results": results, "pass_at_k": {"2": 0.6}, "n_resolved": 2, "n_unresolved": 4, "accuracy": 2 / 6}
    (folder / "results.json").write_text(json.dumps(whole, indent=4))
    if metadata:
        said = {"run_id": name, "dataset_name": "core", "dataset_version": "0.1", "agent_name": "terminus"}
        said |= {"model_name": "openai/m", "output_path": "o", "agent_kwargs": {"temperature": temperature}}
        (folder / "run_metadata.json").write_text(json.dumps(said, indent=4))
    return folder


def test_a_trial_without_a_verdict_is_an_error_of_the_harness(tmp_path):
    imported = import_log([run(tmp_path)])
    table = imported.executions
    assert table["score"].to_list() == [1.0, 0.0, None, 0.0, None, 1.0]
    assert table["error_type"].to_list() == [None, None, "parse_error", "agent_timeout", "unknown_agent_error", None]
    assert table["trial"].to_list() == [1, 2, 1, 2, 1, 2]
    assert table["latency_s"].unique().to_list() == [2.0]
    assert table["input_tokens"].sum() == 75
    assert table["item"][0] == "core==0.1/a"
    assert any("2 have no verdict" in note for note in imported.notes)
    assert any("0.333333 in the log itself, and 0.5 in the 4 rows" in note for note in imported.notes)
    assert table["score"].fill_null(0.0).mean() == 2 / 6  # the tool's own rule
    assert "CANARY" not in repr(imported)


def test_two_runs_differ_in_their_sampler(tmp_path):
    table = import_log([run(tmp_path, "one"), run(tmp_path, "two", 0.8)]).executions
    assert table["sampler"].value_counts().sort("sampler").rows() == [("temperature=0", 6), ("temperature=0.8", 6)]
    assert table["trial"].max() == 2


def test_the_model_stands_in_the_metadata_only(tmp_path):
    folder = run(tmp_path, metadata=False)
    with pytest.raises(InputError, match="--set model"):
        import_log([folder])
    assert import_log([folder], constants={"model": "m"}).executions.height == 6
