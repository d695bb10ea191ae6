"""What values of another scale mean, other names of a model, instants as databases write them, judgements written twice."""

import datetime

import polars as pl
import pytest

import divergence.executions as executions
from divergence.configuration import Configuration
from divergence.errors import InputError
from divergence.executions.model_names import bare, may_be_one, suggestions


def configured(**table):
    return Configuration.from_table(table)


def log(bench, production):
    scores = [*bench, *production]
    regime = ["evaluation"] * len(bench) + ["deployment"] * len(production)
    item = [f"i{number}" for number in range(len(scores))]
    return pl.DataFrame({"regime": regime, "model": "m", "item": item, "context": "c", "score": scores}, strict=False)


STARS = [1.0, 2.0, 3.0, 4.0, 5.0] * 4


def test_another_scale_in_one_regime_is_refused_by_name():
    with pytest.raises(InputError, match=r"16 of 20 deployment rows are rejected.*\[values\]"):
        executions.read(log([0.0, 1.0] * 200, STARS))


@pytest.mark.parametrize(
    ("scores", "scale"),
    [
        ([-1, 1], "[-1, 1]"),
        ([0, 25, 100], "[0, 100]"),
        ([1, 5, 2], "[1, 5]"),
        ([0, 7, 10], "[0, 10]"),
        ([-3, 12], "[-3, 12]"),
    ],
)
def test_the_scale_that_is_advised_reads_the_log(scores, scale):
    frame = log([float(s) for s in scores] * 20, [float(s) for s in scores] * 20)
    with pytest.raises(InputError) as told:
        executions.read(frame)
    assert f"score = {{ scale = {scale} }}" in str(told.value)
    low, high = (float(s) for s in scale[1:-1].split(","))
    read = executions.read(frame, configuration=configured(values={"score": {"scale": [low, high]}}))
    assert not read.counts.rejected


def test_a_scale_is_not_advised_for_texts_nor_where_one_is_declared():
    with pytest.raises(InputError, match="What does up mean") as told:
        executions.read(log(["up", "down"] * 20, ["up", "down"] * 20))
    assert "scale" not in str(told.value)
    with pytest.raises(InputError, match="has no place for") as told:
        executions.read(log([0.0, 100.0] * 20, STARS), configuration=configured(values={"score": {"scale": [0, 10]}}))
    assert "scale = [" not in str(told.value)


def test_a_few_odd_values_do_not_stop_a_log():
    read = executions.read(log([0.0, 1.0] * 200, [1.0] * 20 + [7.0] * 4))
    assert read.counts.rejected == {"score_in_range": 4}


def test_a_declared_scale_is_applied_where_the_values_are_on_it():
    read = executions.read(log([0.0, 1.0] * 10, STARS), configuration=configured(values={"score": {"scale": [1, 5]}}))
    table = read.valid
    assert table.filter(regime="evaluation")["score"].to_list() == [0.0, 1.0] * 10
    assert table.filter(regime="deployment")["score"].to_list() == [0.0, 0.25, 0.5, 0.75, 1.0] * 4
    assert any("declared scale in deployment rows" in note for note in read.notes)


def test_stars_that_are_all_one_are_the_worst_and_not_the_best():
    """On both scales: where nothing else can be meant by the declaration, they are on the declared one."""
    declared = configured(values={"score": {"scale": [1, 5]}})
    alone = executions.read(log([], [1.0] * 20), configuration=declared)
    assert alone.valid["score"].unique().to_list() == [0.0]
    beside = executions.read(log([0.0, 1.0] * 10, [1.0] * 20), configuration=declared)
    assert beside.valid.filter(regime="deployment")["score"].unique().to_list() == [0.0]
    assert beside.valid.filter(regime="evaluation")["score"].to_list() == [0.0, 1.0] * 10


def test_a_regime_of_ones_beside_stars_is_refused():
    declared = configured(values={"score": {"scale": [1, 5]}})
    with pytest.raises(InputError, match=r"score is 1 in all 20 evaluation rows.*or as a share.*--where regime=evaluation"):
        executions.read(log([1.0] * 20, STARS), configuration=declared)


@pytest.mark.parametrize("scale", [[-1, 1], [5, 1], [0, 100]])
def test_ones_that_both_scales_read_alike_or_that_a_scale_with_a_zero_holds_stay(scale):
    high = [float(v) for v in scale] * 10
    read = executions.read(log([1.0] * 20, high), configuration=configured(values={"score": {"scale": scale}}))
    assert read.valid.filter(regime="evaluation")["score"].unique().to_list() == [1.0]


def test_a_scale_may_run_downwards():
    read = executions.read(log([], STARS), configuration=configured(values={"score": {"scale": [5, 1]}}))
    assert read.valid["score"][:5].to_list() == [1.0, 0.75, 0.5, 0.25, 0.0]


def test_levels_mean_numbers_and_other_values_stay():
    words = log([0.0, 1.0], []).with_columns(score=pl.Series(["up", "down"]))
    declared = configured(values={"score": {"up": 1, "down": 0}})
    assert executions.read(words, configuration=declared).valid["score"].to_list() == [1.0, 0.0]
    thumbs = log([0.0, 1.0], [1.0, -1.0, -1.0])
    declared = configured(values={"score": {"-1": 0}})
    for frame in (thumbs, thumbs.with_columns(pl.col("score").cast(pl.String))):
        assert executions.read(frame, configuration=declared).valid["score"].to_list() == [0.0, 1.0, 1.0, 0.0, 0.0]


def test_a_word_without_a_meaning_rejects_its_row():
    words = log([0.0] * 4, []).with_columns(score=pl.Series(["up", "down", "up", "sideways"]))
    declared = configured(values={"score": {"up": 1, "down": 0}})
    read = executions.read(words, configuration=declared, accept_rejected=0.5)
    assert read.rejected.select("row", "rule", "value").rows() == [(4, "score_type", "sideways")]


def test_labels_of_the_outcomes_table_mean_numbers_too():
    frame = log([0.0, 1.0], []).drop("score").with_columns(execution_id=pl.col("item"))
    judged = pl.DataFrame({"execution_id": ["i0", "i1"], "metric": "thumb", "label": ["up", "down"], "scorer": "user"})
    declared = configured(outcome="thumb", values={"thumb": {"up": 1, "down": 0}})
    read = executions.read([frame, judged], configuration=declared)
    assert read.valid["outcome"].to_list() == [1.0, 0.0]


@pytest.mark.parametrize(
    ("meaning", "said"),
    [
        ({"scale": [1, 5], "up": 1}, "stands alone"),
        ({"scale": [1]}, "two ends"),
        ({"scale": [1, 1]}, "differ"),
        ({}, "is empty"),
        ({"up": "yes"}, "is a number"),
        (3, "is a table"),
    ],
)
def test_what_is_no_meaning_is_a_sentence(meaning, said):
    with pytest.raises(InputError, match=said):
        configured(values={"score": meaning})


def test_a_judgement_written_twice_is_one(cases_folder):
    read = executions.read(cases_folder / "20-same-score-twice")
    assert read.counts.valid == 20


@pytest.mark.parametrize(
    "written",
    [
        "2025-12-10 12:00:00+00",
        "2025-12-10 12:00:00+00:00",
        "2025-12-10T12:00:00Z",
        "2025-12-10 12:00:00 UTC",
        "2025-12-10 13:00:00.000 +01",
        "2025-12-10 12:00:00.000+0000",
    ],
)
def test_instants_as_databases_write_them(written):
    frame = log([1.0], []).with_columns(time=pl.lit(written))
    assert executions.read(frame).valid["time"].item() == datetime.datetime(2025, 12, 10, 12, tzinfo=datetime.UTC)


def test_a_time_without_a_zone_is_no_instant():
    read = executions.read(log([1.0], []).with_columns(time=pl.lit("2025-12-10 12:00:00")))
    assert dict(read.unused).keys() == {"time"}


def test_names_of_a_model_are_one_where_it_is_declared():
    frame = pl.concat([log([1.0], []), log([], [0.0]).with_columns(model=pl.lit("openai/m"))])
    assert executions.read(frame).valid["model"].n_unique() == 2
    declared = configured(models={"openai/m": "m"})
    assert executions.read(frame, configuration=declared).valid["model"].unique().to_list() == ["m"]


def test_names_that_may_be_one_model_are_suggested_and_others_are_not():
    assert bare("openai/gpt-4o-2024-08-06") == bare("gpt-4o") == bare("azure/gpt_4o:latest")
    assert (
        bare("meta-llama/Llama-3.1-8B-Instruct") == bare("llama-3.1-8b-instruct-awq") == bare("Llama-3.1-8B-Instruct.Q4_K_M")
    )
    assert bare("llama-3.1-8b") != bare("llama-3.1-70b")
    assert bare("gpt-4o") != bare("gpt-4o-mini")
    assert may_be_one(["gpt-4o", "openai/gpt-4o", "gpt-4o-mini"]) == [("gpt-4o", "openai/gpt-4o")]
    assert bare("openai:chat:gpt-4o-mini") == bare("gpt-4o-mini-2024-07-18") == "gpt-4o-mini"
    assert bare("openai:gpt-4o") == "gpt-4o" and bare("llama3:8b") == bare("ollama:chat:llama3:8b") != bare("llama3:70b")
    assert may_be_one(["gpt-4o", "openai/gpt-4o"], {"openai/gpt-4o": "gpt-4o"}) == []
    (sentence,) = suggestions(["gpt-4o", "openai/gpt-4o"])
    assert '[models] "openai/gpt-4o" = "gpt-4o"' in sentence


def test_a_log_prints_as_a_few_lines():
    printed = repr(executions.read(log([0.0, 1.0], [1.0])))
    assert printed.startswith("Executions: 3 valid rows of 3 in 1 file, 2 evaluation, 1 deployment\n")
    assert len(printed) < 300


def test_a_wide_table_says_how_its_benchmarks_weigh():
    table = pl.DataFrame({"Model": ["a", "b"], "MMLU": [70.0, 60.0], "GSM8K": [40.0, 50.0]})
    declared = {"wide": {"model": "Model", "trials": {"MMLU": 900, "GSM8K": 100}}, "values": {"score": {"scale": [0, 100]}}}
    declared |= {"constants": {"regime": "evaluation"}}
    notes = executions.read(table, configuration=Configuration.from_table(declared)).notes
    assert any(note.startswith("A level weighs the benchmarks by their trials: MMLU 90%, GSM8K 10%.") for note in notes)
    del declared["wide"]["trials"]
    assert not any(
        "weighs" in note for note in executions.read(table, configuration=Configuration.from_table(declared)).notes
    )
