"""Requests of OTLP read as columns give what reading them span by span gives, whatever stands in them."""

import json
import random

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from divergence.errors import InputError
from divergence.executions.importers import Privacy, foreign_files, import_log, otlp_columns, otlp_protobuf, otlp_spans

pytest.importorskip("msgspec", reason="msgspec (extra fast) is not installed")

GENUINE = (
    *("otlp-genai-openai/traces.json", "otlp-genai-openai/traces_file_exporter.jsonl", "otlp-openinference/traces.json"),
    *("otlp-traceloop/traces.json", "otlp-genai-openai/traces_default_nocontent.json"),
)
BINARY = ("otlp-logfire/traces.pb", "langfuse/otel_traces.pb", "vllm/otlp_traces.pb", "otlp-openinference/traces.pb")
ENDS = (None, "", "0", "12", "-1", "1.5", "chat", " x ", "[1]", "m-1 é", "Infinity", "1e400", "9" * 30, "\x00", "a\x1fb")
ENDS += ('{"temperature": 0.5, "max_tokens": 7}', '{"model": "m-3", "top_p": 1.0, "seed": 4}', "LLM", "generation", "{")
ENDS += ('{"prompt_tokens": 4, "output": 5.0, "total": {"a": [1]}, "prompt_tokens_details": {"cached_tokens": 3}}',)
ENDS += ("2026-01-02T03:04:05.678Z", '"2001-09-09T01:46:41Z"', '{"total": 0.25}')
DECIMALS = (0.0, -0.0, 1.0, 0.1, 1e22, 1e-7, -2.5, 123456789.123, 3)


def whole(path, fast, monkeypatch, **given):
    """Everything an import says, with its lines read as columns or span by span; and how many were read as columns."""
    taken = []
    take = otlp_columns.SpanColumns.take

    def watched(columns, *given):
        taken.append(take(columns, *given))
        return taken[-1]

    with monkeypatch.context() as patch:
        patch.setattr(otlp_columns.SpanColumns, "take", watched)
        patch.setattr(otlp_columns, "decoder", otlp_columns.decoder if fast else lambda: lambda _: None)
        try:
            made = import_log([path], "otlp", privacy=Privacy(salt=b"0" * 32), **given)
            said = (sorted(made.notes), made.unmapped, made.missing, made.rows)
            return said, made.executions, made.outcomes, made.rejected, sum(taken)
        except InputError as error:
            return (str(error),), pl.DataFrame(), pl.DataFrame(), pl.DataFrame(), sum(taken)


def same(path, monkeypatch, **given):
    """The number of lines read as columns, of a file that says the same either way."""
    fast, slow = (whole(path, fast, monkeypatch, **given) for fast in (True, False))
    assert fast[0] == slow[0]
    for one, other in zip(fast[1:4], slow[1:4], strict=True):
        assert_frame_equal(one, other, check_exact=True)
    assert slow[4] == 0
    return fast[4]


@pytest.mark.parametrize("name", GENUINE)
def test_genuine_spans_say_the_same(tmp_path, logs, monkeypatch, name):
    documents = [json.loads(line) for line in logs(name).read_text().splitlines()] if name.endswith("l") else None
    documents = documents or [json.loads(logs(name).read_text())]
    path = tmp_path / "traces.jsonl"
    path.write_text("\n".join(map(json.dumps, documents)))
    assert same(path, monkeypatch) == len(documents)


@pytest.mark.parametrize("name", BINARY)
def test_binary_spans_say_the_same_as_lines(tmp_path, logs, monkeypatch, name):
    pytest.importorskip("opentelemetry.proto", reason="opentelemetry-proto (extra otlp) is not installed")
    path = tmp_path / "traces.jsonl"
    path.write_text(json.dumps(otlp_protobuf.document(logs(name))))
    constants = {"model": "m"} if "vllm" in name else None
    assert same(path, monkeypatch, constants=constants) == 1
    lines, binary = (import_log([one], "otlp", constants=constants).executions for one in (path, logs(name)))
    placed = [name for name in ("source_file", "imported_at") if name in lines.columns]
    assert_frame_equal(lines.drop(placed), binary.drop(placed))


def value(draw):
    """A value of OTLP, most often a plain one."""
    kind = draw.choice(("text", "text", "text", "count", "count", "decimal", "switch", "list", "odd"))
    if kind == "text":
        return {"stringValue": draw.choice(ENDS[1:])}
    if kind == "count":
        return {"intValue": draw.choice(("1", "12", "0", "-3", "9223372036854775807"))}
    if kind == "decimal":
        return {"doubleValue": draw.choice(DECIMALS)}
    if kind == "switch":
        return {"boolValue": draw.random() < 0.5}
    if kind == "list":
        return {
            "arrayValue": {
                "values": [{"stringValue": draw.choice(("stop", "", "length"))} for _ in range(draw.randrange(3))]
            }
        }
    odd = ({}, {"bytesValue": "aGk="}, {"intValue": 7}, {"stringValue": "a", "intValue": "3"}, {"arrayValue": {}})
    odd += ({"kvlistValue": {"values": [{"key": "a", "value": {"stringValue": "b"}}]}}, {"stringValue": 5}, None, "text")
    odd += ({"arrayValue": {"values": [{"intValue": "3"}, {"stringValue": "a"}]}}, {"stringValue": "{}", "other": 1})
    return draw.choice(odd)


DIALECTS = [
    ("openinference.span.kind", {"stringValue": "LLM"}),
    ("llm.invocation_parameters", {"stringValue": '{"temperature": 0.5, "max_tokens": 7, "model": "m-3", "seed": 4}'}),
    ("llm.token_count.prompt", {"intValue": "7"}),
    ("llm.cost.total", {"doubleValue": 0.25}),
    ("langfuse.observation.type", {"stringValue": "generation"}),
    ("langfuse.observation.model.parameters", {"stringValue": '{"temperature": "0.7", "top_p": "Infinity", "x": {"y": 1}}'}),
    ("langfuse.observation.usage_details", {"stringValue": '{"input": 3, "output": 4, "prompt_tokens_details": {"a": 1}}'}),
    ("langfuse.observation.usage_details", {"stringValue": '{"input": 5}'}),
    ("langfuse.observation.cost_details", {"stringValue": '{"total": 0.125}'}),
    ("langfuse.observation.completion_start_time", {"stringValue": '"2001-09-09T01:46:41.5Z"'}),
    ("langfuse.observation.completion_start_time", {"stringValue": "later"}),
    ("logfire.span_type", {"stringValue": "log"}),
    ("duration", {"doubleValue": 1.5}),
    ("gen_ai.usage.raw", {"stringValue": '{"completion_tokens_details": {"reasoning_tokens": 2}}'}),
    ("gen_ai.usage.raw.completion_tokens_details.reasoning_tokens", {"intValue": "3"}),
    ("gen_ai.input.messages", {"stringValue": "[]"}),
]
NAMES = (*sorted(otlp_spans.WITH_TEXTS), "other.name", "url.path")


def span(draw, number, odd):
    """A span of a call with some attributes of any dialect; with `odd`, of other shapes, too."""
    made = {
        "traceId": f"{draw.randrange(6):032x}",
        "spanId": f"{number:016x}",
        "name": draw.choice(("chat", "llm_request", "")),
    }
    start = 10**18 + draw.randrange(10**11)
    made |= {"startTimeUnixNano": str(start), "endTimeUnixNano": str(start + draw.randrange(-10, 10**10))}
    pairs = [("gen_ai.request.model", {"stringValue": draw.choice(("m-1", "m-2"))})]
    pairs += [("gen_ai.operation.name", {"stringValue": draw.choice(("chat", "chat", "invoke_agent", "embeddings", ""))})]
    pairs += [("gen_ai.usage.input_tokens", {"intValue": str(draw.randrange(99))})]
    if draw.random() < 0.5:
        pairs += [("gen_ai.request.temperature", {"doubleValue": draw.choice(DECIMALS)})]
    if draw.random() < 0.3:
        pairs += [("server.address", {"stringValue": "u:p@host"}), ("server.port", {"intValue": "80"})]
    if draw.random() < 0.3:
        pairs += [
            ("gen_ai.response.finish_reasons", {"arrayValue": {"values": [{"stringValue": "stop"}] * draw.randrange(3)}})
        ]
    if draw.random() < 0.2:
        pairs += [("gen_ai.latency.e2e", {"doubleValue": draw.choice(DECIMALS)})]
    pairs += [pair for pair in DIALECTS if draw.random() < 0.15]
    if odd and draw.random() < 0.3:
        pairs += [(draw.choice(NAMES), value(draw)) for _ in range(draw.randrange(4))]
    made["attributes"] = [{"key": key, "value": given} for key, given in pairs]
    if draw.random() < 0.5:
        made["parentSpanId"] = f"{draw.randrange(1, 40):016x}"
    if draw.random() < 0.3:
        made["status"] = {"code": draw.choice((0, 1, 2, 2))}
    if draw.random() < 0.4:
        error = [{"key": "exception.type", "value": {"stringValue": draw.choice(("ValueError", ""))}}]
        chunk = {"name": "gen_ai.content.completion.chunk", "timeUnixNano": str(start + draw.randrange(10**9))}
        made["events"] = [draw.choice(({"name": "exception", "attributes": error}, chunk, {"name": "x"})) for _ in range(2)]
    if odd and draw.random() < 0.5:
        changed = draw.choice(
            ("traceId", "spanId", "parentSpanId", "startTimeUnixNano", "attributes", "events", "status", "name")
        )
        odd_ones = (None, "", "0", 5, [], {}, [None], "AAAAAAAAAAE=", "1_0", " 7", "18446744073709551615", True, [{}])
        made[changed] = draw.choice(odd_ones)
        if draw.random() < 0.2:
            del made[changed]
    return made


def document(draw, number, odd):
    """An export request of a few spans."""
    service = [{"key": "service.name", "value": {"stringValue": draw.choice(("shop", "sglang-1", "unknown_service:x"))}}]
    service += [{"key": "service.version", "value": {"stringValue": "1"}}] * draw.randrange(2)
    resource = {"resource": {"attributes": service}, "scopeSpans": []}
    for scope in range(draw.randrange(3)):
        spans = [span(draw, 100 * number + 10 * scope + place, odd) for place in range(draw.randrange(4))]
        named = draw.choice(({"name": "vllm.engine"}, {"name": "t"}, {}, None))
        resource["scopeSpans"].append({"scope": named, "spans": spans} if named is not None else {"spans": spans})
    made = {"resourceSpans": [resource]}
    if odd and draw.random() < 0.2:
        other = {"resourceLogs": [{"scopeLogs": []}]}, {"resourceSpans": None}, {"resourceSpans": [None]}, {"other": 1}
        made |= draw.choice((*other, {"resourceMetrics": []}, {"resourceSpans": [{"instrumentationLibrarySpans": []}]}))
    if odd and draw.random() < 0.1:
        resource[draw.choice(("resource", "scopeSpans"))] = draw.choice((None, 5, {}, [], [None], {"attributes": [None]}))
    return made


@pytest.mark.parametrize("odd", [False, True], ids=["plain", "odd"])
@pytest.mark.parametrize("seed", range(60))
def test_drawn_spans_say_the_same(tmp_path, monkeypatch, odd, seed):
    draw = random.Random(seed)
    monkeypatch.setattr(otlp_columns, "TOGETHER", draw.choice((1, 5, 10**6)))
    lines = [json.dumps(document(draw, number, odd and draw.random() < 0.5)) for number in range(1, 12)]
    path = tmp_path / "traces.jsonl"
    path.write_text("\n".join(lines))
    taken = same(path, monkeypatch, constants={"model": "m"} if draw.random() < 0.2 else None)
    assert odd or taken == len(lines)


DAMAGE = {
    "two documents in a line": lambda line: line + line,
    "a document over two lines": lambda line: line[:-1] + b"\n}",
    "a cut line": lambda line: line[: len(line) // 2],
    "no UTF-8": lambda line: line.replace(b'"chat"', b'"ch\xffat"'),
    "half a pair": lambda line: line.replace(b'"chat"', b'"ch\\ud800at"'),
    "a name twice": lambda line: line.replace(b'"traceId"', b'"spanId": "0000000000000001", "traceId"'),
    "NaN": lambda line: line.replace(b'"stringValue": "m"', b'"doubleValue": NaN'),
    "infinite": lambda line: line.replace(b'"stringValue": "m"', b'"doubleValue": 1e999'),
    "null of a kind": lambda line: line.replace(b'"stringValue": "m"', b'"stringValue": null, "intValue": "3"'),
    "a comma too many": lambda line: line.replace(b"}]}]}]}", b"},]}]}]}"),
    "a comment": lambda line: line.replace(b'"resourceSpans"', b'/* */"resourceSpans"'),
    "a list": lambda line: b"[" + line + b"]",
    "a mark of byte order": lambda line: b"\xef\xbb\xbf" + line,
    "blank lines": lambda line: b"\n  \n" + line + b"\n\n",
    "spaces about it": lambda line: b"  " + line + b"  \r",
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_damaged_lines_say_the_same(tmp_path, monkeypatch, damage):
    pair = [{"key": "gen_ai.request.model", "value": {"stringValue": "m"}}]
    pair += [{"key": "gen_ai.operation.name", "value": {"stringValue": "chat"}}]
    lines = []
    for number in range(1, 7):
        made = {"traceId": f"{number:032x}", "spanId": f"{number:016x}", "kind": "chat", "attributes": pair}
        lines.append(json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [made]}]}]}).encode())
    path = tmp_path / "traces.jsonl"
    path.write_bytes(b"\n".join(lines))
    assert same(path, monkeypatch) == 6
    assert damage(lines[3]) != lines[3]
    path.write_bytes(b"\n".join([*lines[:3], damage(lines[3]), *lines[4:]]))
    same(path, monkeypatch)


def test_any_byte_changed_says_the_same(tmp_path, monkeypatch):
    draw = random.Random(3)
    lines = [json.dumps(document(draw, number, True)).encode() for number in range(1, 60)]
    for place, line in enumerate(lines):
        bytes_of = bytearray(line)
        for _ in range(draw.randrange(3)):
            bytes_of[draw.randrange(len(line))] = draw.randrange(256)
        lines[place] = bytes(bytes_of).replace(b"\n", b" ")
    path = tmp_path / "traces.jsonl"
    path.write_bytes(b"\n".join([b'{"resourceSpans": []}', *lines]))
    assert 0 < same(path, monkeypatch, constants={"model": "m"}) < len(lines)


def test_lines_without_spans_are_plain(tmp_path, monkeypatch):
    path = tmp_path / "traces.jsonl"
    nothing = '{"resourceSpans": []}'
    path.write_text("\n".join([nothing, nothing, '{"resourceSpans": [{"scopeSpans": [{"spans": []}]}]}']))
    assert same(path, monkeypatch) == 3


def test_prompts_that_are_asked_for_are_read_one_by_one(tmp_path, monkeypatch):
    path = tmp_path / "traces.jsonl"
    draw = random.Random(2)
    path.write_text("\n".join(json.dumps(document(draw, number, False)) for number in range(1, 9)))
    monkeypatch.setattr(otlp_columns.SpanColumns, "take", lambda *_: pytest.fail("texts are not columns"))
    assert import_log([path], "otlp", privacy=Privacy(salt=b"0" * 32, keep_text=True)).rows


def test_without_msgspec_lines_are_read_one_by_one(tmp_path, monkeypatch):
    path = tmp_path / "traces.jsonl"
    draw = random.Random(2)
    path.write_text("\n".join(json.dumps(document(draw, number, False)) for number in range(1, 9)))
    with_it = import_log([path], "otlp", privacy=Privacy(salt=b"0" * 32)).executions
    monkeypatch.setattr(foreign_files, "_FAST", None)
    monkeypatch.setattr(otlp_columns.SpanColumns, "take", lambda *_: pytest.fail("msgspec was asked"))
    assert_frame_equal(import_log([path], "otlp", privacy=Privacy(salt=b"0" * 32)).executions, with_it)
