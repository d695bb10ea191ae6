"""The mappings as data, and the small engine that applies them."""

import datetime

import pytest

from divergence.executions import schema
from divergence.executions.importers import convert, factors, formats, mapping_of
from divergence.executions.importers.kept_values import answer
from divergence.executions.importers.mapping import Draft, Field, Place, dig


@pytest.mark.parametrize("name", formats())
def test_mappings_fill_canonical_columns_only(name):
    fields = mapping_of(name)
    assert {field.column for field in fields} <= set(schema.COLUMNS)
    if fields:  # a format of telemetry alone fills no executions
        assert {"execution_id", "model"} <= {field.column for field in fields if field.needed}


def test_names_of_factors_are_canonical():
    allowed = {*schema.SERVING_FACTORS, "context", "wave"}
    assert {factor.column for factor in factors.FACTOR_NAMES} == allowed
    assert not [factor.name for factor in factors.FACTOR_NAMES if factors.secret(factor.name)]
    assert not [name for name in factors.SAMPLER_NAMES if factors.secret(name)]


@pytest.mark.parametrize(
    "name",
    [
        "api_key",
        "apikey",
        "HF_TOKEN",
        "auth_token",
        "client_secret",
        "aws_access_key_id",
        "password",
        "Authorization",
        "credentials",
        "token",
        "session_token",
        "x-access-token",
    ],
)
def test_secrets_by_their_names(name):
    assert factors.secret(name)


@pytest.mark.parametrize(
    "name",
    [
        *("max_tokens", "tokenizer", "input_tokens", "tokenized_requests", "token_type"),
        *("add_bos_token", "eot_token_id", "tokenizer_bos_token", "token_limit", "time_per_output_token", "tokenCount"),
    ],
)
def test_names_that_are_no_secrets(name):
    assert not factors.secret(name)


def test_earlier_sources_and_names_win_and_auto_is_no_level():
    second = {"engine": "x", "dtype": "auto", "quantization": "awq"}
    found = factors.serving_factors({"engine": "vllm"}, second, None, [1])
    assert found == {"engine": "vllm", "quantization": "awq"}
    assert factors.serving_factors({"load_in_4bit": "True", "load_in_8bit": False}) == {"quantization": "4bit"}
    parts = {"data_parallel_size": 4, "tensor_parallel_size": 2}
    assert factors.serving_factors(parts) == {"parallelism": "tp=2,dp=4"}


def test_sampler_labels_are_equal_for_equal_settings():
    assert factors.sampler_label({"temperature": 1.0}) == factors.sampler_label({"temperature": "1"}) == "temperature=1"
    assert factors.sampler_label({"seed": 123456789, "top_p": 0.95}) == "top_p=0.95,seed=123456789"
    assert factors.sampler_label({"temperature": 0}, {"temperature": 0.7}) == "temperature=0.7"
    assert factors.sampler_label({"stop_seqs": ["x"]}, None) is None


def test_converters_give_canonical_values_or_the_end_of_a_sentence():
    assert convert.label("  a ") == "a"
    assert convert.label("") is None
    assert convert.only_label([" x"]) == "x"
    assert convert.only_label(["x", "y"]) is None
    assert convert.count(3.0) == 3
    instant = convert.moment("2025-05-12T20:28:13-04:00")
    assert instant == datetime.datetime(2025, 5, 13, 0, 28, 13, tzinfo=datetime.UTC)
    assert convert.moment(0) == datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
    wrong = [
        (convert.count, -1),
        (convert.count, True),
        (convert.count, 1.5),
        (convert.count, 2**63),
        (convert.amount, float("nan")),
        (convert.amount, -0.1),
        (convert.moment, "2025-05-12T20:28:13"),
        (convert.moment, "yesterday"),
        (convert.moment, True),
        (convert.text, ["a"]),
        (convert.text, "\ud800"),
    ]
    for converter, value in wrong:
        with pytest.raises(ValueError, match=r"^is not "):
            converter(value)


def test_paths_of_nested_records():
    assert dig({"a": {"b": 1}}, "a.b") == 1
    assert dig({"a": [1]}, "a.b") is None
    assert dig(None, "a") is None


def settled(made):
    made.settle()
    return made.rows.frames()[0].collect()


def draft(*reads):
    fields = [
        Field("execution_id", "d.id", convert.text, needed=True),
        Field("answer", "s.first", convert.label),
        Field("answer", "s.second", convert.label),
    ]
    return Draft(fields, reads, {})


def test_the_second_path_of_a_column_is_used_where_the_first_is_empty():
    made = draft()
    for number, record in enumerate([{"first": "a", "second": "b"}, {"second": "b"}, {"first": [], "second": "b"}]):
        assert made.add({"d": {"id": str(number)}, "s": record}, [], Place("f", number))
    assert settled(made)["answer"].to_list() == ["a", "b", "b"]
    assert "answer was left empty where s.first is not text: [] (1 times)." in made.sentences()


def test_names_that_carry_data_and_are_not_read_are_collected():
    made = draft("s.scores.*.value", "s.all")
    made.watch(
        "s",
        {
            "first": "x",
            "all": {"deep": 1},
            "empty": None,
            "nothing": [],
            "other": 0,
            "scores": {"one": {"value": 1, "why": "y"}, "two": {"value": 2}},
            "my_api_key": "sk",
        },
    )
    assert made.unmapped == {"s.other", "s.scores.*.why"}
    assert made.sentences() == ("Left out, since the name looks like a secret: s.my_api_key.",)


def test_what_a_run_shares_is_mapped_once_and_later_sources_still_fill_gaps():
    fields = [
        Field("execution_id", "d.id", convert.text, needed=True),
        Field("model", "run.model", convert.text, needed=True, aliases=("run.old_model",)),
        Field("answer", "d.answer", convert.label),
        Field("answer", "run.answer", convert.label),
    ]
    made = Draft(fields, [], {})
    run = {"run": {"old_model": "m", "answer": "of the run"}}
    shared = made.shared(run)
    assert shared.values == {"model": "m"}
    for number, own in enumerate([{"answer": "own"}, {}]):
        assert made.add({**run, "d": {"id": str(number), **own}}, [], Place("f", number), shared)
    assert settled(made).select("model", "answer").rows() == [("m", answer("own")), ("m", answer("of the run"))]
    plain = Draft(fields, [], {})
    for number, own in enumerate([{"answer": "own"}, {}]):
        assert plain.add({**run, "d": {"id": str(number), **own}}, [], Place("f", number))
    assert settled(made).equals(settled(plain))
