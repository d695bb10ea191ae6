"""lighteval: details with results, on a genuine pair."""

import json

import polars as pl
import pytest
from imported_pairs import flips

from divergence.errors import InputError
from divergence.executions.importers import import_log
from divergence.executions.importers.kept_values import answer

RUNS = {"before": {"em": 19, "extractive_match": 48}, "after": {"em": 20, "extractive_match": 56}}
MEANS = {"before": (0.31666666666666665, 0.8), "after": (0.3333333333333333, 0.9333333333333333)}
GAINED = {"em": [55], "extractive_match": [12, 16, 23, 31, 32, 35, 48, 55]}


@pytest.mark.parametrize("run", RUNS)
def test_means_are_those_of_the_results(logs, run):
    imported = import_log([logs("lighteval") / run])
    table = imported.executions
    assert table.height == 60
    assert table["item"].is_unique().all()
    for metric, mean in zip(RUNS[run], MEANS[run], strict=True):
        values = imported.outcomes.filter(pl.col("metric") == metric)["value"]
        assert (values.sum(), values.mean()) == (RUNS[run][metric], mean)
    assert table["score"].mean() == MEANS[run][0]
    assert table["scorer"].unique().to_list() == ["em"]
    assert table["answer"][0] == answer("The answer is 48.")
    assert table["gold"][0] == "48"
    assert not [note for note in imported.notes if "in the log itself" in note]
    assert "none" not in table["provider"].to_list()
    assert "doc.query" in imported.unmapped


@pytest.mark.parametrize("metric", GAINED)
def test_a_pair_joins_on_the_document(logs, metric):
    before, after = (import_log([logs("lighteval") / run], primary=metric).executions for run in RUNS)
    gained, lost = flips(before, after)
    assert sorted(int(item.rpartition("/")[2]) for item in gained) == GAINED[metric]
    assert lost == []


def test_runs_that_differ_are_contexts(logs):
    table = import_log([logs("lighteval")]).executions
    assert table["sampler"].n_unique() == 2
    assert table["trial"].unique().to_list() == [1]


def details(tmp_path, rows, metrics=(), results=True, stamp="2026-01-01T00-00-00.1"):
    documents = [
        {
            "doc": {"id": str(i), "task_name": "t|0", "choices": ["x", "y"], "gold_index": 1, "query": "CANARY"},
            "metric": metric,
            "model_response": {
                "text": [f"a{i}"],
                "text_post_processed": None,
                "input_tokens": [1, 2],
                "output_tokens": [[1]],
            },
        }
        for i, metric in enumerate(rows)
    ]
    path = tmp_path / f"details_t|0_{stamp}.parquet"
    pl.DataFrame(documents).write_parquet(path)
    if results:
        said = {
            "lighteval_sha": "?",
            "model_config": {"model_name": "m", "api_key": "sk-hidden", "system_prompt": "CANARY two"},
        }
        listed = [{"metric_name": name, "higher_is_better": better} for name, better in metrics]
        log = {"config_general": said, "results": {"t|0": {"em": 0.5}}, "config_tasks": {"t|0": {"metrics": listed}}}
        (tmp_path / f"results_{stamp}.json").write_text(json.dumps(log))
    return path


def test_lower_is_better_is_no_score_and_texts_stay_behind(tmp_path):
    path = details(tmp_path, [{"ppl": 3.0, "em": 1}, {"ppl": 2.0, "em": 0}], [("ppl", False), ("em", True)])
    imported = import_log([path])
    assert imported.executions["scorer"].to_list() == ["em", "em"]
    assert imported.executions["score"].to_list() == [1.0, 0.0]
    assert imported.executions["input_tokens"].to_list() == [2, 2]
    assert any("lower is better for ppl" in note for note in imported.notes)
    assert "CANARY" not in repr(imported)
    assert "hidden" not in repr(imported)


def test_details_without_results_need_a_model(tmp_path):
    path = details(tmp_path, [{"em": 1}], results=False)
    with pytest.raises(InputError, match="--set model"):
        import_log([path])
    assert import_log([path], constants={"model": "m"}).executions["score"].to_list() == [1.0]


def test_results_alone_hold_averages(tmp_path):
    path = details(tmp_path, [{"em": 1}])
    path.unlink()
    with pytest.raises(InputError, match="--save-details"):
        import_log([tmp_path / "results_2026-01-01T00-00-00.1.json"])
