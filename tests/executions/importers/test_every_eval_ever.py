"""Every Eval Ever read: genuine conversions of lm-eval and Inspect, and the schema's own example."""

import json

import polars as pl
import pytest
from imported_pairs import flips

from divergence.errors import InputError
from divergence.executions.importers import import_log

RUNS = {  # rows, sum of the score, mean that the aggregate states
    "real-before": (60, 24, 0.4),
    "real-after": (60, 16, 0.26666666666666666),
    "inspect-before": (14, 12, 0.8571428571428571),
    "inspect-after": (14, 13, 0.9285714285714286),
}


@pytest.mark.parametrize("run", RUNS)
def test_rows_and_means_are_those_of_the_aggregate(logs, run):
    rows, total, mean = RUNS[run]
    imported = import_log([logs("every_eval_ever") / "converted" / run])
    table = imported.executions
    assert (table.height, table["score"].sum(), table["score"].mean()) == (rows, total, mean)
    assert table["item"].is_unique().all()
    assert imported.rejected.height == 0
    assert not [note for note in imported.notes if "in the log itself" in note or "checksum" in note]
    if "inspect" in run:
        other = imported.outcomes.filter(pl.col("metric") == "includes:accuracy")["value"]
        assert (len(other), other.mean()) == (rows, mean)
        assert table["trial"].unique().to_list() == [1]


def test_pairs_flip_as_the_tools_own_logs_do(logs):
    folder = logs("every_eval_ever") / "converted"
    before, after = (import_log([folder / f"real-{when}"]).executions for when in ("before", "after"))
    gained, lost = flips(before, after)
    assert (len(gained), len(lost)) == (2, 10)
    both = import_log([folder / "real-before", folder / "real-after"]).executions
    assert both["sampler"].n_unique() == 2
    assert both["engine"].unique().to_list() == ["llama.cpp"]


def test_items_are_those_of_the_tool_that_made_the_log(logs):
    converted = import_log([logs("every_eval_ever") / "converted" / "real-before"]).executions
    own = import_log([logs("lm_eval") / "real-before"]).executions
    shared = set(converted["item"]) & set(own["item"])
    assert len(shared) == 60


def test_the_schemas_example_disagrees_with_itself_and_is_told(logs):
    (samples,) = logs("every_eval_ever").glob("*_samples.jsonl")
    notes = import_log([samples]).notes
    assert any("is 0.75 in the log itself, and 1 in the 1 rows imported" in note for note in notes)


def test_averages_alone_and_schemas_are_no_logs(logs):
    folder = logs("every_eval_ever")
    with pytest.raises(InputError, match="averages only"):
        import_log([folder / "98ea850e-7019-4728-a558-8b1819ec47c2.json"])
    with pytest.raises(InputError, match="no format"):
        import_log([folder / "eval.schema.json"])
    whole = import_log([folder])
    assert whole.rejected.height == 0
    assert any("2 evaluations are averages only" in note for note in whole.notes)


def instance(sample, metric="acc", score=1.0, **changes):
    line = {"schema_version": "0.3.0", "evaluation_id": "e", "model_id": "m", "evaluation_name": "t", "sample_id": sample}
    line |= {
        "evaluation_result_id": metric,
        "interaction_type": "single_turn",
        "input": {"raw": "CANARY", "reference": ["x"]},
    }
    return {**line, "output": {"raw": ["x"]}, "evaluation": {"score": score, "is_correct": False}, **changes}


def made(tmp_path, lines, name="a_samples.jsonl"):
    path = tmp_path / name
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_metrics_are_one_row_and_repetitions_are_several(tmp_path):
    lines = [instance("1"), instance("1", "f1", 0.5), instance("1", score=0.0), instance("2", metadata={"epoch": "3"})]
    table = import_log([made(tmp_path, lines)])
    assert table.executions["item"].to_list() == ["t/1", "t/1", "t/2"]
    assert table.executions["score"].to_list() == [1.0, 0.0, 1.0]
    assert table.executions["trial"].to_list() == [1, 2, 3]
    assert table.outcomes.filter(pl.col("metric") == "f1")["value"].to_list() == [0.5]
    assert "CANARY" not in repr(table)


def test_an_error_has_no_score(tmp_path):
    lines = [instance("a", error="openai.RateLimitError: too many"), instance("b", error={"x": 1}), instance("c")]
    imported = import_log([made(tmp_path, lines)])
    assert imported.executions["error_type"].to_list() == ["RateLimitError", "error", None]
    assert imported.executions["score"].to_list() == [None, None, 1.0]
    assert imported.outcomes.height == 1
