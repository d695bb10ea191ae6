"""What the genuine traces do not show: wrappers, cycles, duplicates, deep trees, and damage of every kind."""

import json
import tracemalloc

import polars as pl
import pytest

from divergence.errors import InputError
from divergence.executions.importers import Privacy, import_log, json_documents


def rows(path, **given):
    return import_log([path], **given).executions


def test_only_leaves_are_counted(spans):
    wrapper = {"spanId": "f" * 16, "attributes": {"gen_ai.usage.input_tokens": 30}}
    chain = {"spanId": "e" * 16, "parentSpanId": "f" * 16, "bare": True, "name": "step"}
    leaves = ({"parentSpanId": "e" * 16}, {"parentSpanId": "e" * 16, "attributes": {"gen_ai.usage.input_tokens": 20}})
    imported = import_log([spans(*leaves, chain, wrapper)])
    assert imported.executions["input_tokens"].to_list() == [10, 20]
    assert any("1 calls wrap other logged calls" in note for note in imported.notes)


def test_cycles_of_parents_and_own_parents_end(spans):
    cycle = ({"spanId": "1" * 16, "parentSpanId": "2" * 16}, {"spanId": "2" * 16, "parentSpanId": "1" * 16})
    own = {"spanId": "3" * 16, "parentSpanId": "3" * 16}
    assert rows(spans(*cycle, own)).height == 3  # nothing tells which wraps which, and none may be lost


def test_a_tree_of_any_depth_ends_the_search(spans):
    links = [{"spanId": f"{n:016x}", "parentSpanId": f"{n - 1:016x}", "bare": True} for n in range(1, 3000)]
    assert rows(spans(*links, {"spanId": "f" * 16, "parentSpanId": f"{2999:016x}"})).height == 1


def test_a_span_that_comes_twice_is_set_aside_once(spans):
    imported = import_log([spans({"spanId": "a" * 16}, {"spanId": "a" * 16}, {})])
    assert imported.executions.height == 2
    assert imported.rejected.select("row", "rule").rows() == [(2, "execution_id_unique")]


@pytest.mark.parametrize(
    ("attributes", "column"),
    [
        ({"gen_ai.usage.input_tokens": "NaN"}, "input_tokens"),
        ({"gen_ai.usage.input_tokens": -3}, "input_tokens"),
        ({"gen_ai.usage.input_tokens": "1.5"}, "input_tokens"),
        ({"gen_ai.usage.input_tokens": "9" * 30}, "input_tokens"),
        ({"gen_ai.response.time_to_first_chunk": "Infinity"}, "ttft_s"),
    ],
)
def test_a_number_that_is_none_is_left_empty_and_said(spans, attributes, column):
    imported = import_log([spans({"attributes": attributes}, {"attributes": {"gen_ai.response.time_to_first_chunk": 0.5}})])
    assert imported.executions[column].null_count() >= 1 and imported.executions.height == 2
    assert any(note.startswith(f"{column} was left empty where") for note in imported.notes)


def test_a_call_that_ends_before_it_starts_has_no_latency(spans):
    imported = import_log([spans({"endTimeUnixNano": "5"}, {})])
    assert imported.executions["latency_s"].to_list() == [None, 1.0]
    assert any("latency_s was left empty where span.duration_s" in note for note in imported.notes)


def test_a_span_of_another_shape_is_set_aside(spans):
    path = spans({}, {})
    document = json.loads(path.read_text())
    listed = document["resourceSpans"][0]["scopeSpans"][0]["spans"]
    listed += [{"spanId": 7}, "no span", {**listed[0], "spanId": "b" * 16, "attributes": [{"key": "gen_ai.system"}]}]
    listed += [{**listed[0], "spanId": "c" * 16, "startTimeUnixNano": "soon"}]
    path.write_text(json.dumps(document))
    imported = import_log([path])
    assert imported.executions.height == 2
    assert set(imported.rejected["rule"]) == {"record_readable"}


def test_half_a_surrogate_and_long_texts_do_no_harm(spans):
    imported = import_log(
        [spans({"attributes": {"gen_ai.request.model": "a\ud800"}}, {"attributes": {"error.type": "x" * 999}})]
    )
    assert imported.rejected["rule"].to_list() == ["model_type"]
    assert imported.executions["error_type"].to_list()[0].startswith("sha256:")


def test_cut_and_binary_rubbish_is_refused_in_one_sentence(spans, tmp_path):
    whole = spans({}, {}).read_bytes()
    for name, data in {
        "cut.json": whole[: len(whole) // 2],
        "not-utf8.json": whole[:300] + b"\xff\xfe" + whole[300:],
        "deep.json": b'{"resourceSpans": ' + b"[" * 200_000 + b"]" * 200_000 + b"}",
        "rubbish.pb": b"\n\x05service.name\x00\xff\xff",
    }.items():
        path = tmp_path / name
        path.write_bytes(data)
        with pytest.raises(InputError) as refused:
            import_log([path], format="otlp")
        assert str(refused.value).count("\n") == 0


def test_lines_that_are_no_export_request_are_set_aside_with_their_numbers(spans, tmp_path):
    line = spans({}).read_text()
    path = tmp_path / "traces.jsonl"
    path.write_text(
        "\n".join([line, "{cut", "", '["a list"]', '{"resourceSpans": 5}', line.replace("a" * 32, "b" * 32)]) + "\n"
    )
    imported = import_log([path])
    assert imported.executions.height == 2
    assert imported.rejected.select("row", "rule").rows() == [(2, "record_readable"), (4, "record_readable")]


def test_a_line_of_any_length_takes_bounded_memory(tmp_path, spans):
    """A line of 100 MB is passed over in pieces, and the lines after it are read."""
    path, line = tmp_path / "traces.jsonl", spans({}).read_text()
    with path.open("w") as file:
        file.write(line + "\n")
        for _ in range(100):
            file.write("x" * 10**6)
        file.write("\n" + line + "\n")
    rejected = []
    tracemalloc.start()
    read = list(json_documents.documents(path, lambda *why: rejected.append(why), longest=2**20))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [row for row, _ in read] == [1, 3] and [why[1] for why in rejected] == ["line_length"]
    assert peak < 16 * 2**20


def test_the_sampler_keeps_what_serving_sets_and_not_what_each_request_sets(spans):
    varied = [{"attributes": {"gen_ai.request.max_tokens": n, "gen_ai.request.temperature": 0.5}} for n in range(30)]
    imported = import_log([spans(*varied)])
    assert imported.executions["sampler"].unique().to_list() == ["temperature=0.5"]
    assert any("max_tokens has 30 values in 30 calls" in note for note in imported.notes)
    fixed = [{"attributes": {"gen_ai.request.max_tokens": 64, "gen_ai.request.seed": n}} for n in range(30)]
    imported = import_log([spans(*fixed)])
    assert imported.executions["sampler"].unique().to_list() == ["max_tokens=64"]
    assert any("gen_ai.request.seed" in note for note in imported.notes)


def test_a_failed_call_is_in_the_context_of_those_that_worked(spans):
    served = {"attributes": {"gen_ai.response.model": "m-2026-01-01"}}
    failed = {"attributes": {"error.type": "timeout", "gen_ai.response.model": "m"}}
    found = rows(spans(failed, served, failed)).sort("time")
    assert found["engine_version"].to_list() == ["m-2026-01-01"] * 3


def test_regime_and_model_may_be_set(spans):
    found = rows(spans({}), constants={"regime": "evaluation", "model": "other"})
    assert found.select("regime", "model").rows() == [("evaluation", "other")]


def test_older_conventions_are_aliases(spans):
    old = {"gen_ai.operation.name": None, "gen_ai.system": "openai", "gen_ai.usage.input_tokens": None}
    old |= {"gen_ai.usage.prompt_tokens": 7, "gen_ai.usage.completion_tokens": 3}
    found = rows(spans({"attributes": old}))
    assert found.select("provider", "input_tokens", "output_tokens").rows() == [("openai", 7, 3)]
    assert found.schema["input_tokens"] == pl.Int64


def test_totals_since_a_start_are_differenced_and_steps_are_not(tmp_path):
    def request(at, value, temporality):
        point = {"startTimeUnixNano": str(10**18), "timeUnixNano": str(10**18 + at * 10**9), "asInt": str(value)}
        total = {"aggregationTemporality": temporality, "dataPoints": [point]}
        metric = {"name": "gen_ai.client.inference.usage.input_tokens", "sum": total}
        return {"resourceMetrics": [{"resource": {}, "scopeMetrics": [{"scope": {}, "metrics": [metric]}]}]}

    path = tmp_path / "metrics.jsonl"
    for temporality, values in ((2, [5, 7, 3]), (1, [5, 7, 3])):
        path.write_text("\n".join(json.dumps(request(10 * (n + 1), v, temporality)) for n, v in enumerate(values)))
        found = import_log([path]).telemetry.sort("window_start", "window_s")["value"].to_list()
        assert found == ([5, 2, 3] if temporality == 2 else [5, 7, 3])


def messages(text, role="user"):
    return json.dumps(
        [
            {"role": "system", "parts": [{"content": "Be brief."}]},
            {"role": role, "parts": [{"content": text, "type": "text"}]},
        ]
    )


def test_a_prompt_names_the_item_where_it_is_asked_for_and_no_text_is_kept(spans):
    asked = [
        {"attributes": {"gen_ai.input.messages": messages(text)}} for text in ("canary  one", "canary one", "canary two")
    ]
    mine = Privacy(salt=b"s" * 32, item_by_prompt=True)
    imported = import_log([spans(*asked)], privacy=mine)
    items = imported.executions["item"].to_list()
    assert items == [mine.prompt_item(text) for text in ("canary one", "canary one", "canary two")] and items[0] != items[2]
    assert imported.texts.is_empty() and "canary" not in imported.executions.write_csv()
    assert import_log([spans(*asked)]).executions["item"].null_count() == 3


def test_texts_are_kept_where_they_are_asked_for(spans):
    call = {
        "attributes": {"gen_ai.input.messages": messages("what"), "gen_ai.output.messages": messages("that", "assistant")}
    }
    texts = import_log([spans(call)], privacy=Privacy(keep_text=True, salt=b"s" * 32)).texts
    assert texts.select("role", "text").rows() == [("prompt", "what"), ("response", "that")]


def test_spans_exported_twice_change_neither_session_nor_turn(logs, tmp_path):
    path = logs("otlp-openinference/traces.json")
    (tmp_path / "again.json").write_bytes(path.read_bytes())
    once, twice = import_log([path]), import_log([path, tmp_path / "again.json"])
    assert twice.executions.equals(once.executions)
    assert twice.rejected.height == 19 and set(twice.rejected["rule"]) == {"execution_id_unique"}
    assert [note for note in twice.notes if "calls" in note] == [note for note in once.notes if "calls" in note]


def test_a_single_call_exported_twice_is_no_session(spans):
    assert "session" not in import_log([spans({"spanId": "b" * 16}, {"spanId": "b" * 16})]).executions


def test_a_circle_of_calls_loses_none(spans):
    circle = [{"spanId": "1" * 16, "parentSpanId": "2" * 16}, {"spanId": "2" * 16, "parentSpanId": "1" * 16}]
    imported = import_log([spans(*circle)])
    assert imported.rows == 2
    assert any("2 calls are their own ancestors" in note for note in imported.notes)


def test_a_start_that_was_never_set_gives_no_latency(spans):
    executions = import_log([spans({"startTimeUnixNano": "0"})]).executions
    assert "latency_s" not in executions and "time" not in executions


def test_an_attribute_whose_name_is_no_text(spans):
    path = spans({})
    path.write_text(path.read_text().replace('"attributes": [{"key"', '"attributes": [{"key": 1, "value": {}}, {"key"'))
    assert import_log([path]).rows == 1


def test_a_password_before_a_host_goes_no_further(spans):
    asked = {"server.address": "ada:hunter2@llm.example", "server.port": 8000}
    imported = import_log([spans({"attributes": asked})])
    assert imported.executions["router"].to_list() == ["llm.example"]
    assert imported.executions["instance"].to_list() == ["llm.example:8000"]
    assert "hunter2" not in imported.executions.write_csv() and not any("hunter2" in note for note in imported.notes)


@pytest.mark.parametrize("factor", [10**3, 10**6, 10**9], ids=["microseconds", "milliseconds", "seconds"])
def test_times_of_another_unit_are_no_instants_in_nanoseconds(spans, factor):
    start, end = 1767323045 * 10**9, 1767323046 * 10**9
    given = {"startTimeUnixNano": str(start // factor), "endTimeUnixNano": str(end // factor)}
    imported = import_log([spans(given, {"startTimeUnixNano": str(start), "endTimeUnixNano": str(end)})])
    assert imported.executions["latency_s"].to_list() == [None, 1.0]
    assert imported.executions["time"].null_count() == 1
    assert any("is not an instant in nanoseconds" in note for note in imported.notes)


def test_more_cached_than_read_tokens_are_said(spans):
    apart = {"gen_ai.usage.cache_read.input_tokens": 25}
    imported = import_log([spans({"attributes": apart}, {"attributes": {"gen_ai.usage.cache_read.input_tokens": 10}})])
    assert imported.executions["cached_tokens"].to_list() == [25, 10]
    assert any(note.startswith("In 1 rows more tokens are cached than read") for note in imported.notes)


def test_rows_of_many_files_are_named_with_their_files(spans):
    nameless = {"attributes": {"gen_ai.request.model": None}}
    traces = [{"traceId": f"{number:032x}"} for number in range(5)]
    paths = [spans(trace, {**trace, **nameless}, name=f"{trace['traceId']}.json") for trace in traces]
    imported = import_log(paths)
    assert imported.rows == 5
    assert sorted(imported.rejected["file"]) == sorted(map(str, paths)) and set(imported.rejected["rule"]) == {"model_given"}
