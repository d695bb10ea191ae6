"""A row that breaks a rule is set aside with the rule's name, its file and its row; nothing is lost."""

import json

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from row_schema import row_schema

from divergence.errors import InputError
from divergence.estimands import QUESTIONS
from divergence.executions import read
from divergence.executions.schema import SERVING_FACTORS, polars_schema

BREAKS = [
    ("regime", "production", "regime_known"),
    ("regime", None, "regime_known"),
    ("model", None, "model_given"),
    ("model", " ", "model_given"),
    ("item", None, "item_given"),
    ("item", "", "item_given"),
    ("score", 7.0, "score_in_range"),
    ("score", -0.01, "score_in_range"),
    ("score", float("nan"), "score_finite"),
    ("score", float("inf"), "score_finite"),
    ("score_n", 0, "score_n_positive"),
    ("score_n", 2.5, "score_n_type"),
    ("score_n", 10**15, "score_n_possible"),
    ("probability", 0.0, "probability_in_range"),
    ("probability", 5e-324, "probability_possible"),
    ("probability", 1.01, "probability_in_range"),
    ("probability", float("nan"), "probability_in_range"),
    ("execution_id", "id-9", "execution_id_unique"),
]


@pytest.mark.parametrize(("column", "value", "rule"), BREAKS)
def test_one_bad_value_rejects_one_row_by_name(rows, column, value, rule):
    frame = rows(score_n=[1.0] * 24, probability=[1.0] * 24, execution_id=[f"id-{n}" for n in range(24)])
    row = 3 if rule != "execution_id_unique" else 12  # the first of two equal ids stays; row 3 is one of evaluation
    values = frame[column].to_list()
    values[row] = value
    log = read(frame.with_columns(pl.Series(column, values, strict=False)))
    assert log.counts.rejected == {rule: 1}
    assert log.rejected["rule"].to_list() == [rule]
    assert log.rejected["row"].to_list() == [row + 1]
    assert log.rejected["file"].to_list() == ["frame 1"]
    assert log.valid.height == 23
    assert row + 1 not in log.valid["row"].to_list()


@pytest.mark.parametrize(
    ("column", "value", "rule"),
    [("score", "abc", "score_type"), ("score_n", "many", "score_n_type"), ("probability", "half", "probability_type")],
)
def test_a_text_where_a_number_belongs_rejects_the_row_and_not_the_file(tmp_path, rows, column, value, rule):
    frame = rows(score_n=["1"] * 24, probability=["1"] * 24).with_columns(pl.col("score").cast(pl.String))
    values = frame[column].to_list()
    values[5] = value
    path = tmp_path / "log.csv"
    frame.with_columns(pl.Series(column, values)).write_csv(path)
    log = read(path)
    assert log.rejected.select("file", "row", "rule", "value").rows() == [(str(path), 6, rule, value)]


def test_a_deployment_row_needs_no_item_and_an_unjudged_row_no_score(rows):
    frame = rows().with_columns(
        item=pl.when(pl.col("regime") == "evaluation").then("item"), score=pl.when(pl.col("trial") == 0).then("score")
    )
    log = read(frame)
    assert (log.counts.valid, log.counts.unjudged) == (24, 12)


def test_truth_values_are_scores(tmp_path, rows):
    path = tmp_path / "log.csv"
    rows(score=["True", "false"] * 12).write_csv(path)
    assert read(path).valid["score"].to_list() == [1.0, 0.0] * 12
    assert read(rows(score=[True, False] * 12)).valid["score"].to_list() == [1.0, 0.0] * 12


def test_the_first_broken_rule_names_the_row(rows):
    frame = rows(score=[7.0] + [1.0] * 23, model=[None] + ["m"] * 23)
    assert read(frame, accept_rejected=0.1).counts.rejected["model_given"] == 1  # others are copies


def test_generated_ids_are_never_duplicates_and_given_ones_are_compared_across_files(rows):
    same = rows()
    other = same.with_columns(trial=pl.col("trial") + 2)
    assert read([same, other]).counts.valid == 48
    assert read([same, same]).counts.rejected == {"row_once": 24}
    named = rows(execution_id=[f"id-{n}" for n in range(24)])
    log = read([named, named], accept_rejected=0.5)
    assert log.counts.rejected == {"execution_id_unique": 24}
    assert log.rejected["file"].unique().to_list() == ["frame 2"]


def test_a_row_rejected_for_another_reason_does_not_make_its_twin_a_duplicate(rows):
    frame = rows(execution_id=["same", "same", *(f"id-{n}" for n in range(22))], score=[7.0] + [1.0] * 23)
    assert read(frame).counts.rejected == {"score_in_range": 1}


def test_too_many_rejected_rows_stop_the_run_with_counts_and_an_example(rows):
    frame = rows(score=[7.0, float("nan")] + [1.0] * 22)
    with pytest.raises(InputError) as caught:
        read(frame)
    sentence = str(caught.value)
    assert "2 of 24 rows are rejected (8.3%, accepted are 5.0%)" in sentence
    assert "1 by score_finite, 1 by score_in_range" in sentence
    assert "row 1 of frame 1: score lies outside 0 to 1" in sentence
    assert read(frame, accept_rejected=0.1).counts.valid == 22


def test_no_valid_row_stops_the_run_whatever_is_accepted(rows):
    with pytest.raises(InputError, match="no valid row is left"):
        read(rows(score=7.0), accept_rejected=1.0)


def test_an_accepted_fraction_outside_0_to_1_is_refused(rows):
    with pytest.raises(InputError, match=r"seen 5\."):
        read(rows(), accept_rejected=5.0)


VALUES = {
    "regime": st.sampled_from(["evaluation", "deployment", "Deployment", "", None]),
    "model": st.sampled_from(["m", "n", "", None]),
    "item": st.sampled_from(["a", "b", "", None]),
    "score": st.one_of(st.none(), st.floats(width=32), st.sampled_from([0.0, 1.0, 0.5])),
    "score_n": st.one_of(st.none(), st.integers(-1, 3), st.sampled_from([10**6])),
    "probability": st.one_of(st.none(), st.sampled_from([0.0, 0.5, 1.0, 2.0])),
    "execution_id": st.one_of(st.none(), st.sampled_from(["x", "y", "z"])),
    "engine": st.sampled_from(["vllm", "sglang", "", None]),
    "context": st.sampled_from(["one", "two", None]),
    "latency_s": st.one_of(st.none(), st.floats()),
    "wave": st.sampled_from(["1", "2", None]),
}
RECORDS = st.lists(st.fixed_dictionaries({}, optional=VALUES), min_size=1, max_size=12)
QUIET = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]


def whole(log):
    """Every row is either valid or rejected, once, and what is said about the log can be said of any log."""
    assert log.counts.rows == log.counts.valid + sum(log.counts.rejected.values())
    assert (log.valid.height, log.rejected.height) == (log.counts.valid, sum(log.counts.rejected.values()))
    places = pl.concat([log.valid.select("file", "row"), log.rejected.select("file", "row")])
    assert places.is_unique().all()
    assert log.valid["context"].null_count() == 0
    assert log.valid["execution_id"].is_unique().all()
    assert log.valid["outcome"].is_between(0, 1).all() or log.kind == "positive"
    assert [a.question for a in log.answers()] == [question.name for question in QUESTIONS]


def attempt(source):
    try:
        log = read(source, accept_rejected=1.0)
    except InputError as error:
        assert str(error).endswith(".") and "\n" not in str(error)
    else:
        whole(log)


@settings(max_examples=60, deadline=None, suppress_health_check=QUIET, derandomize=True)
@given(RECORDS)
def test_any_small_log_is_read_whole_or_refused_in_a_sentence(tmp_path, records):
    types = polars_schema()
    names = {name for record in records for name in record}
    attempt(pl.DataFrame(records, schema={name: types[name] for name in VALUES if name in names}))
    path = tmp_path / "log.jsonl"  # Python writes NaN and Infinity, which JSON does not know
    path.write_text("\n".join(json.dumps(record) for record in records))
    attempt(path)


JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.text(max_size=2), st.integers(), max_size=1),
)
SOUND = {"regime": "deployment", "model": "m", "item": "a", "score": 1.0}


@settings(max_examples=60, deadline=None, suppress_health_check=QUIET, derandomize=True)
@given(st.lists(st.dictionaries(st.sampled_from([*VALUES, "time", "embedding", "turn", "other"]), JUNK), max_size=5))
def test_any_junk_in_json_lines_is_read_whole_or_refused_in_a_sentence(tmp_path, records):
    path = tmp_path / "log.jsonl"
    path.write_text("\n".join(json.dumps({**SOUND, **record}) for record in [{}, *records]), encoding="utf-8")
    attempt(path)


@settings(max_examples=40, deadline=None, suppress_health_check=QUIET, derandomize=True)
@given(st.binary(max_size=60))
def test_any_bytes_are_read_whole_or_refused_in_a_sentence(tmp_path, content):
    for name in ("log.csv", "log.jsonl", "log.json", "log.parquet", "log.arrow", "log.csv.gz"):
        path = tmp_path / name
        path.write_bytes(b"regime,model,score\n" + content if name == "log.csv" else content)
        attempt(path)


@settings(max_examples=40, deadline=None, suppress_health_check=QUIET, derandomize=True)
@given(RECORDS)
def test_dataframely_gives_the_same_verdict_on_every_row(records):
    """The rules that need nothing but the table, judged by an independent engine."""
    labels = ("regime", "model", "item", *SERVING_FACTORS)
    named = [{**record, "execution_id": f"id-{number}"} for number, record in enumerate([SOUND, *records])]
    frame = pl.DataFrame(named, schema=polars_schema()).with_columns(pl.col(labels).replace("", None))
    good, _ = row_schema().filter(frame)
    assert read(frame, accept_rejected=1.0).valid["execution_id"].to_list() == good["execution_id"].to_list()
