"""Logs of Inspect that were once misread, and genuine runs with their ground truth."""

import polars as pl
import pytest

pytest.importorskip("zipfile_zstd")

from divergence.executions.importers import detect, import_log

ZERO, ONE = 0.0, 1.0


def test_letter_grades_are_no_scores(cases):
    imported = import_log([cases / "08-letter-grades.json"])
    assert imported.executions["score"].count() == 0
    assert imported.outcomes["value"].count() == 0
    assert set(imported.outcomes["label"]) == {"A", "B", "C", "D"}
    assert any("grades A, B, C, D" in note for note in imported.notes)


def test_samples_that_a_retry_took_over_count_once(cases):
    imported = import_log([cases / "11-eval-set-retry"])
    assert imported.executions.height == 20
    assert imported.executions["score"].mean() == 0.5
    assert imported.rejected.height == 0
    assert any("10 of its 10 samples" in note for note in imported.notes)


def test_an_eval_set_is_read_with_its_list_of_logs_beside_it(logs):
    folder = logs("inspect") / "evalset"
    assert detect(folder / "logs.json") is None
    assert detect(folder / "eval-set.json") is None
    imported = import_log([folder])
    table = imported.executions
    assert table.height == 58
    assert table["score"].null_count() == 0
    truth = {
        ("openai-api/stub/stub-a", "arith"): (12, 0.9166666666666666),
        ("openai-api/stub/stub-b", "arith"): (12, 0.6666666666666666),
        ("openai-api/stub/stub-a", "arith_flaky"): (17, 0.8235294117647058),
        ("openai-api/stub/stub-b", "arith_flaky"): (17, 0.5882352941176471),
    }
    for (model, task), (rows, mean) in truth.items():
        mine = table.filter(model=model, task=task)["score"]
        assert (len(mine), mine.mean()) == (rows, pytest.approx(mean, abs=1e-15))
    assert not [note for note in imported.notes if "in the log itself" in note or "secret" in note]


@pytest.mark.parametrize(
    ("folder", "rows", "judged", "mean", "tokens"),
    [
        ("pair-eval/before", 60, 60, 0.8, (540, 226)),
        ("pair-eval/after", 60, 60, 0.9333333333333333, (540, 226)),
        ("epochs3", 60, 60, 0.9, (540, 195)),
        ("epochs3-json", 9, 9, 1.0, (81, 36)),
        ("dict", 20, 20, 0.75, (68, 65)),
        ("dict-json", 8, 8, 0.875, (27, 25)),
        ("errors", 20, 16, 0.875, (52, 51)),
        ("errors-failed", 5, 0, None, (0, 0)),
        ("limits", 12, 12, 0.9166666666666666, (107, 72)),
    ],
)
def test_genuine_runs(logs, folder, rows, judged, mean, tokens):
    imported = import_log([logs("inspect") / folder])
    table = imported.executions
    scores = table["score"].drop_nulls()
    assert (table.height, len(scores)) == (rows, judged)
    assert scores.mean() == (None if mean is None else pytest.approx(mean, abs=1e-15))
    given = [table[name].sum() if name in table else 0 for name in ("input_tokens", "output_tokens")]
    assert tuple(given) == tokens
    assert imported.rejected.height == 0
    assert not [note for note in imported.notes if "in the log itself" in note]
    assert not [note for note in imported.notes if "token_limit" in note]


def test_a_genuine_pair_by_item(logs):
    folder = logs("inspect") / "pair-eval"
    before, after = (import_log([folder / name]).executions for name in ("before", "after"))
    pair = before.join(after, on="item", suffix="_after")
    assert pair.height == 60
    gained = pair.filter(score=ZERO, score_after=ONE)["item"].sort().to_list()
    assert gained == [f"ar-{n:03d}" for n in (12, 16, 23, 31, 32, 35, 48, 55)]
    assert pair.filter(score=ONE, score_after=ZERO).height == 0
    assert (pair["answer"] != pair["answer_after"]).sum() == 11
    assert pair.filter(item="ar-019")["answer"].item() == ""


def test_epochs_are_trials_and_limits_are_told(logs):
    folder = logs("inspect")
    table = import_log([folder / "epochs3"]).executions
    assert table.filter(item="ar-012").sort("trial")["score"].to_list() == [0.0, 0.0, 1.0]
    limits = import_log([folder / "limits"]).executions
    assert limits.filter(pl.col("error_type") == "limit:token")["item"].sort().to_list() == [
        f"ar-{n:03d}" for n in (1, 2, 6, 10)
    ]


def test_a_dictionary_of_scores_is_an_outcome_a_key(logs):
    outcomes = import_log([logs("inspect") / "dict"]).outcomes
    means = dict(outcomes.group_by("metric").agg(pl.col("value").mean()).iter_rows())
    assert means == pytest.approx({"parts.correct": 0.75, "parts.brief": 0.6625, "parts.chars": 8.75, "graded": 0.8})


def test_cut_files_of_other_versions_give_both_numbers(logs):
    imported = import_log([logs("inspect") / "fixtures"])
    assert imported.executions.height == 5
    said = [note for note in imported.notes if "in the log itself" in note]
    for stated in ("0.705128", "0.35443", "0.431", "is 80", "is 79", "is 1000"):
        assert any(stated in note for note in said), stated


def test_a_setting_that_differs_is_context_and_the_limit_is_no_secret(inspect_log):
    sample = {"id": "a", "epoch": 1, "target": "x", "scores": {"match": {"value": "C"}}}
    paths = [
        inspect_log(
            [{**sample, "uuid": f"u{limit}"}],
            name=f"{limit}.json",
            eval={"task_id": f"t{limit}", "config": {"token_limit": limit}},
        )
        for limit in (10, 20)
    ]
    imported = import_log(paths)
    assert imported.executions["scaffold"].to_list() == ["token_limit=10", "token_limit=20"]
    assert not any("secret" in note for note in imported.notes)
