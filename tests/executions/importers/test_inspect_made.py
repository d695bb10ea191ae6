"""What the genuine Inspect logs do not show: other values, broken samples, interrupted archives, secrets."""

import json
import math
import sys
import zipfile

import polars as pl
import pytest

from divergence.errors import InputError
from divergence.executions.importers import import_log


def sample(number=1, value="C", **more):
    return {
        "id": f"q{number}",
        "epoch": 1,
        "input": "?",
        "target": "a",
        "uuid": f"u{number}",
        "scores": {"match": {"value": value, "answer": "a"}},
        **more,
    }


@pytest.mark.parametrize(
    ("value", "score"),
    [
        ("C", 1.0),
        ("I", 0.0),
        ("P", 0.5),
        ("N", 0.0),
        ("yes", 1.0),
        ("False", 0.0),
        ("0.25", 0.25),
        (True, 1.0),
        (1, 1.0),
        (0.75, 0.75),
        ("maybe", None),
        (math.nan, None),
        (None, None),
    ],
)
def test_values_as_inspects_own_value_to_float(inspect_log, value, score):
    # Beside it stands one sample that is judged, so that the scorer is known.
    imported = import_log([inspect_log([sample(1), sample(2, value)])])
    assert imported.executions["score"].to_list() == [1.0, score]
    assert imported.executions["scorer"].to_list() == ["match", "match"]
    assert imported.rejected.height == 0
    if value == "maybe":
        assert imported.outcomes["label"].to_list() == ["C", "maybe"]
        assert any("no number" in note for note in imported.notes)
    if isinstance(value, float) and math.isnan(value):
        assert any("NaN" in note for note in imported.notes)


def test_dictionaries_and_lists_of_values(inspect_log):
    path = inspect_log([sample(1, {"right": "C", "style": 0.5}), sample(2, {"right": "I", "style": 0.25})])
    imported = import_log([path])
    assert imported.executions["scorer"].unique().to_list() == ["match.right"]
    assert imported.executions["score"].to_list() == [1.0, 0.0]
    assert imported.outcomes["metric"].to_list() == ["match.right", "match.style"] * 2
    assert import_log([path], primary="match.style").executions["score"].to_list() == [0.5, 0.25]
    listed = import_log([inspect_log([sample(1, ["I", "C"])])])
    assert listed.outcomes["metric"].to_list() == ["match.0", "match.1"]


def test_the_declared_order_of_scorers_holds_where_a_sample_lacks_the_first(inspect_log):
    both = {"zeta": {"value": "C"}, "alpha": {"value": "I"}}
    first = sample(1, scores={"alpha": {"value": "C"}})
    path = inspect_log([first, sample(2, scores=both)], eval={"scorers": [{"name": "zeta"}, {"name": "alpha"}]})
    table = import_log([path]).executions
    assert table["score"].to_list() == [None, 1.0]
    assert table["scorer"].to_list() == ["zeta", "zeta"]


def test_values_beyond_one_stay_outcomes(inspect_log):
    imported = import_log([inspect_log([sample(1, 7), sample(2, 0.5)])])
    assert imported.executions["score"].to_list() == [None, None]
    assert imported.outcomes["value"].to_list() == [7.0, 0.5]
    assert any("from 7 to 7" in note for note in imported.notes)


def test_broken_samples_are_set_aside_with_rule_and_row(inspect_log):
    path = inspect_log(
        [
            sample(1),
            sample(1),
            sample(3, math.inf),
            sample(4, id=None),
            "no sample",
            sample(6, invalidation={"author": "x"}),
        ]
    )
    imported = import_log([path])
    assert imported.executions.height == 1
    told = imported.rejected.sort("row").select("row", "rule").rows()
    assert told == [
        (2, "execution_id_unique"),
        (3, "score_finite"),
        (4, "item_given"),
        (5, "record_readable"),
        (6, "sample_valid"),
    ]
    assert all(sentence.endswith(".") for sentence in imported.rejected["sentence"])


def test_errors_limits_and_retries(inspect_log):
    failed = {"message": "secret text", "traceback": "Traceback\n  x\nmy.module.SandboxError: secret text"}
    path = inspect_log(
        [
            sample(1, error=failed, scores=None),
            sample(2, limit={"type": "token", "limit": 10}),
            sample(3),
            sample(4, error={"message": "?"}, error_retries=[{"message": "once"}]),
        ],
        status="error",
    )
    imported = import_log([path])
    assert imported.executions["error_type"].to_list() == ["SandboxError", "limit:token", None, "error"]
    assert imported.executions["attempts"].to_list() == [None, None, None, 2]
    assert imported.executions["score"].to_list() == [None, 1.0, 1.0, 1.0]
    assert "'error'" in imported.notes[0]
    assert "secret text" not in str(imported.executions.rows())


def test_a_log_of_version_1(inspect_log):
    old = {"id": 1, "epoch": 1, "input": "?", "target": "a", "score": {"value": "C", "answer": "a"}}
    path = inspect_log([old], version=1, results={"scorer": {"name": "match"}, "metrics": {}})
    imported = import_log([path])
    assert imported.executions.select("score", "scorer", "answer", "item").row(0) == (1.0, "match", "a", "arith/1")
    assert import_log([path]).executions["execution_id"][0] == imported.executions["execution_id"][0]


def test_a_version_that_is_not_known_is_told(inspect_log):
    assert any("log version 3" in note for note in import_log([inspect_log([sample()], version=3)]).notes)


def test_cached_tokens_counted_beside_the_input_are_added(inspect_log):
    apart = {"input_tokens": 10, "output_tokens": 5, "input_tokens_cache_read": 90, "total_tokens": 105}
    within = {"input_tokens": 100, "output_tokens": 5, "input_tokens_cache_read": 90, "total_tokens": 105}
    table = import_log([inspect_log([sample(1, model_usage={"m": apart}), sample(2, model_usage={"m": within})])])
    assert table.executions["input_tokens"].to_list() == [100, 100]


def test_factors_from_metadata_arguments_and_tags_and_nothing_secret(inspect_log):
    arguments = {
        "tensor_parallel_size": 2,
        "api_key": "sk-hidden",
        "auth_token": "hidden2",
        "client_secret": "hidden3",
        "max_tokens": 77,
        "kv_cache_dtype": "fp8",
    }
    path = inspect_log(
        [sample()],
        metadata={"engine": "vllm", "unrelated": 1},
        tags=["hardware:h100", "nightly", "engine=other"],
        plan={"config": {"temperature": 1.0, "top_p": 0.9}},
        eval={"model_args": arguments, "model_base_url": "https://user:hidden4@host.example:8000/v1?key=hidden5"},
    )
    imported = import_log([path])
    row = imported.executions.row(0, named=True)
    assert row["engine"] == "vllm"
    assert row["hardware"] == "h100"
    assert row["parallelism"] == "tp=2"
    assert row["kv_cache_dtype"] == "fp8"
    assert row["sampler"] == "temperature=1,top_p=0.9"
    assert row["router"] == "host.example:8000"
    everything = repr(imported)
    assert "hidden" not in everything
    assert "eval.model_args.max_tokens" in imported.unmapped
    assert not any("api_key" in name for name in imported.unmapped)
    assert any("eval.model_args.api_key" in note and "secret" in note for note in imported.notes)


def test_optional_values_that_cannot_be_read_are_left_empty_and_counted(inspect_log):
    samples = [sample(1, total_time=-1), sample(2, total_time="long"), sample(3, total_time=2)]
    imported = import_log([inspect_log(samples)])
    assert imported.executions["latency_s"].to_list() == [None, None, 2.0]
    assert sum("latency_s was left empty" in note for note in imported.notes) == 2


def test_constants_and_regime(inspect_log):
    path = inspect_log([sample()])
    table = import_log([path], constants={"regime": "deployment", "model": "gpt", "turn": "3"}).executions
    assert table.select("regime", "model", "turn").row(0) == ("deployment", "gpt", 3)
    assert table.schema["turn"] == pl.Int64
    for wrong, said in [
        ({"regime": "production"}, "evaluation or deployment"),
        ({"modle": "x"}, "did you mean model"),
        ({"turn": "three"}, "Int64"),
    ]:
        with pytest.raises(InputError, match=said):
            import_log([path], constants=wrong)


def test_a_missing_model_asks_for_one(inspect_log):
    path = inspect_log([sample()], eval={"model": ""})
    with pytest.raises(InputError, match="--set model=NAME"):
        import_log([path])
    assert import_log([path], constants={"model": "m"}).executions["model"].to_list() == ["m"]


def test_an_unknown_scorer_names_those_there_are(inspect_log):
    with pytest.raises(InputError, match="choose from match"):
        import_log([inspect_log([sample()])], primary="mach")


def archive(path, members):
    with zipfile.ZipFile(path, "w") as file:
        for name, content in members.items():
            file.writestr(name, content if isinstance(content, str | bytes) else json.dumps(content))
    return path


HEADER = {"version": 2, "eval": {"task": "arith", "model": "m", "run_id": "r"}, "plan": {}}


def test_an_interrupted_archive_gives_its_samples_and_summaries(tmp_path):
    late = sample(2, "I", retries=1, message_count=3, error="timeout")
    path = archive(
        tmp_path / "a.eval",
        {
            "_journal/start.json": HEADER,
            "samples/q1_epoch_1.json": sample(1),
            "_journal/summaries/1.json": [sample(1, "I"), late],
        },
    )
    imported = import_log([path])
    assert imported.executions["score"].to_list() == [1.0, 0.0]
    assert imported.executions["attempts"].to_list() == [None, 2]
    assert imported.executions["error_type"].to_list() == [None, "error"]
    assert any("'started'" in note for note in imported.notes)
    assert any("1 samples as summaries only" in note for note in imported.notes)


def test_a_text_that_a_summary_cut_has_no_hash(tmp_path):
    cut = sample(1, scores={"match": {"value": "C", "answer": "x" * 1021 + "..."}})
    path = archive(tmp_path / "a.eval", {"header.json": {**HEADER, "status": "success"}, "summaries.json": [cut]})
    imported = import_log([path])
    assert imported.executions.height == 1
    assert "answer" in imported.missing


def test_a_damaged_member_is_one_rejected_row(tmp_path):
    path = archive(
        tmp_path / "a.eval",
        {
            "header.json": {**HEADER, "status": "success"},
            "samples/q1_epoch_1.json": sample(1),
            "samples/q2_epoch_1.json": '{"id": ',
            "summaries.json": [sample(1), sample(2)],
        },
    )
    imported = import_log([path])
    assert imported.executions.height == 1
    assert imported.rejected.select("row", "rule").rows() == [(2, "record_readable")]
    assert "samples/q2_epoch_1.json is not valid JSON" in imported.rejected["sentence"][0]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.eval", b"no archive", "not a whole ZIP"),
        ("a.json", b"{", "no format that is recognised"),
        ("a.json", b'{"version": 2, "status": "success", "eval": {', "not valid JSON"),
        ("a.json", b'{"status": "success", "eval": {"model": "m"}, "samples": 3}', "`samples` is not a list"),
        ("a.txt", b"", "no format that is recognised"),
    ],
)
def test_files_that_are_no_log_give_one_sentence(tmp_path, name, content, said):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=said) as caught:
        import_log([tmp_path / name])
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_that_are_not_there_or_hold_something_else(tmp_path):
    for paths, said in [([tmp_path / "none.json"], "does not exist"), ([tmp_path], "holds no log"), ([], "No path")]:
        with pytest.raises(InputError, match=said):
            import_log(paths)
    (tmp_path / "a.json").write_text('{"x": 1}')
    with pytest.raises(InputError, match="not a log of Inspect"):
        import_log([tmp_path / "a.json"], format="inspect")
    with pytest.raises(InputError, match=r"choose from .*inspect, .*lm-eval"):
        import_log([tmp_path / "a.json"], format="nothing")
    with pytest.raises(InputError, match=r"no log of Inspect: it has no header\.json"):
        import_log([archive(tmp_path / "b.eval", {"other.json": {}})])


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="Python 3.14 reads Zstandard members by itself")
def test_without_the_extra_zstandard_members_name_it(inspect_logs, monkeypatch):
    monkeypatch.setitem(sys.modules, "zipfile_zstd", None)
    with pytest.raises(InputError, match=r"eval-divergence\[inspect\]"):
        import_log([inspect_logs / "mock_arith_inspect-0.3.285.eval"])
