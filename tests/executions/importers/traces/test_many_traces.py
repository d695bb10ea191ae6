"""Calls of a log that does not fit into memory wait on disk: what is said of them over all spans is the same."""

import json
import random

import pytest

from divergence.executions.importers import (
    Privacy,
    blocks,
    held_records,
    import_log,
    span_tree,
    trace_buckets,
    trace_reading,
)

MODELS = ("openai/m-1", "m-2", None)


def pair(key, value):
    kind = "stringValue" if isinstance(value, str) else "intValue" if isinstance(value, int) else "doubleValue"
    return {"key": key, "value": {kind: str(value) if kind == "intValue" else value}}


def span(draw, trace, number):
    """A span of one of the kinds that bear on others: a wrapper's child, an agent, a conversation, a failure, a stream."""
    start = 10**18 + draw.randrange(10**12)
    made = {"traceId": f"{trace:032x}", "spanId": f"{trace * 100 + number:016x}", "name": "chat", "status": {}}
    made |= {"startTimeUnixNano": str(start), "endTimeUnixNano": str(start + draw.randrange(1, 10**10))}
    if number > 1 and draw.random() < 0.6:
        made["parentSpanId"] = f"{trace * 100 + draw.randrange(1, number):016x}"
    given = {"gen_ai.request.model": draw.choice(MODELS), "gen_ai.usage.input_tokens": draw.randrange(1, 99)}
    given["gen_ai.operation.name"] = draw.choice(("chat", "chat", "chat", "invoke_agent", "embeddings"))
    if draw.random() < 0.3:
        given["gen_ai.conversation.id"] = f"c{draw.randrange(9)}"
    if draw.random() < 0.3:
        given["gen_ai.agent.name"] = f"agent {draw.randrange(3)}"
    if draw.random() < 0.3:
        made["status"] = {"code": 2}
    elif draw.random() < 0.7:
        given |= {"gen_ai.response.model": f"m-2026-0{draw.randrange(1, 4)}", "gen_ai.response.id": f"r{trace}-{number}"}
    if draw.random() < 0.4:
        given["gen_ai.request.max_tokens"] = draw.randrange(1, 30)
    if draw.random() < 0.3:
        given["logfire.span_type"] = draw.choice(("span", "log"))
        given["duration"] = draw.choice((None, 0.5))
    made["attributes"] = [pair(key, value) for key, value in given.items() if value is not None]
    return made


def lines(draw):
    """Spans of many traces, events of their details and judgements, one export request a line, in no order."""
    documents = []
    for trace in range(1, 25):
        for number in range(1, draw.randrange(2, 9)):
            made = span(draw, trace, number)
            documents.append({"resourceSpans": [{"scopeSpans": [{"spans": [made]}]}]})
            if draw.random() < 0.1:
                documents.append(documents[-1])  # the same span again
            place = {"traceId": made["traceId"], "spanId": made["spanId"], "timeUnixNano": made["startTimeUnixNano"]}
            if draw.random() < 0.2:
                judged = {"gen_ai.evaluation.name": draw.choice("ab"), "gen_ai.evaluation.score.value": draw.random()}
                judged["gen_ai.response.id"] = draw.choice((f"r{trace}-{number}", None))
                attributes = [pair(key, value) for key, value in judged.items() if value is not None]
                entry = {**place, "eventName": "gen_ai.evaluation.result", "attributes": attributes}
                documents.append({"resourceLogs": [{"scopeLogs": [{"logRecords": [entry]}]}]})
            if draw.random() < 0.3:
                alone = {**place, "spanId": f"{draw.randrange(1, 10**9):016x}"} if draw.random() < 0.5 else place
                attributes = [*made["attributes"], pair("event.name", "gen_ai.client.inference.operation.details")]
                entry = {**alone, "attributes": attributes}
                documents.append({"resourceLogs": [{"scopeLogs": [{"logRecords": [entry]}]}]})
    draw.shuffle(documents)
    return [json.dumps(document) for document in documents]


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("held", [(3, 1, 2), (7, 20, 5)], ids=["single calls", "a few calls"])
def test_calls_that_wait_on_disk_are_those_held_in_memory(tmp_path, monkeypatch, seed, held):
    draw = random.Random(seed)
    written = lines(draw)
    half = len(written) // 2
    for name, part in (("one.jsonl", written[:half]), ("two.jsonl", written[half:])):
        (tmp_path / name).write_text("\n".join(part))
    paths, given = [tmp_path / "one.jsonl", tmp_path / "two.jsonl"], {"primary": "a", "privacy": Privacy(salt=b"0" * 32)}
    whole = import_log(paths, **given)
    for place, value in zip(((trace_reading, "HELD"), (blocks, "RECORDS"), (held_records, "BATCH")), held, strict=True):
        monkeypatch.setattr(*place, value)
    for place, value in (((trace_buckets, "IN_MEMORY"), 40), ((trace_buckets, "HELD"), 5), ((span_tree, "TOGETHER"), 9)):
        monkeypatch.setattr(*place, value)
    parts = import_log(paths, **given)
    assert whole.rows > 20 and whole.outcomes.height and whole.executions["score"].count()
    assert any("wrap other logged calls" in note for note in whole.notes)
    assert parts.executions.equals(whole.executions) and parts.outcomes.equals(whole.outcomes)
    assert parts.rejected.equals(whole.rejected) and parts.notes == whole.notes


@pytest.mark.parametrize("seed", range(4))
def test_the_order_of_spans_changes_nothing_that_is_said_of_a_call(tmp_path, seed):
    draw = random.Random(100 + seed)
    written = [line for line in lines(draw) if "resourceSpans" in line and "logfire" not in line]
    written = list(dict.fromkeys(written))  # which of two equal spans is set aside is a matter of order
    found = []
    for number in range(2):
        path = tmp_path / f"{number}.jsonl"
        path.write_text("\n".join(written))
        found.append(import_log([path], privacy=Privacy(salt=b"0" * 32)).executions.sort("execution_id"))
        draw.shuffle(written)
    assert found[0].height > 20 and found[0].equals(found[1])
