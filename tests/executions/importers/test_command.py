"""The command: what an import prints, and a report straight from other tools' files."""

import json

import polars as pl
import pytest
from click.testing import CliRunner

from divergence.cli import cli
from divergence.executions import read
from divergence.executions.closed_questions import closed
from divergence.executions.importers import import_log


def run(*arguments):
    return CliRunner().invoke(cli, [str(argument) for argument in arguments], catch_exceptions=False)


@pytest.fixture
def two_tools(inspect_log, lm_eval_run):
    sample = {"id": "a", "epoch": 1, "uuid": "u", "target": "x", "scores": {"match": {"value": "C"}}}
    line = {"doc_id": 0, "doc_hash": "h", "filter": "none", "metrics": ["acc"], "acc": 0.0, "filtered_resps": ["a"]}
    return inspect_log([sample]), lm_eval_run([line], results={"model_name": "gpt"})


def test_json_has_the_keys_of_the_contract_and_says_what_is_closed(two_tools, tmp_path):
    result = run("import", *two_tools, "-o", tmp_path / "out.parquet", "--json")
    said = json.loads(result.stdout)
    assert {"format", "rows", "rejected", "unmapped", "missing"} <= set(said)
    assert (said["format"], said["rows"], said["rejected"]) == ("inspect, lm-eval", 2, 0)
    assert "needs both regimes" in said["closed"]["gap"]
    assert any('[models] "openai/gpt" = "gpt"' in note for note in said["notes"])
    assert pl.read_parquet(tmp_path / "out.parquet").height == 2


def test_text_says_the_same(two_tools, tmp_path):
    result = run("import", *two_tools, "-o", tmp_path / "out.parquet")
    assert "2 rows from inspect, lm-eval" in result.stdout
    assert "closed: " in result.stdout
    assert "may be one model" in result.stderr


def test_auto_is_the_default_format_and_others_are_named(two_tools, tmp_path):
    assert run("import", two_tools[0], "-o", tmp_path / "out.parquet", "--format", "auto", "--json").exit_code == 0
    with pytest.raises(Exception, match="choose from"):
        run("import", two_tools[0], "-o", tmp_path / "out.parquet", "--format", "nothing")


def test_files_of_tools_are_read_as_a_log_beside_a_table(two_tools, tmp_path):
    table = tmp_path / "own.csv"
    table.write_text("regime,model,item,score\ndeployment,gpt,a,1\n")
    log = read([*two_tools, table])
    assert log.counts.regimes == {"evaluation": 2, "deployment": 1}
    assert any("2 rows imported from inspect, lm-eval" in note for note in log.notes)
    assert log.valid["score"].sum() == 2.0


def test_a_folder_with_both_is_one_log(two_tools, tmp_path):
    (tmp_path / "own.csv").write_text("regime,model,item,score\ndeployment,gpt,a,1\n")
    assert read(tmp_path).counts.rows == 3
    assert two_tools[0].parent == tmp_path


def test_a_regime_can_be_given_to_foreign_files(two_tools):
    log = read(evaluation=[two_tools[1]], deployment=[two_tools[0]])
    assert log.counts.regimes == {"evaluation": 1, "deployment": 1}


def test_declared_columns_keep_a_file_a_table(lm_eval_run):
    from divergence.configuration import Configuration

    line = {"doc_id": 0, "doc_hash": "h", "filter": "none", "metrics": ["acc"], "acc": 0.5, "filtered_resps": ["a"]}
    path = lm_eval_run([line])
    declared = Configuration().with_flags(map=["score=acc", "item=doc_id"], set=["regime=evaluation", "model=own"])
    assert read(path, configuration=declared).valid.select("model", "item", "score").row(0) == ("own", "0", 0.5)


def test_too_many_rejected_on_import_stop_the_run(inspect_log):
    good = {"id": "a", "epoch": 1, "uuid": "u", "target": "x", "scores": {"match": {"value": "C"}}}
    path = inspect_log([good, "no sample"])
    with pytest.raises(Exception, match="1 of 2 rows of inspect are rejected on import"):
        read(path)
    log = read(path, accept_rejected=0.5)
    assert log.rejected["rule"].to_list() == ["record_readable"]
    assert "needs both regimes" in closed(import_log([path]))["gap"]
