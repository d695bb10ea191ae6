"""Genuine files of Langfuse, LangSmith, MLflow, Phoenix, SGLang and OpenRouter against what their READMEs count."""

import gzip
import importlib.util
import json

import polars as pl
import pytest

from divergence.errors import InputError
from divergence.executions.importers import Privacy, detect, foreign_files, import_log

CLIENT = {"input_tokens": 1309, "output_tokens": 533, "cached_tokens": 128, "reasoning_tokens": 192}


def sums(rows: pl.DataFrame, *columns: str) -> dict[str, int]:
    return {column: int(rows[column].sum()) for column in columns}


PHOENIX = ("spans_dataframe.parquet", "spans_dataframe.csv", "spans_dataframe.jsonl", "get_spans.jsonl")


@pytest.mark.parametrize("name", PHOENIX)
def test_phoenix(logs, name):
    path = logs(f"phoenix/{name}")
    assert detect(path) == "phoenix"
    imported = import_log([path, logs("phoenix/annotations.csv")])
    rows = imported.executions
    assert rows.height == 19 and imported.rejected.is_empty()
    assert sums(rows, *CLIENT) == CLIENT
    assert rows["error_type"].count() == 4 and rows["ttft_s"].count() == 4
    assert imported.outcomes.sort("value")["value"].to_list() == [0.0, 0.5, 1.0]
    assert rows["score"].count() == 3 and set(rows["scorer"].drop_nulls()) == {"llm"}
    for canary in ("Paris", "user-0001", "Be brief"):
        assert canary not in rows.write_csv()


LANGFUSE = {
    "langgraph-2025-08-22": (2, 168, 66, 0.000234, 2),
    "microsoft-agent-2025-10-14": (2, 656, 105, 0.002689999999, 2),
    "openai-agents-2025-09-30": (2, 140, 44, 0.000632, 2),
    "pydantic-ai-tools-2025-12-04": (4, 1315, 209, 0.000322649999, 0),
}


@pytest.mark.parametrize("name", LANGFUSE)
def test_langfuse_counts_generations_only(logs, name):
    calls, read, written, cost, judged = LANGFUSE[name]
    path = logs(f"langfuse/fixture_ui_download/{name}.json")
    assert detect(path) == "langfuse"
    imported = import_log([path])
    rows = imported.executions
    assert (rows.height, rows["input_tokens"].sum(), rows["output_tokens"].sum()) == (calls, read, written)
    assert rows["cost_usd"].sum() == pytest.approx(cost, abs=2e-15)
    assert imported.outcomes.height == judged
    assert (rows["latency_s"] < 10).all()  # seconds; the observations say milliseconds


def test_langfuse_columns_of_an_export_are_the_same_fields(logs, tmp_path):
    document = json.loads(logs("langfuse/fixture_ui_download/langgraph-2025-08-22.json").read_text())

    def snake(name):
        return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)

    lines = [{snake(name): value for name, value in entry.items()} for entry in document["observations"]]
    path = tmp_path / "observations.jsonl"
    path.write_text("\n".join(json.dumps(line) for line in lines))
    frame = pl.DataFrame(
        [
            {
                name: json.dumps(value) if isinstance(value, dict) else value
                for name, value in line.items()
                if name not in ("input", "output")
            }
            for line in lines
        ]
    )
    frame.write_parquet(tmp_path / "observations.parquet")
    whole = import_log([logs("langfuse/fixture_ui_download/langgraph-2025-08-22.json")]).executions
    for name in ("observations.jsonl", "observations.parquet"):
        rows = import_log([tmp_path / name]).executions
        shared = ("execution_id", "model", "time", "latency_s", "input_tokens", "output_tokens", "cost_usd", "sampler")
        assert rows.select(shared).equals(whole.select(shared))


def test_of_the_versions_in_a_table_of_langfuse_the_newest_counts(tmp_path):
    def row(name, at, deleted=0, **given):
        whole = {"id": name, "trace_id": "t", "type": "GENERATION", "provided_model_name": "m", "usage_details": {}}
        return {**whole, "start_time": "2026-01-02 03:04:05.000", "event_ts": at, "is_deleted": deleted, **given}

    ended = {"end_time": "2026-01-02 03:04:06.000", "usage_details": {"input": 3, "output": 4}}
    rows = [row("a", "2026-01-02 03:04:05.000"), row("a", "2026-01-02 03:04:07.000", **ended)]
    rows += [row("b", "2026-01-02 03:04:09.000", 1), row("b", "2026-01-02 03:04:08.000", **ended)]
    rows += [row("c", "2026-01-02 03:04:09.000", **ended), row("c", "2026-01-02 03:04:09.000", **ended)]
    path = tmp_path / "observations.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    imported = import_log([path])
    found = imported.executions.sort("execution_id")
    assert found.select("execution_id", "input_tokens", "latency_s").rows() == [("a", 3, 1.0), ("c", 3, 1.0)]
    assert any(note.startswith("2 rows of the table are older versions") for note in imported.notes)
    assert any(note.startswith("1 observations are deleted") for note in imported.notes)
    assert imported.rejected["rule"].to_list() == ["execution_id_unique"]


def test_scores_of_the_sdk_of_langfuse_stand_with_its_spans(logs):
    if importlib.util.find_spec("opentelemetry") is None:
        pytest.skip("opentelemetry-proto (extra otlp) is not installed")
    paths = [logs(f"langfuse/{name}") for name in ("otel_traces.pb", "scores_1.json", "scores_2.json", "scores_3.json")]
    imported = import_log(paths)
    assert imported.format == "otlp" and imported.executions.height == 20
    counted = (
        imported.outcomes.group_by("metric").agg(pl.col("value").sum(), pl.col("label").first(), pl.len()).sort("metric")
    )
    assert counted.rows() == [("helpful", 3.0, None, 3), ("quality", 2.25, None, 3), ("verdict", 0.0, "good", 3)]


LANGSMITH = ("runs_merged.jsonl", "batch", "multipart")


@pytest.mark.parametrize("name", LANGSMITH)
def test_langsmith_merges_posts_and_patches_and_counts_a_call_once(logs, name):
    privacy = Privacy(salt=b"s" * 32)
    imported = import_log([logs(f"langsmith/{name}")], privacy=privacy)
    rows = imported.executions
    assert imported.format == "langsmith" and rows.height == 24 - 3
    assert sums(rows, "input_tokens", "output_tokens") == {"input_tokens": 1422, "output_tokens": 574}
    assert (rows["cached_tokens"].sum(), rows["reasoning_tokens"].sum()) == (128, 192)
    assert rows["error_type"].count() == 7 - 1 - 1  # without the tool's, and without LangChain's repeat of the client's
    assert any("3 runs of LangChain span a run of the client" in note for note in imported.notes)
    assert rows.filter(pl.col("session") == privacy.pseudonym("session", "session-errors")).height == 5
    assert rows["ttft_s"].count() == 5


def test_an_experiment_of_langsmith_is_evaluation_with_feedback(tmp_path):
    run = {"id": "r", "trace_id": "t", "run_type": "llm", "dotted_order": "x", "reference_example_id": "example-1"}
    run |= {"start_time": "2026-01-01T00:00:00", "end_time": "2026-01-01T00:00:02", "total_cost": "0.25"}
    run |= {"extra": {"metadata": {"ls_model_name": "m"}}, "feedback_stats": {"correct": {"n": 1, "avg": 1.0}}}
    path = tmp_path / "runs.jsonl"
    path.write_text(
        json.dumps(run) + "\n" + json.dumps({"id": "r", "run_type": "llm", "dotted_order": "x", "error": "Timeout('x')"})
    )
    imported = import_log([path])
    assert imported.executions.select("regime", "item", "score", "latency_s", "cost_usd", "error_type").rows() == [
        ("evaluation", "example-1", 1.0, 2.0, 0.25, "Timeout")
    ]


@pytest.fixture
def store(logs, tmp_path):
    path = tmp_path / "mlflow.db"
    path.write_bytes(gzip.decompress(logs("mlflow/mlflow.db.gz").read_bytes()))
    return path


def test_mlflow(logs, store):
    shared = []
    for path in (logs("mlflow/traces.jsonl"), logs("mlflow/search_traces.csv"), store, logs("mlflow/mlflow.db.gz")):
        assert detect(path) == "mlflow"
        imported = import_log([path])
        rows = imported.executions
        assert rows.height == 19 and imported.rejected.is_empty()
        assert sums(rows, "input_tokens", "output_tokens", "cached_tokens") == {
            "input_tokens": 1301,
            "output_tokens": 533,
            "cached_tokens": 128,
        }
        assert rows["cost_usd"].sum() == pytest.approx(0.0028715, rel=1e-12)
        assert rows["error_type"].count() == 4  # the trace `errors` is OK, and three of its five calls failed
        assert not any("in the log itself" in note for note in imported.notes)  # the traces' own totals agree
        outcomes = imported.outcomes.sort("metric").select("metric", "value", "scorer").rows()
        assert outcomes == [("helpful", 1.0, "human"), ("quality", 0.75, "llm_judge")]
        shared.append(rows.sort("execution_id").select("execution_id", "model", "session", "turn", "time", "sampler"))
    assert all(one.equals(shared[0]) for one in shared[1:])


def test_a_packed_store_that_is_damaged_or_a_bomb_is_a_sentence(logs, tmp_path, monkeypatch):
    packed = logs("mlflow/mlflow.db.gz").read_bytes()
    (tmp_path / "cut.db.gz").write_bytes(packed[: len(packed) // 2])
    with pytest.raises(InputError, match=r"cut\.db\.gz cannot be unpacked"):
        import_log([tmp_path / "cut.db.gz"], "mlflow")
    monkeypatch.setattr(foreign_files, "ARCHIVE_FLOOR", 1000)
    monkeypatch.setattr(foreign_files, "ARCHIVE_RATIO", 2)
    with pytest.raises(InputError, match="unpacks to more than 2 times its size"):
        import_log([logs("mlflow/mlflow.db.gz")], "mlflow")


def test_a_judgement_is_the_score_if_it_is_asked_for(logs):
    rows = import_log([logs("mlflow/traces.jsonl")], primary="quality").executions
    assert rows.filter(pl.col("score").is_not_null()).select("score", "scorer").rows() == [(0.75, "llm_judge")]
    with pytest.raises(InputError, match="choose from"):
        import_log([logs("mlflow/traces.jsonl")], primary="expected_answer")


def test_sglang(logs):
    path = logs("sglang/SYNTHETIC_sglang-request-metrics-20261129_14.log")
    assert detect(path) == "sglang"
    with pytest.raises(InputError, match="--set model=NAME"):
        import_log([path])
    rows = import_log([path], constants={"model": "m"}).executions
    assert sums(rows, "input_tokens", "output_tokens", "cached_tokens") == {
        "input_tokens": 241,
        "output_tokens": 60,
        "cached_tokens": 112,
    }
    assert rows["latency_s"].to_list() == [0.5, 0.75, 1.0, 1.25, 2.5]
    assert rows["finish_reason"].to_list() == ["stop", "length", "stop", "stop", "abort"]
    assert rows["error_type"].to_list() == [None] * 4 + ["abort"]
    assert rows["tpot_s"][0] == pytest.approx(0.375 / 19)
    assert "prompt" not in rows.write_csv()


def test_openrouter(logs):
    path = logs("openrouter/SYNTHETIC_openrouter_activity.csv")
    assert detect(path) == "openrouter"
    rows = import_log([path]).executions
    found = sums(rows, "input_tokens", "output_tokens", "reasoning_tokens", "cached_tokens")
    assert found == {"input_tokens": 11604, "output_tokens": 201, "reasoning_tokens": 32, "cached_tokens": 1024}
    assert rows["cost_usd"].sum() == pytest.approx(0.01272, rel=1e-12)
    assert rows.select("error_type", "ttft_s", "scaffold").rows()[1:] == [
        (None, None, "shop, web"),
        ("cancelled", 2.1, None),
    ] or rows["error_type"].to_list() == [None, None, "cancelled"]
    assert "user-0001" not in rows.write_csv() and "key-a" not in rows.write_csv()


def test_judges_of_langfuse_are_no_executions(logs, tmp_path):
    document = json.loads(logs("langfuse/fixture_ui_download/langgraph-2025-08-22.json").read_text())
    calls = import_log([logs("langfuse/fixture_ui_download/langgraph-2025-08-22.json")]).rows
    first = next(entry for entry in document["observations"] if entry["type"] == "GENERATION")
    document["observations"].append({**first, "id": "judging", "environment": "langfuse-llm-as-a-judge"})
    (tmp_path / "judged.json").write_text(json.dumps(document))
    imported = import_log([tmp_path / "judged.json"])
    assert imported.rows == calls and imported.rejected.is_empty()
    assert any("judges" in note and "(1 times)" in note for note in imported.notes)
