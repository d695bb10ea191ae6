"""Genuine OTLP of five instrumentations and two engines against what the stub served and what their READMEs count."""

import datetime
import importlib.util
import json

import polars as pl
import pytest

from divergence.errors import InputError
from divergence.executions.importers import Privacy, detect, import_log

PROTOBUF = importlib.util.find_spec("opentelemetry") is not None
needs_protobuf = pytest.mark.skipif(not PROTOBUF, reason="opentelemetry-proto (extra otlp) is not installed")

COMMON = {"input_tokens": 1309, "output_tokens": 533, "cached_tokens": 128, "reasoning_tokens": 192}
"""What a client can know of the common workload: two streams of its 19 calls carry no usage."""
RETRIED = 14
"""The request that failed and was sent again by the client itself, inside one span."""
CUT = 16
"""The stream that the server cut: what it takes for its own end is later than the client's."""
GENAI = {"input_tokens": 1552, "output_tokens": 616, "cached_tokens": 128, "reasoning_tokens": 192}

CASES = {
    "otlp-genai-openai/traces.json": (21, 4, GENAI),
    "otlp-genai-openai/traces.pb": (21, 4, GENAI),
    "otlp-genai-openai/traces_file_exporter.jsonl": (21, 4, GENAI),
    "otlp-genai-openai/traces_default_nocontent.json": (21, 4, GENAI),
    "otlp-openinference/traces.json": (19, 4, COMMON),
    "otlp-openinference/traces.pb": (19, 4, COMMON),
    "otlp-traceloop/traces.json": (19, 4, COMMON),
    "otlp-traceloop/traces.pb": (19, 4, COMMON),
    "otlp-logfire/traces.pb": (19, 4, COMMON),
    "langfuse/otel_traces.pb": (20, 4, {"input_tokens": 1319, "output_tokens": 538, "reasoning_tokens": 192}),
}


def read(path, **given):
    if path.suffix == ".pb" and not PROTOBUF:
        pytest.skip("opentelemetry-proto (extra otlp) is not installed")
    return import_log([path], **given)


@pytest.mark.parametrize("name", CASES)
def test_calls_errors_and_tokens_are_those_of_the_tool(logs, name):
    calls, errors, tokens = CASES[name]
    assert detect(logs(name)) == "otlp"
    imported = read(logs(name))
    rows = imported.executions
    assert rows.height == calls and imported.rejected.is_empty()
    assert {column: rows[column].sum() for column in tokens} == tokens
    assert rows["error_type"].str.starts_with("finish_reason:").not_().sum() == errors
    assert rows["regime"].unique().to_list() == ["deployment"]


@pytest.mark.parametrize("name", [name for name in CASES if name.startswith("otlp-")])
def test_every_call_is_the_request_that_the_stub_served(logs, name):
    """Requests and calls in order of time; the one that the client retried by itself is no call of its own."""
    folder, file = name.split("/")
    truth_name = "truth_default_nocontent.jsonl" if "nocontent" in file else "truth.jsonl"
    truth = [json.loads(line) for line in logs(f"{folder}/{truth_name}").read_text().splitlines()]
    served = [request for request in truth if request["n"] != RETRIED]
    rows = read(logs(name)).executions.sort("time")
    assert len(served) == rows.height
    for row, request in zip(rows.iter_rows(named=True), served, strict=True):
        assert row["model"] == request.get("request_model", request.get("model"))
        assert (row["error_type"] is None or row["error_type"].startswith("finish_reason")) == (request["http"] == 200)
        if row["input_tokens"] is not None:
            assert row["input_tokens"] == request["input_tokens"]
            assert (row["output_tokens"] or 0) == request.get("output_tokens", 0)
        if "latency_s" in request and request["n"] != CUT:
            assert row["latency_s"] >= request["latency_s"]  # the client waits for the server


def test_protobuf_and_json_say_the_same(logs):
    for folder in ("otlp-genai-openai", "otlp-openinference", "otlp-traceloop"):
        binary, text = read(logs(f"{folder}/traces.pb")), read(logs(f"{folder}/traces.json"))
        assert binary.executions.equals(text.executions)
        assert binary.unmapped == text.unmapped


def test_sessions_agents_versions_and_first_tokens(logs):
    privacy = Privacy(salt=b"s" * 32)
    planned, stubbed = (privacy.pseudonym("session", name) for name in ("conv-77", "conv_stub_42"))
    rows = read(logs("otlp-genai-openai/traces.json"), privacy=privacy).executions
    assert rows.filter(pl.col("session") == planned).sort("turn")["turn"].to_list() == [0, 1]
    assert rows.filter(pl.col("session") == planned)["scaffold"].unique().to_list() == ["planner"]
    assert rows.filter(pl.col("session") == stubbed).height == 1
    assert rows["ttft_s"].count() == 4 and rows["ttft_s"].max() == 0.0805950429994482
    failed = rows.filter(pl.col("error_type") == "openai.RateLimitError")
    assert failed["engine_version"].to_list() == ["gpt-4o-mini-2024-07-18"]  # not a context in which everything fails
    openinference = read(logs("otlp-openinference/traces.json"), privacy=privacy).executions
    named = {"session-conversation-1": 4, "session-conversation-2": 6, "session-errors": 5}
    counted = dict(openinference.group_by("session").len().iter_rows())
    assert counted == {None: 4} | {privacy.pseudonym("session", name): calls for name, calls in named.items()}
    assert openinference["ttft_s"].count() == 4


@needs_protobuf
def test_the_two_spans_of_a_stream_are_one_call(logs):
    imported = read(logs("otlp-logfire/traces.pb"))
    streams = imported.executions.filter(pl.col("input_tokens").is_in([105, 107]))
    assert (streams["latency_s"] > 0.09).all()  # the stub streams for that long; the first span alone lasts 0.02 s
    assert any("4 streams of Logfire" in note for note in imported.notes)
    assert "[Scrubbed due to 'session']" not in imported.executions["session"].to_list()


@needs_protobuf
def test_events_alone_are_calls_and_with_their_spans_they_are_not_counted_twice(logs):
    alone = read(logs("otlp-genai-openai/logs.pb"))
    assert alone.executions.height == 20 and alone.executions["input_tokens"].sum() == 1552 - 8  # no event of the embedding
    both = import_log([logs("otlp-genai-openai/traces.json"), logs("otlp-genai-openai/logs.json")])
    assert both.executions.height == 21 and both.executions["input_tokens"].sum() == 1552
    assert any("20 events of operation details repeat spans" in note for note in both.notes)


def test_evaluations_are_outcomes_of_the_call_that_they_name(logs):
    both = import_log([logs("otlp-genai-openai/traces.json"), logs("otlp-genai-openai/logs.json")])
    assert both.outcomes.select("metric", "value", "label").rows() == [
        ("Relevance", 0.75, "pass"),
        ("Toxicity", None, "fail"),
    ]
    judged = both.executions.filter(pl.col("score").is_not_null())
    assert judged.select("score", "input_tokens").rows() == [(0.75, 101)]  # chatcmpl-stub00001
    with pytest.raises(InputError, match="choose from Relevance"):
        import_log([logs("otlp-genai-openai/logs.json")], primary="Toxicity")


@needs_protobuf
def test_spans_of_an_engine_are_requests_of_a_model_that_must_be_named(logs):
    path = logs("vllm/otlp_traces.pb")
    with pytest.raises(InputError, match="15 calls name no model"):
        import_log([path])
    rows = import_log([path], constants={"model": "tiny-llama"}).executions
    assert rows.height == 15 and rows["engine"].unique().to_list() == ["vllm"]
    assert (rows["input_tokens"].sum(), rows["output_tokens"].sum()) == (2150, 212)  # n = 2 counts its prompt twice
    assert rows["queue_s"].count() == 15 and (rows["latency_s"] < 0.2).all()  # seconds, not milliseconds
    assert import_log([logs("vllm/otlp_traces_startup.pb")]).executions.is_empty()


def test_times_are_utc_to_the_microsecond_and_texts_and_people_stay_behind(logs):
    for name in ("otlp-genai-openai/traces.json", "otlp-openinference/traces.json", "otlp-traceloop/traces.json"):
        imported = read(logs(name))
        assert (imported.executions["time"] > datetime.datetime(2026, 11, 29, 13, 40, tzinfo=datetime.UTC)).all()
        written = imported.executions.write_csv() + " ".join((*imported.unmapped, *imported.notes))
        for canary in ("Paris", "user-0001", "Be brief", "capital", "18 C, sunny"):
            assert canary not in written


@pytest.mark.parametrize("name", ["otlp-genai-openai/metrics.json", "otlp-genai-openai/metrics.pb"])
def test_metrics_are_windows_in_the_shared_vocabulary(logs, name):
    telemetry = read(logs(name)).telemetry
    found = dict(telemetry.group_by("metric").agg(pl.col("value").sum()).iter_rows())
    assert found["latency_s count"] == 21 and found["ttft_s count"] == 4
    assert found["input_tokens"] + found["output_tokens"] == 2168
    assert found["request_input_tokens count"] + found["request_output_tokens count"] == 29
    assert (telemetry["window_s"] > 0).all()


def test_metrics_of_another_instrumentation_keep_their_own_totals(logs):
    found = dict(
        read(logs("otlp-traceloop/metrics.json")).telemetry.group_by("metric").agg(pl.col("value").sum()).iter_rows()
    )
    assert found["input_tokens"] + found["output_tokens"] == 1400 and found["latency_s count"] == 16
