"""Logs of lm-eval that were once misread, and genuine pairs of runs with their ground truth."""

import json

import polars as pl
import pytest

from divergence.executions.importers import import_log


def test_two_settings_of_a_model_argument_are_two_contexts(cases):
    imported = import_log([cases / "01-bos-argument"])
    table = imported.executions
    assert set(table["scaffold"]) == {"add_bos_token=True", "add_bos_token=False"}
    assert table["trial"].unique().to_list() == [1]  # no replicates of each other
    assert table["item"].n_unique() == table.height / 2
    assert any("differ in add_bos_token" in note for note in imported.notes)


def test_a_list_of_samples_under_the_name_of_lines_is_read(cases):
    imported = import_log([cases / "09-samples-as-json-list"])
    means = imported.executions.group_by("task").agg(pl.col("score").mean()).sort("task").rows()
    said = json.loads((cases / "09-samples-as-json-list" / "results.json").read_text())["results"]
    assert means == [(task, said[task]["acc,none"]) for task in ("arc", "hella")]
    assert not [note for note in imported.notes if "in the log itself" in note]


def test_runs_with_other_filters_are_judged_by_the_one_that_they_share(cases):
    imported = import_log([cases / "13-two-filters"])
    assert imported.executions["scorer"].unique().to_list() == ["exact_match,flexible-extract"]
    assert imported.executions["engine"].n_unique() == 2


def test_a_document_is_known_by_its_hash(cases):
    table = import_log([cases / "16-swapped-doc-ids"]).executions
    assert table["item"].n_unique() == 3
    assert table.group_by("item").len()["len"].to_list() == [2, 2, 2]
    assert table.group_by("item").agg(pl.col("score").n_unique())["score"].max() == 1
    assert sorted(table["trial"]) == [1, 1, 1, 2, 2, 2]


def test_a_metric_of_lists_gives_no_score_and_says_so(cases):
    imported = import_log([cases / "19-list-metric"])
    assert imported.executions["score"].null_count() == imported.executions.height
    assert any("f1,flexible-extract holds lists" in note and "no score" in note for note in imported.notes)


def test_empty_answers_are_answers_and_are_counted(cases):
    imported = import_log([cases / "23-empty-responses"])
    assert (imported.executions["answer"] == "").sum() == 18
    assert any("18 of 30 answers of task aime are empty" in note for note in imported.notes)


@pytest.mark.parametrize(
    ("folder", "right", "of"),
    [("real-before", 24, 60), ("real-after", 16, 60), ("real-fewshot2", 8, 60)],
)
def test_genuine_runs_of_a_real_model(logs, folder, right, of):
    imported = import_log([logs("lm_eval") / folder])
    assert imported.executions["score"].sum() == right
    assert imported.executions.height == of
    assert imported.rejected.height == 0
    assert not [note for note in imported.notes if "in the log itself" in note]


def paired(before, after):
    joined = before.join(after, on="item", suffix="_after")
    gained = joined.filter((pl.col("score") == 0) & (pl.col("score_after") == 1)).height
    lost = joined.filter((pl.col("score") == 1) & (pl.col("score_after") == 0)).height
    return joined.height, gained, lost


@pytest.mark.parametrize(("other", "gained", "lost"), [("real-after", 2, 10), ("real-fewshot2", 2, 18)])
def test_genuine_pairs_by_document(logs, other, gained, lost):
    folder = logs("lm_eval")
    imported = import_log([folder / "real-before", folder / other])
    table = imported.executions
    assert table["trial"].unique().to_list() == [1]
    column = "sampler" if other == "real-after" else "prompt_version"
    assert table[column].n_unique() == 2
    levels = table[column].unique(maintain_order=True)
    before, after = (table.filter(pl.col(column) == level) for level in levels)
    assert paired(before, after) == (60, gained, lost)


def test_a_cut_file_gives_both_numbers(logs):
    imported = import_log([logs("lm_eval") / "fixture_eee"])
    assert imported.executions.height == 10
    said = [note for note in imported.notes if "in the log itself" in note]
    assert len(said) == 1 and "is 5000 in the log itself, and 10 in the 10 rows" in said[0]


def test_what_should_change_no_answer_is_named_and_makes_no_context(lm_eval_run):
    def run(folder, **config):
        line = {"doc_id": 0, "doc_hash": "h", "filter": "none", "metrics": ["acc"], "acc": 1.0, "filtered_resps": ["a"]}
        return lm_eval_run([line], stamp=f"2026-01-01T00-00-0{folder}.0", results={"config": {"model": "hf", **config}})

    paths = [run(0, model_args="pretrained=m", torch_seed=1), run(1, model_args="pretrained=m", torch_seed=2)]
    imported = import_log(paths)
    assert sorted(imported.executions["trial"]) == [1, 2]  # seeds alone: a replicate
    assert any("runs differ in it: torch_seed" in note for note in imported.notes)
    assert "scaffold" in imported.missing
