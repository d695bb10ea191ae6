"""A genuine run of lm-eval 0.4.13 against what a plain reading of its JSON says."""

import datetime
import json
from collections import Counter

import pytest

from divergence.errors import InputError
from divergence.executions import schema
from divergence.executions.importers import Privacy, detect, import_log
from divergence.executions.importers.kept_values import answer


def lines(folder, task):
    (path,) = folder.glob(f"samples_{task}_*.jsonl")
    return path, [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def results(lm_eval_logs):
    (path,) = lm_eval_logs.glob("results_*.json")
    return json.loads(path.read_text())


def test_one_row_a_document_and_every_filter_an_outcome(lm_eval_logs, results):
    path, read = lines(lm_eval_logs, "arith_gen")
    imported = import_log([path])
    assert len(read) == 40  # 20 documents under two filters
    assert imported.executions.height == 20
    assert imported.rejected.height == 0
    assert Counter(imported.outcomes["metric"]) == {"exact_match,strict": 20, "exact_match,flex": 20}
    for name in ("strict", "flex"):
        mine = imported.outcomes.filter(metric=f"exact_match,{name}")["value"]
        plain = [line["exact_match"] for line in read if line["filter"] == name]
        assert mine.to_list() == plain
        assert mine.mean() == results["results"]["arith_gen"][f"exact_match,{name}"]
    assert imported.executions["scorer"].unique().to_list() == ["exact_match,strict"]
    assert imported.executions["answer"].to_list() == [answer(read[i]["filtered_resps"][0]) for i in range(20)]
    assert imported.executions["gold"].to_list() == [answer(read[i]["target"]) for i in range(20)]
    whole = import_log([path], privacy=Privacy(keep_text=True)).executions
    assert whole["answer"].to_list() == [read[i]["filtered_resps"][0] for i in range(20)]
    assert imported.executions["sampler"].unique().to_list() == ["do_sample=false"]


def test_multiple_choice_answers_are_the_likeliest_choice(lm_eval_logs, results):
    path, read = lines(lm_eval_logs, "arith_mc")
    table = import_log([path]).executions
    assert table.height == len(read) == 20
    assert table["score"].to_list() == [line["acc"] for line in read]
    assert table["score"].mean() == pytest.approx(results["results"]["arith_mc"]["acc,none"], abs=1e-15)
    for row, line in zip(table.iter_rows(named=True), read, strict=True):
        likelihoods = [float(first) for first, _ in line["filtered_resps"]]
        place = max(range(4), key=likelihoods.__getitem__)
        choices = line["doc"]["choices"]
        distinct = len(set(choices)) == 4
        assert row["answer"] == (choices[place] if distinct else str(place))
        assert row["gold"] == (choices[0] if distinct else "0")
        assert (row["answer"] == row["gold"]) == (row["score"] == 1)  # so `acc` is defined


def test_the_whole_folder_with_the_run_beside_it(lm_eval_logs, results):
    imported = import_log([lm_eval_logs])
    table = imported.executions
    assert imported.format == "lm-eval"
    assert table.height == 40
    assert len(imported.sources) == 3
    assert all(table.schema[column] == schema.COLUMNS[column].dtype for column in table.columns)
    said = table.select("model", "engine", "batch_policy", "prompt_version", "regime", "trial").unique()
    assert said.rows() == [(results["model_name"], "dummy", "batch_size=1", "shots=0", "evaluation", 1)]
    assert table["item"].n_unique() == table["execution_id"].n_unique() == 40
    assert table["time"].unique().to_list() == [datetime.datetime.fromtimestamp(results["date"], datetime.UTC)]
    assert any("3ykv54sv" in note and "--set model=NAME" in note for note in imported.notes)
    assert "latency_s" in imported.missing
    assert {"sample.doc", "sample.resps", "results.pretty_env_info"} <= set(imported.unmapped)
    assert not {"sample.acc", "sample.exact_match", "sample.doc_id"} & set(imported.unmapped)


def test_another_metric_of_one_task(lm_eval_logs):
    imported = import_log([lm_eval_logs], primary="acc_norm")
    _, read = lines(lm_eval_logs, "arith_mc")
    table = imported.executions
    assert table.filter(task="arith_mc")["score"].to_list() == [line["acc_norm"] for line in read]
    assert any("arith_gen" in note and "no metric acc_norm" in note for note in imported.notes)
    flexible = import_log([lm_eval_logs], primary="exact_match,flex").executions.filter(task="arith_gen")
    assert flexible["scorer"].unique().to_list() == ["exact_match,flex"]
    with pytest.raises(InputError, match="acc, acc_norm"):
        import_log([lm_eval_logs], primary="accuracy")


def test_both_files_are_recognised(lm_eval_logs):
    assert {detect(path) for path in lm_eval_logs.iterdir()} == {"lm-eval"}


def test_averages_alone_are_refused(lm_eval_logs):
    (path,) = lm_eval_logs.glob("results_*.json")
    with pytest.raises(InputError, match="--log_samples"):
        import_log([path])


def test_two_formats_are_one_import(lm_eval_logs, inspect_logs):
    pytest.importorskip("zipfile_zstd")
    paths = [lm_eval_logs, inspect_logs / "mock_arith_inspect-0.3.285.eval"]
    both = import_log(paths)
    assert both.format == "lm-eval, inspect"
    assert both.executions.height == 40 + 24
    assert both.outcomes.height == sum(import_log([path]).outcomes.height for path in paths)
