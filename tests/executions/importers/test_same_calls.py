"""One traffic, logged by a client and by a gateway: it is recognised, and never counted twice in silence."""

import datetime
import json
import random

import pytest

from divergence.errors import InputError
from divergence.executions.importers import import_log

START = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


@pytest.fixture
def logged(tmp_path):
    """Write one traffic as rows of LiteLLM and as spans: calls are (seconds, input, output) of each."""

    def make(gateway, client):
        rows, spans = [], []
        for number, (start, read, written) in enumerate(gateway):
            begun = START + datetime.timedelta(seconds=start)
            row = {"request_id": f"g{number}", "call_type": "acompletion", "model": "openai/m", "model_group": "m"}
            row |= {"startTime": begun.isoformat(), "endTime": (begun + datetime.timedelta(seconds=1)).isoformat()}
            rows.append(
                {
                    **row,
                    "prompt_tokens": read,
                    "completion_tokens": written,
                    "spend": 0.1,
                    "api_key": "",
                    "status": "success",
                }
            )
        for number, (start, read, written) in enumerate(client):
            nanoseconds = int((START.timestamp() + start) * 1e9)
            span = {"traceId": f"{number:032x}", "spanId": f"{number:016x}", "name": "chat"}
            span |= {"startTimeUnixNano": str(nanoseconds), "endTimeUnixNano": str(nanoseconds + 10**9)}
            texts = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "m"}
            counts = {"gen_ai.usage.input_tokens": read, "gen_ai.usage.output_tokens": written}
            attributes = [{"key": key, "value": {"stringValue": value}} for key, value in texts.items()]
            attributes += [
                {"key": key, "value": {"intValue": str(value)}} for key, value in counts.items() if value is not None
            ]
            spans.append({**span, "attributes": attributes})
        (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        (tmp_path / "spans.json").write_text(
            json.dumps({"resourceSpans": [{"scopeSpans": [{"scope": {}, "spans": spans}]}]})
        )
        return [tmp_path / "rows.jsonl", tmp_path / "spans.json"]

    return make


def traffic(calls, seed=1, every=5.0):
    draw = random.Random(seed)
    return [(number * every + draw.random(), draw.randint(50, 4000), draw.randint(1, 900)) for number in range(calls)]


@pytest.mark.parametrize("calls", [1, 3, 200])
def test_the_same_traffic_is_refused_until_it_is_declared(logged, calls):
    client = traffic(calls)
    paths = logged([(start + 0.15, read, written) for start, read, written in client], client)
    with pytest.raises(InputError, match=rf"{calls} of {calls} calls of litellm and otlp agree .* --same-calls first"):
        import_log(paths)
    once = import_log(paths, same_calls="first")
    assert once.rows == calls and once.executions["cost_usd"].count() == calls
    assert set(once.rejected["rule"]) == {"same_call"} and once.rejected.height == calls
    assert any(f"{calls} calls of otlp are those of litellm" in note for note in once.notes)
    assert import_log(paths[::-1], same_calls="first").executions["execution_id"].str.contains(":").all()
    both = import_log(paths, same_calls="both")
    assert both.rows == 2 * calls and both.rejected.is_empty()


def test_calls_that_only_one_side_saw_stay(logged):
    client = traffic(40)
    only_client = [(1000.0, 5, 5), (1003.0, None, None)]
    gateway = [(start + 0.1, read, written) for start, read, written in client[:30]]
    once = import_log(logged(gateway, client + only_client), same_calls="first")
    assert once.rows == 30 + 10 + 2


@pytest.mark.parametrize("seed", range(3))
def test_other_traffic_of_the_same_hours_is_counted(logged, seed):
    imported = import_log(logged(traffic(150, 2 * seed), traffic(150, 2 * seed + 1)))
    assert imported.rows == 300 and not any("agree in tokens" in note for note in imported.notes)


def test_the_same_requests_at_another_time_are_another_traffic(logged):
    client = traffic(60)
    imported = import_log(logged([(start + 3600, read, written) for start, read, written in client], client))
    assert imported.rows == 120


def test_traffic_of_equal_requests_cannot_be_told_apart_and_that_is_said(logged):
    steady = [(number * 0.5, 100, 1) for number in range(400)]
    imported = import_log(logged([(start + 0.1, read, written) for start, read, written in steady], steady))
    assert imported.rows == 800
    assert any("whether both logged the same traffic cannot be told" in note for note in imported.notes)


def test_a_wish_that_is_none_is_a_sentence(logged):
    with pytest.raises(InputError, match="choose from refuse, first, both"):
        import_log(logged(traffic(2), traffic(2)), same_calls="some")
