"""A value of the wrong kind may be a prompt or a key: a sentence tells its kind and size, and repeats no text."""

import json

import pytest

from divergence.executions.importers import Privacy, convert, import_log, written

SECRETS = ("sk-live-4f9a", "my card is 4111 1111 1111 1111", "Ann", "x" * 5000, "line\nbreak", "caf\u00e9", "\ud83d")
PLAIN = ("-3", "nan", "12:30:00", "1e5", "", "true", "2026-01-01T00:00:00", "None")


@pytest.mark.parametrize("value", SECRETS)
def test_a_text_is_told_by_its_length(value):
    assert convert.shown(value) == f"a text of {len(value)} characters"
    for function in (written.whole, written.amount, written.number, written.nanoseconds, written.utc):
        with pytest.raises(ValueError) as refused:
            function(value)
        assert value not in str(refused.value)


@pytest.mark.parametrize("value", PLAIN)
def test_what_is_written_like_a_number_or_a_time_is_repeated(value):
    assert convert.shown(value) == repr(value)


def test_other_kinds_are_told_by_kind_and_size():
    assert convert.shown(["secret", 1]) == "a list of 2"
    assert convert.shown({"secret": 1}) == "an object of 1 names"
    assert [convert.shown(value) for value in (-5, 2.5, True, None)] == ["-5", "2.5", "True", "None"]
    assert len(convert.shown(10**4000)) <= 45


def test_an_error_that_repeats_a_value_is_told_by_its_kind():
    for broken in (lambda: int("secret"), lambda: float("secret"), lambda: "\ud83d".encode()):
        with pytest.raises(ValueError) as caught:
            broken()
        assert "secret" not in convert.reason(caught.value) and "\ud83d" not in convert.reason(caught.value)
    assert "get" in convert.reason(AttributeError("'str' object has no attribute 'get'"))


def test_secrets_in_places_of_numbers_reach_no_sentence(tmp_path, inspect_log):
    secret = "hunter2"
    span = {"traceId": "a" * 32, "spanId": "b" * 16, "name": "chat", "startTimeUnixNano": secret, "endTimeUnixNano": secret}
    pairs = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "m", "gen_ai.usage.input_tokens": secret}
    span["attributes"] = [{"key": key, "value": {"stringValue": value}} for key, value in pairs.items()]
    odd = {**span, "spanId": "c" * 16, "attributes": [{"key": "gen_ai.request.model", "value": secret}], "events": secret}
    (tmp_path / "t.json").write_text(json.dumps({"resourceSpans": [{"scopeSpans": [{"scope": {}, "spans": [span, odd]}]}]}))
    head = "request_id,startTime,endTime,spend,model,prompt_tokens\n"
    (tmp_path / "r.csv").write_text(f"{head}a,{secret},{secret},{secret},m,{secret}\n")
    usage = {"m": {"input_tokens": secret, "total_cost": [secret]}}
    inspect_log(
        [
            {
                "id": "a",
                "epoch": 1,
                "uuid": "u",
                "scores": {"match": {"value": "C"}},
                "model_usage": usage,
                "total_time": secret,
            }
        ]
    )
    imported = import_log([tmp_path], privacy=Privacy(salt=b"0" * 32))
    assert imported.rows == 3 or imported.rejected.height
    assert secret not in json.dumps([*imported.notes, *imported.rejected["sentence"]])
    assert any("a text of 7 characters" in note for note in imported.notes)
