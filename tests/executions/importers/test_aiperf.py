"""AIPerf: requests joined with grades, on genuine files of version 0.13 and of the older names."""

import json
import math

import pytest
from imported_pairs import flips

from divergence.errors import InputError
from divergence.executions.importers import Privacy, import_log

RUNS = {"acc-before": (29, 40), "acc-after": (34, 40)}  # graded as right by the tool, of all requests


def record(number, **changes):
    """One request as AIPerf writes it."""
    metadata = {"x_request_id": f"r{number}", "conversation_id": f"c{number}", "benchmark_phase": "profiling"}
    metadata |= {"request_start_ns": number * 10**9, "request_end_ns": number * 10**9 + 10**8, "turn_index": 0}
    metrics = {"request_latency": {"value": 100.0, "unit": "ms"}}
    return {"metadata": metadata | changes.pop("metadata", {}), "metrics": metrics | changes.pop("metrics", {}), **changes}


def written(folder, records, name="profile_export.jsonl", models=("m",), **configuration):
    """A run of AIPerf: requests and averages."""
    (folder / name).write_text("".join(json.dumps(one) + "\n" for one in records))
    said = {"models": {"items": [{"name": model} for model in models]}, "endpoint": {"extra": {}}, **configuration}
    averages = {"schema_version": "1.4", "aiperf_version": "0.13.0", "input_config": said, "run_info": {"random_seed": 3}}
    (folder / name.replace(".jsonl", "_aiperf.json")).write_text(json.dumps(averages))
    return folder / name


@pytest.mark.parametrize("run", RUNS)
def test_grades_join_requests_and_failed_ones_are_errors(logs, run):
    right, graded = RUNS[run]
    imported = import_log([logs("aiperf") / run])
    table = imported.executions
    assert table.height == graded
    assert table["score"].sum() == right
    assert table["score"].count() == 37
    assert right / graded == pytest.approx({"acc-before": 0.725, "acc-after": 0.85}[run], abs=0)
    errors = table.filter(table["error_type"].is_not_null()).sort("item")
    assert errors["item"].str.slice(-6).to_list() == ["000019", "000038", "000039"]
    assert errors["error_type"].to_list() == ["InvalidInferenceResultError", "http_429", "http_400"]
    assert errors["score"].null_count() == 3
    assert table["input_tokens"].sum() == 296
    assert table["output_tokens"].sum() == 143
    assert imported.rejected.height == 0
    assert any("3 of 40" in note and "counts 3 of them as wrong" in note for note in imported.notes)


def test_a_pair_differs_in_its_sampler_and_flips_as_stated(logs):
    before, after = (import_log([logs("aiperf") / run]).executions for run in RUNS)
    gained, lost = flips(before, after)
    assert [int(item[-6:]) for item in gained] == [3, 16, 23, 31, 32, 35]
    assert [int(item[-6:]) for item in lost] == [26]
    both = import_log([logs("aiperf") / run for run in RUNS])
    assert both.executions["sampler"].unique().sort().to_list() == ["temperature=0", "temperature=0.8"]
    assert both.executions["trial"].unique().to_list() == [1]  # two contexts, no replicates


def test_latency_of_a_profile_and_of_an_older_version(logs):
    table = import_log([logs("aiperf") / "profile"]).executions
    assert table["latency_s"].count() == 37
    assert math.fsum(table["latency_s"].drop_nulls()) / 37 == pytest.approx(46.36696962162162e-3, rel=1e-12)
    assert (table["input_tokens"].sum(), table["output_tokens"].sum()) == (1133, 185)
    failed = table.filter(table["error_type"].is_not_null())
    assert sorted(int(item[-6:]) for item in failed["item"]) == [1, 6, 19]
    assert failed["error_type"].unique().to_list() == ["http_429"]
    imported = import_log([logs("aiperf") / "fixture_run1"])
    old = imported.executions
    assert old.height == 100
    assert old["error_type"].value_counts().drop_nulls().row(0) == ("RequestCancellationError", 11)
    assert math.fsum(old["latency_s"].drop_nulls()) / 89 == pytest.approx(9.059654633033708, rel=1e-12)
    assert old["ttft_s"].count() == 89
    assert not [note for note in imported.notes if "in the log itself" in note]


def test_load_at_the_sending_of_each_request(tmp_path):
    spans = [(0, 3), (1, 2), (1, 5), (3, 3), (4, 6)]  # the fourth takes no time; the first has ended when it is sent
    records = [
        record(i, metadata={"request_start_ns": a * 10**9, "request_end_ns": b * 10**9}) for i, (a, b) in enumerate(spans)
    ]
    outcomes = import_log([written(tmp_path, records)]).outcomes
    expected = [sum(c <= a < d for j, (c, d) in enumerate(spans) if j != i) for i, (a, b) in enumerate(spans)]
    assert outcomes["metric"].unique().to_list() == ["requests_in_flight"]
    assert outcomes["value"].to_list() == expected == [0, 2, 2, 1, 1]


def test_warm_up_is_set_aside_and_turns_are_items_of_a_session(tmp_path):
    records = [
        record(0, metadata={"benchmark_phase": "warmup"}),
        record(1, metadata={"conversation_id": "c", "turn_index": 0}),
        record(2, metadata={"conversation_id": "c", "turn_index": 1}),
    ]
    imported = import_log([written(tmp_path, records)])
    assert imported.rejected["rule"].to_list() == ["phase_profiled"]
    assert imported.executions["session"].to_list() == [Privacy().pseudonym("session", "c")] * 2
    assert imported.executions["turn"].to_list() == [0, 1]
    assert imported.executions["item"].n_unique() == 2


def test_another_seed_is_other_items_and_no_replicate(tmp_path):
    items = []
    for seed in (3, 4):
        (tmp_path / str(seed)).mkdir()
        path = written(tmp_path / str(seed), [record(seed)])
        averages = path.with_name("profile_export_aiperf.json")
        averages.write_text(averages.read_text().replace('"random_seed": 3', f'"random_seed": {seed}'))
        items.append(import_log([path]).executions["item"][0].split("/")[0])
    assert items[0] != items[1]


def test_a_setting_without_a_column_makes_a_context(tmp_path):
    paths = []
    for name, streaming in (("a", True), ("b", False)):
        (tmp_path / name).mkdir()
        paths.append(written(tmp_path / name, [record(ord(name))], endpoint={"streaming": streaming, "extra": {}}))
    imported = import_log(paths)
    assert imported.executions["scaffold"].to_list() == ["endpoint.streaming=true", "endpoint.streaming=false"]


def test_a_run_of_several_models_or_without_requests_is_refused(tmp_path):
    path = written(tmp_path, [record(0)], models=("a", "b"))
    with pytest.raises(InputError, match="--set model"):
        import_log([path])
    assert import_log([path], constants={"model": "a"}).executions.height == 1
    path.unlink()
    with pytest.raises(InputError, match="holds the single requests"):
        import_log([tmp_path / "profile_export_aiperf.json"])


def test_a_metric_without_a_unit_is_left_empty(tmp_path):
    records = [record(0, metrics={"request_latency": {"value": 1.0, "unit": unit}}) for unit in (["ms"], None, "parsec")]
    for number, one in enumerate(records):
        one["metadata"]["x_request_id"] = str(number)
    imported = import_log([written(tmp_path, records)])
    assert "latency_s" in imported.missing
    assert any("has no unit of time" in note for note in imported.notes)
