"""HELM: instances with their states, on a genuine run."""

import json
import math

import pytest

from divergence.errors import InputError
from divergence.executions.importers import import_log, kept_values


@pytest.fixture
def run(logs):
    folder = logs("lm_eval").parents[1] / "formats" / "helm"
    if not folder.is_dir():
        pytest.skip("the genuine run ../shared/formats/helm is not on this machine")
    return next(folder.iterdir())


def test_statistics_are_those_of_the_run(run):
    imported = import_log([run])
    table = imported.executions
    stats = json.loads((run / "stats.json").read_text())
    means = {stat["name"]["name"]: stat.get("mean") for stat in stats}
    assert table.height == 5
    assert table["model"].unique().to_list() == ["simple/model1"]
    assert table["task"].unique().to_list() == ["simple_mcqa"]
    assert table["score"].mean() == means["exact_match"]
    assert table["input_tokens"].mean() == pytest.approx(means["num_prompt_tokens"])
    assert math.fsum(table["latency_s"]) / 5 == pytest.approx(means["inference_runtime"])
    assert set(table["gold"]) == {kept_values.answer("Even"), kept_values.answer("Odd")}
    assert imported.outcomes["metric"].n_unique() == 8
    assert not [note for note in imported.notes if "in the log itself" in note]


def stat(name, mean, **more):
    return {"name": {"name": name, "split": "test", **more}, "count": 1, "sum": mean, "mean": mean}


def made(tmp_path, instances, states=(), **adapter):
    (tmp_path / "per_instance_stats.json").write_text(json.dumps(instances))
    spec = {"name": "mmlu:subject=anatomy,model=a_b", "scenario_spec": {}, "adapter_spec": {"model": "a/b", **adapter}}
    spec["metric_specs"] = [{"args": {"names": ["second", "first"]}}]
    (tmp_path / "run_spec.json").write_text(json.dumps(spec))
    (tmp_path / "scenario_state.json").write_text(json.dumps({"adapter_spec": {}, "request_states": list(states)}))
    return tmp_path


def test_perturbed_instances_are_items_of_their_own_and_cached_answers_have_no_latency(tmp_path):
    perturbed = {"name": "typos"}
    instances = [
        {
            "instance_id": "id1",
            "train_trial_index": 0,
            "stats": [stat("first", 1.0), stat("second", 0.5), stat("inference_runtime", 2.0)],
        },
        {"instance_id": "id1", "train_trial_index": 0, "stats": [stat("second", 0.0, perturbation=perturbed)]},
        {"instance_id": "id2", "train_trial_index": 0, "stats": [stat("second", 1.0)]},
    ]
    states = [
        {
            "instance": {"id": "id1"},
            "train_trial_index": 0,
            "result": {"cached": True, "completions": [{"text": " A"}]},
            "output_mapping": {"A": "yes"},
        },
        {"instance": {"id": "id2"}, "train_trial_index": 0, "result": {"success": False, "completions": []}},
    ]
    table = import_log([made(tmp_path, instances, states)]).executions
    assert table["item"].to_list() == [
        "mmlu:subject=anatomy/id1",
        "mmlu:subject=anatomy/id1/typos",
        "mmlu:subject=anatomy/id2",
    ]
    assert table["scorer"].to_list() == ["second", "second", None]
    assert table["score"].to_list() == [0.5, 0.0, None]
    assert table["error_type"].to_list() == [None, None, "error"]
    assert table["answer"].to_list() == ["yes", None, None]
    assert "latency_s" not in table.columns


def test_a_run_without_its_spec_or_its_instances_is_refused(tmp_path):
    made(tmp_path, [{"instance_id": "a", "train_trial_index": 0, "stats": [stat("x", 1.0)]}])
    (tmp_path / "per_instance_stats.json").rename(tmp_path / "kept")
    with pytest.raises(InputError, match=r"no per_instance_stats\.json"):
        import_log([tmp_path / "run_spec.json"])
    (tmp_path / "kept").rename(tmp_path / "per_instance_stats.json")
    (tmp_path / "run_spec.json").unlink()
    with pytest.raises(InputError, match="--set model"):
        import_log([tmp_path / "per_instance_stats.json"])
