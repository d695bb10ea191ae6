"""Damage of genuine production files: one sentence or a readable rest, never a crash, in every format."""

import random

import pytest

from divergence.errors import InputError
from divergence.executions.importers import import_log

SEED = 29112026
FILES = {
    "otlp": "otlp-genai-openai/traces.json",
    "otlp-lines": "otlp-genai-openai/traces_file_exporter.jsonl",
    "otlp-protobuf": "otlp-traceloop/traces.pb",
    "otlp-logs": "otlp-genai-openai/logs.json",
    "litellm-csv": "litellm/spendlogs_psql_copy.csv",
    "litellm-json": "litellm/spendlogs_rows.jsonl",
    "litellm-copy": "litellm/spendlogs_copy_text.tsv",
    "prometheus-page": "vllm/metrics_after.prom",
    "prometheus-answer": "prometheus/query_range_all_llamacpp.json",
    "sglang": "sglang/SYNTHETIC_sglang-request-metrics-20261129_14.log",
    "langfuse": "langfuse/fixture_ui_download/langgraph-2025-08-22.json",
    "langsmith": "langsmith/batch/017_POST_runs-batch.json",
    "langsmith-parts": "langsmith/multipart/017_POST_runs-multipart.bin",
    "mlflow": "mlflow/traces.jsonl",
    "mlflow-csv": "mlflow/search_traces.csv",
    "phoenix": "phoenix/get_spans.jsonl",
    "phoenix-csv": "phoenix/spans_dataframe.csv",
    "phoenix-parquet": "phoenix/spans_dataframe.parquet",
    "openrouter": "openrouter/SYNTHETIC_openrouter_activity.csv",
}
FORMAT = {"prometheus": "prometheus", "litellm": "litellm", "otlp": "otlp", "langsmith": "langsmith", "phoenix": "phoenix"}


def damaged(data: bytes, generator: random.Random) -> bytes:
    """Cut, flipped, doubled or spliced bytes, or a number replaced by one that is none."""
    kind = generator.randrange(6)
    place = generator.randrange(len(data))
    if kind == 0:
        return data[:place]
    if kind == 1:
        return data[:place] + bytes([generator.randrange(256)]) + data[place + 1 :]
    if kind == 2:
        end = min(len(data), place + generator.randrange(1, 200))
        return data[:end] + data[place:]
    if kind == 3:
        return (
            data[:place]
            + generator.choice([b"NaN", b"-1", b"null", b"[" * 2000, b'"\\ud800"', b"\x00", b"1e999"])
            + data[place:]
        )
    if kind == 4:
        other = generator.randrange(len(data))
        return data[:place] + data[min(place, other) : max(place, other)] + data[place:]
    swapped = generator.choice([(b'"', b"'"), (b":", b";"), (b"{", b"["), (b"0", b"x"), (b"true", b"7"), (b"[", b"{")])
    return data.replace(*swapped, generator.randrange(1, 4))


def survive(path, name, times, tmp_path):
    data, generator = path.read_bytes(), random.Random(f"{SEED} {name}")
    family = name.partition("-")[0]
    target = tmp_path / path.name
    refused = 0
    for _ in range(times):
        target.write_bytes(damaged(data, generator))
        try:
            imported = import_log([target], format=FORMAT.get(family, family), constants={"model": "m"})
        except InputError as error:
            refused += 1
            assert "\n" not in str(error)
        else:
            assert imported.executions["execution_id"].is_unique().all()
    return refused


@pytest.mark.parametrize("name", FILES)
def test_damage_is_never_a_crash(logs, name, tmp_path):
    survive(logs(FILES[name]), name, 25, tmp_path)


@pytest.mark.prove
@pytest.mark.parametrize("name", FILES)
def test_more_damage_is_never_a_crash(logs, name, tmp_path):
    survive(logs(FILES[name]), name, 600, tmp_path)
