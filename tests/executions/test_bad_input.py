"""Every file that cannot be used says which file it is and why, in one sentence; what can be used is used."""

import gzip
import json
import os

import pandas as pd
import polars as pl
import pytest

from divergence.configuration import Configuration
from divergence.errors import InputError
from divergence.executions import files, read


def refused(source, **options) -> str:
    """The sentence with which a log is refused."""
    with pytest.raises(InputError) as caught:
        read(source, **options)
    sentence = str(caught.value)
    assert sentence.endswith(".") and "\n" not in sentence
    return sentence


def answer(log, question):
    return {answer.question: answer for answer in log.answers()}[question]


@pytest.mark.parametrize("name", ["log.csv", "log.parquet", "log.jsonl", "log.json", "log.arrow"])
def test_an_empty_file(tmp_path, name):
    (tmp_path / name).write_bytes(b"")
    assert refused(tmp_path / name) == f"The file {tmp_path / name} is empty."


def test_a_file_with_a_header_and_no_row(tmp_path):
    (tmp_path / "log.csv").write_text("regime,model,score\n")
    assert refused(tmp_path / "log.csv") == "The log has no rows."


def test_a_truncated_parquet_file(tmp_path, rows):
    path = tmp_path / "log.parquet"
    rows().write_parquet(path)
    path.write_bytes(path.read_bytes()[:-100])
    assert refused(path).startswith(f"The file {path} cannot be read: ")


def test_a_parquet_file_whose_data_are_damaged(tmp_path, rows):
    path = tmp_path / "log.parquet"
    rows(item=[f"item-{n}" for n in range(24)]).write_parquet(path, compression="zstd")
    content = bytearray(path.read_bytes())
    content[4:200] = bytes(196)
    path.write_bytes(bytes(content))
    assert refused([rows(), path]).startswith(f"The file {path} cannot be read: ")


def test_a_file_that_is_not_what_its_name_says(tmp_path):
    path = tmp_path / "log.parquet"
    path.write_text("regime,model,score\n")
    assert refused(path) == f"The file {path} cannot be read: it is not a Parquet file, whatever its name says."


def test_a_damaged_gzip_file(tmp_path):
    path = tmp_path / "log.csv.gz"
    path.write_bytes(b"\x1f\x8b\x08\x00 this is no deflate stream")
    assert refused(path).startswith(f"The file {path} cannot be read: ")


def test_a_file_of_unknown_format_and_a_path_that_does_not_exist(tmp_path):
    (tmp_path / "log.xlsx").write_bytes(b"PK")
    assert "has no known format: its name must end like one of Parquet" in refused(tmp_path / "log.xlsx")
    assert refused(tmp_path / "none.csv").startswith(f"No file or folder is named {tmp_path / 'none.csv'}")
    assert refused(str(tmp_path / "*.csv")).startswith("No file or folder is named")


def test_something_that_is_no_log_at_all():
    assert refused(3) == "A log is a path, a folder, a glob, an address or a data frame, seen int."
    assert refused(None).startswith("There is no execution log (no file was found)")
    assert refused(pl.DataFrame()) == "The frame 1 has no columns."
    assert refused(pd.DataFrame([[1, 2]], columns=["a", "a"])).startswith("The frame 1 cannot be read: ")
    assert refused("ftp://host/log.xlsx").startswith("The address ftp://host/log.xlsx has no known format")


def test_a_file_that_may_not_be_read(tmp_path, rows, monkeypatch):
    path = tmp_path / "log.parquet"
    rows().write_parquet(path)
    path.chmod(0)
    if os.access(path, os.R_OK):  # an administrator may read everything: let the open fail by hand

        def forbidden(path, kind):  # noqa: ARG001
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(files, "_scan", forbidden)
    assert refused(path) == f"The file {path} cannot be read: permission denied."


def test_a_folder_without_logs(tmp_path):
    (tmp_path / "notes.txt").write_text("nothing")
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    sentence = refused(tmp_path)
    assert "There is no execution log" in sentence
    assert "notes.txt: no table" in sentence and "other.csv: no execution log: it has no column model" in sentence
    (tmp_path / "hollow").mkdir()
    assert "no file was found" in refused(tmp_path / "hollow")


def test_a_truncated_file_in_a_folder_is_not_passed_over(tmp_path, rows):
    rows().write_parquet(tmp_path / "a.parquet")
    rows().write_parquet(tmp_path / "b.parquet")
    (tmp_path / "b.parquet").write_bytes((tmp_path / "b.parquet").read_bytes()[:-50])
    assert f"The file {tmp_path / 'b.parquet'} cannot be read" in refused(tmp_path)


def test_a_log_without_regime(rows):
    sentence = refused(rows(without=("regime",)))
    assert "has no column regime" in sentence and "--set regime=evaluation" in sentence
    assert "--evaluation FILE" in sentence


def test_a_table_without_the_outcome(rows):
    sentence = refused(rows(without=("score",)))
    assert "No file of the log has the outcome score: columns are" in sentence and "--map score=NAME" in sentence
    assert "latency_s" in refused(rows(), configuration=Configuration(outcome="latency_s"))


def test_an_outcome_or_a_factor_that_cannot_be_one(rows):
    def sentence(**declared):
        return refused(rows(), configuration=Configuration(**declared))

    assert "engine cannot be the outcome: it is no number" in sentence(outcome="engine")
    assert "score cannot be a factor" in sentence(factors=("score",))
    assert "has a column enginee that is declared a factor (did you mean engine?)" in sentence(factors=("enginee",))


def test_a_name_in_the_configuration_that_does_not_exist(rows):
    flags = Configuration().with_flags
    assert "has a column pass_rat mapped to score" in refused(rows(), configuration=flags(map=["score=pass_rat"]))
    assert "did you mean score?" in refused(rows(), configuration=flags(map=["scor=trial"]))
    assert "neither a column of the schema" in refused(rows(), configuration=flags(set=["sesson=1"]))


def test_an_unknown_key_beside_the_log(tmp_path, rows):
    rows().write_parquet(tmp_path / "log.parquet")
    (tmp_path / "divergence.toml").write_text('factor = ["engine"]')
    assert "nearest known key is factors" in refused(tmp_path / "log.parquet")


def test_an_outcome_that_is_never_judged(rows):
    assert refused(rows().with_columns(score=pl.lit(None, pl.Float64))) == (
        "The outcome score has no usable value in 24 valid rows: name another one."
    )


def test_csv_of_spreadsheets(tmp_path, rows):
    text = rows().write_csv()
    path = tmp_path / "log.csv"
    path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert read(path).counts.valid == 24, "a byte-order mark is no part of the first name"
    path.write_text(text.replace(",", ";"))
    assert "its fields seem to be separated by ';'" in refused(path)
    path.write_text(text + "deployment,small,a,0,vllm,1.0,more,fields\n")
    assert refused(path).startswith(f"The file {path} cannot be read: ")
    path.write_bytes(text.replace("vllm", "caf\xe9").encode("latin1"))
    assert refused(path).startswith(f"The file {path} cannot be read: ")


def test_json_lines_cut_short_by_a_crash_cost_one_row(tmp_path, rows):
    path = tmp_path / "log.jsonl"
    text = rows().write_ndjson()
    path.write_text("\ufeff" + text + '{"regime": "deployment", "mod')
    log = read(path)
    assert log.counts.rejected == {"record_readable": 1}
    assert log.rejected.row(0) == (
        str(path),
        25,
        "record_readable",
        "the line is not a JSON record",
        "a text of 29 letters",  # which may be a prompt
    )
    assert log.valid.height == 24


def test_a_bad_line_far_down_is_found_too(tmp_path, rows):
    path = tmp_path / "log.jsonl"
    line = rows().tail(1).write_ndjson()
    path.write_text(line * 3000 + "not json\n" + line.replace("1.0", "NaN") + line)
    log = read(path)
    assert log.counts.rejected == {"record_readable": 1, "score_finite": 1}
    assert log.rejected["row"].to_list() == [3001, 3002]
    assert log.valid.height == 3001


def test_text_under_the_name_of_json_lines(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text("regime,model\nevaluation,m\n")
    assert refused(path) == f"The file {path} cannot be read: none of its lines is a JSON record."


@pytest.mark.parametrize("name", ["log.json.gz", "log.jsonl.gz"])
def test_a_damaged_gzip_file_of_records(tmp_path, rows, name):
    path = tmp_path / name
    content = gzip.compress(json.dumps(rows().to_dicts()).encode())
    path.write_bytes(content[:40] + bytes(20) + content[60:])
    assert refused(path).startswith(f"The file {path} cannot be read: ")


@pytest.mark.parametrize(("regime", "other"), [("evaluation", "deployed_level"), ("deployment", "bench_level")])
def test_one_regime_is_answered_as_far_as_it_goes(rows, regime, other):
    log = read(rows().filter(pl.col("regime") == regime))
    given = "bench_level" if regime == "evaluation" else "deployed_level"
    assert answer(log, given).identified
    assert not answer(log, other).identified and "has 0" in answer(log, other).reason
    assert not answer(log, "gap").identified


def test_one_context_and_one_model_are_answered_as_far_as_they_go(rows):
    log = read(rows(without=("engine",)))
    assert log.factors == () and log.valid["context"].unique().to_list() == ["all"]
    assert answer(log, "gap").identified and not answer(log, "kappa").identified
    log = read(rows().filter(pl.col("model") == "small"))
    assert answer(log, "kappa").identified
    assert not answer(log, "coupling").identified and "two models" in answer(log, "coupling").reason


def test_a_declared_kind_that_the_values_contradict(rows):
    half = rows(score=0.5)
    assert "24 of its 24 values are neither 0 nor 1" in refused(half, configuration=Configuration(kind="binary"))
    assert "without their number of trials" in refused(half, configuration=Configuration(kind="proportion"))


@pytest.mark.parametrize(
    "line", ['[columns]\nmodel = "llm"', '[regime]\ncolumn = "env"\nevaluation = ["bench"]', 'factors = ["gpu"]']
)
def test_a_configuration_beside_the_log_that_is_another_logs_is_named(line, tmp_path):
    (tmp_path / "divergence.toml").write_text(line + "\n")
    (tmp_path / "b.csv").write_text("model,item,regime,score\na,i,evaluation,1\n")
    with pytest.raises(InputError) as stop:
        read(tmp_path / "b.csv", configuration=Configuration.beside([tmp_path / "b.csv"]))
    assert "No file of the log has a column" in str(stop.value)
    assert str(tmp_path / "divergence.toml") in str(stop.value) and "--config FILE" in str(stop.value)
