"""Names of the configuration that a log does not have are said, with the nearest ones that it has."""

import json

import polars as pl
import pytest

import divergence as dv
from divergence.cli import main
from divergence.executions import counted

ROWS = pl.DataFrame(
    {
        "regime": ["evaluation", "deployment"] * 20,
        "model": ["model-x", "openai/model-x"] * 20,
        "item": [f"i{k // 4}" for k in range(40)],
        "score": [float(k % 3 > 0) for k in range(40)],
        "context": ["a", "b"] * 20,
        "inputtokens": range(40),
    }
)


def notes(frame=ROWS, **declared):
    read = dv.read(frame, configuration=dv.Configuration.from_table(declared))
    return [note for note in read.notes if note.startswith(("[models]", "features"))]


def test_a_misspelt_model_is_said_with_the_nearest_one():
    (said,) = notes(models={"openai/modle-x": "model-x"})
    assert said.startswith("[models] names openai/modle-x (did you mean openai/model-x?), which no row of this log has")


def test_names_that_the_log_writes_are_not_said():
    assert not notes(models={"openai/model-x": "model-x"})
    assert not notes()


def test_of_many_names_for_several_logs_those_that_may_be_misspelt_are_said_first():
    many = {f"other-vendor/{k:03d}": f"z{k}" for k in range(60)}
    (said,) = notes(models={**many, "openai/modelx": "model-x"})
    first = "[models] names openai/modelx (did you mean openai/model-x?), other-vendor/000, other-vendor/001 and 58 more"
    assert said.startswith(first)


def test_it_is_no_error_as_both_sides_of_a_comparison_have_one_configuration(tmp_path):
    before, after = tmp_path / "before.csv", tmp_path / "after.csv"
    ROWS.with_columns(model=pl.lit("openai/model-x")).write_csv(before)
    ROWS.with_columns(model=pl.lit("model-x")).write_csv(after)
    (tmp_path / "divergence.toml").write_text('[models]\n"openai/model-x" = "model-x"\n')
    compared = dv.compare(before, after)
    assert {group.model for group in compared.groups} == {"model-x"} and compared.whole.items.only_after == 0
    assert any(note.endswith("nothing is renamed by that.") for note in compared.notes)


def test_models_that_a_constant_names_and_logs_counted_by_distinct_rows(tmp_path, monkeypatch):
    without = ROWS.drop("model")
    assert not notes(without, constants={"model": "m"}, models={"m": "n"})
    assert len(notes(without, constants={"model": "m"}, models={"o": "n"})) == 1
    monkeypatch.setattr(counted, "ROWS_MIN", 1)
    ROWS.write_parquet(tmp_path / "log.parquet")
    assert not notes(tmp_path / "log.parquet", models={"openai/model-x": "model-x"})
    assert len(notes(tmp_path / "log.parquet", models={"openai/modle-x": "model-x"})) == 1


def test_a_feature_that_no_log_could_have_is_refused_when_the_log_is_read():
    with pytest.raises(dv.InputError, match=r"features names input_tokns.*did you mean input_tokens\?"):
        notes(features=["input_tokns"])


def test_a_feature_that_this_log_does_not_have_is_said():
    assert notes(features=["input_tokens"]) == [
        "features names input_tokens, which this log does not have (did you mean inputtokens?): it is left out."
    ]
    assert not notes(features=["input_tokens"], columns={"input_tokens": "inputtokens"})
    assert len(notes(ROWS.with_columns(turn=None), features=["turn"])) == 1  # a column without a value


def test_check_tells_it(tmp_path, capsys):
    ROWS.write_csv(tmp_path / "log.csv")
    (tmp_path / "divergence.toml").write_text('features = ["load"]\n[models]\n"openai/modelx" = "model-x"\n')
    with pytest.raises(SystemExit):
        main(["check", str(tmp_path / "log.csv"), "--json"])
    said = " ".join(json.loads(capsys.readouterr().out)["notes"])
    assert "[models] names openai/modelx (did you mean openai/model-x?)" in said and "features names load" in said
