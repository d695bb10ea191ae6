"""Genuine logs of Inspect against what a plain reading of their JSON says."""

import json
import zipfile
from pathlib import Path

import polars as pl
import pytest

pytest.importorskip("zipfile_zstd")

from divergence.executions import schema
from divergence.executions.importers import detect, formats, import_log
from divergence.executions.importers.kept_values import answer

VALUES = {"C": 1.0, "I": 0.0, "P": 0.5, "N": 0.0}
LOGS = {  # file: samples in it, of which judged
    "mock_arith_inspect-0.3.285.eval": (24, 24),
    "mock_arith_inspect-0.3.285.json": (24, 24),
    "repo_2025-05-12T20-27-36-04-00_browser.json": (1, 1),
    "repo_2025-05-12T20-28-13-04-00_no-samples.json": (0, 0),
    "repo_2025-05-12T20-28-13-04-00_popularity.json": (3, 3),
    "repo_2025-05-12T20-28-26-04-00_security-guide.json": (3, 3),
    "repo_log_formats.eval": (1, 1),
    "repo_log_streaming.eval": (4, 4),
    "repo_log_tool_call_error.json": (1, 0),
    "repo_mmlu-summary-choices.eval": (1, 1),
}


def plain(path: Path) -> tuple[dict, list[dict]]:
    """Header and samples by the plainest reading."""
    if path.suffix == ".json":
        log = json.loads(path.read_text())
        return log, log["samples"] or []
    with zipfile.ZipFile(path) as archive:
        names = [name for name in archive.namelist() if name.startswith("samples/")]
        return json.loads(archive.read("header.json")), [json.loads(archive.read(name)) for name in names]


@pytest.mark.parametrize("name", LOGS)
def test_rows_and_scores_are_those_of_the_log(inspect_logs, name):
    header, samples = plain(inspect_logs / name)
    imported = import_log([inspect_logs / name])
    table = imported.executions
    rows, judged = LOGS[name]
    assert (table.height, table["score"].count()) == (rows, judged)
    assert len(samples) == rows
    assert imported.rejected.height == 0
    assert imported.format == detect(inspect_logs / name) == "inspect"
    assert set(table.columns) <= set(schema.COLUMNS)
    assert all(table.schema[column] == schema.COLUMNS[column].dtype for column in table.columns)
    if not rows:
        assert "no samples" in imported.notes[0]
        return
    assert table["model"].unique().to_list() == [header["eval"]["model"]]
    assert table["task"].unique().to_list() == [header["eval"]["task"]]
    assert table["regime"].unique().to_list() == ["evaluation"]
    if judged:
        first = next(iter(samples[0]["scores"]))
        expected = [VALUES[sample["scores"][first]["value"]] for sample in samples]
        assert table["score"].to_list() == expected
        assert table["scorer"].unique().to_list() == [first]
        assert imported.outcomes.height == sum(len(sample["scores"]) for sample in samples)
        every = [VALUES[score["value"]] for sample in samples for score in sample["scores"].values()]
        assert imported.outcomes["value"].to_list() == every
    assert table["trial"].to_list() == [sample["epoch"] for sample in samples]


def test_every_log_of_the_folder_at_once(inspect_logs):
    imported = import_log([inspect_logs])
    assert imported.executions.height == sum(rows for rows, _ in LOGS.values())
    assert len(imported.sources) == len(LOGS)
    # Three of the logs number their samples 1, 2, 3: without the task's name items of different tasks would be one.
    assert imported.executions.group_by("item").agg(pl.col("task").n_unique())["task"].max() == 1


def test_settings_usage_and_times_of_a_run_of_this_year(inspect_logs):
    path = inspect_logs / "mock_arith_inspect-0.3.285.eval"
    _, samples = plain(path)
    table = import_log([path]).executions
    settings = table.select("engine", "quantization", "concurrency", "sampler").unique()
    assert settings.row(0) == ("vllm", "fp8", "4", "temperature=0.7,seed=3")
    assert settings.height == 1
    usage = [sample["model_usage"]["mockllm/model"] for sample in samples]
    for column, name in [
        ("input_tokens", "input_tokens"),
        ("output_tokens", "output_tokens"),
        ("cached_tokens", "input_tokens_cache_read"),
        ("cost_usd", "total_cost"),
    ]:
        assert table[column].to_list() == [one[name] for one in usage]
    assert table["latency_s"].to_list() == [sample["total_time"] for sample in samples]
    assert table["execution_id"].to_list() == [sample["uuid"] for sample in samples]
    assert table["item"].to_list() == [sample["id"] for sample in samples]
    assert table["gold"].to_list() == [sample["target"] for sample in samples]
    assert table["answer"].to_list() == [answer(sample["scores"]["match"]["answer"]) for sample in samples]
    assert table["time"][0].isoformat() == samples[0]["started_at"]
    assert table["calls"].unique().to_list() == [1]
    assert table["finish_reason"].unique().to_list() == ["stop"]


def test_the_judge_model_is_not_charged_to_the_model_under_test(inspect_logs):
    path = inspect_logs / "repo_2025-05-12T20-28-26-04-00_security-guide.json"
    _, samples = plain(path)
    table = import_log([path]).executions
    # A model graded these answers: the sample's own total has its tokens too, the output's usage has not.
    assert table["input_tokens"].to_list() == [sample["output"]["usage"]["input_tokens"] for sample in samples]
    assert table["output_tokens"].to_list() == [sample["output"]["usage"]["output_tokens"] for sample in samples]
    assert all(
        total > own
        for total, own in zip(
            (sample["model_usage"]["openai/gpt-4o-mini"]["input_tokens"] for sample in samples),
            table["input_tokens"],
            strict=True,
        )
    )
    assert table["calls"].to_list() == [1, 1, 1]


def test_an_agents_calls_are_counted(inspect_logs):
    table = import_log([inspect_logs / "repo_2025-05-12T20-27-36-04-00_browser.json"]).executions
    assert table.select("calls", "tool_calls", "input_tokens", "cached_tokens").row(0) == (5, 4, 15235, 9088)
    assert table["answer"][0].startswith("sha256:")


def test_a_cancelled_run_says_so(inspect_logs):
    notes = import_log([inspect_logs / "repo_2025-05-12T20-28-13-04-00_popularity.json"]).notes
    assert any("'cancelled'" in note and "3 of 3" in note for note in notes)


def test_gold_and_answer_are_in_one_form(inspect_logs):
    table = import_log([inspect_logs / "repo_2025-05-12T20-28-13-04-00_popularity.json"]).executions
    assert table["gold"].to_list() == ["Yes", "No", "Yes"]  # the log writes " Yes"
    assert ((table["gold"] == table["answer"]) == (table["score"] == 1)).all()


def test_a_scorer_can_be_named(inspect_logs):
    path = inspect_logs / "mock_arith_inspect-0.3.285.json"
    table = import_log([path], primary="includes").executions
    _, samples = plain(path)
    assert table["score"].to_list() == [VALUES[sample["scores"]["includes"]["value"]] for sample in samples]
    assert table["scorer"].unique().to_list() == ["includes"]


def test_unmapped_and_missing_are_told(inspect_logs):
    imported = import_log([inspect_logs / "mock_arith_inspect-0.3.285.json"])
    assert {
        "sample.metadata",
        "plan.steps",
        "eval.model_args.custom_outputs",
        "sample.working_time",
        "sample.scores.*.explanation",
    } <= set(imported.unmapped)
    assert not {"sample.events", "sample.id", "eval.model"} & set(imported.unmapped)
    assert {"ttft_s", "hardware", "embedding"} <= set(imported.missing)
    assert not set(imported.missing) & set(imported.executions.columns)
    assert set(imported.missing) | set(imported.executions.columns) == set(schema.COLUMNS)


def test_registry():
    assert {"inspect", "lm-eval"} <= set(formats())
    assert list(formats()) == sorted(formats())
