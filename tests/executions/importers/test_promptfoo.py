"""promptfoo: components and not `success`, on genuine exports of version 3."""

import json
import math

import polars as pl
import pytest
from imported_pairs import flips

from divergence.errors import InputError
from divergence.executions.importers import Privacy, import_log

STUBS = {"openai:chat:gpt-4o-mini": "stub-a", "openai:chat:gpt-4.1-nano": "stub-b"}
RIGHT = {"before": {"stub-a": 15, "stub-b": 11}, "after": {"stub-a": 17, "stub-b": 13}}
SUCCESSES = {"before": (9, 5), "after": (3, 1)}
LATENCY = {"before": (2031, 2994), "after": (1295, 1570)}
COST = {"stub-a": 6.464999999999999e-05, "stub-b": 4.310000000000001e-05}
GAINED = {"stub-a": ["ar-012", "ar-016"], "stub-b": ["ar-004", "ar-005", "ar-008", "ar-013"]}
LOST = {"stub-a": [], "stub-b": ["ar-014", "ar-017"]}
SALT = Privacy(salt=b"of this test, not of a user")


def of(table, model):
    return table.filter(pl.col("model") == model)


@pytest.mark.parametrize("run", RIGHT)
def test_totals_are_those_of_the_tool_and_success_is_not_read(logs, run):
    path = logs("promptfoo") / f"{run}.json"
    imported = import_log([path])
    table = imported.executions
    assert table.height == 40
    for place, (model, label) in enumerate(STUBS.items()):
        own = of(table, model)
        assert (own.height, own["score"].count(), own["score"].sum()) == (20, 19, RIGHT[run][label])
        assert own["error_type"].drop_nulls().to_list() == ["http_400"]
        assert own.filter(pl.col("error_type").is_not_null())["score"].null_count() == 1
        assert (own["input_tokens"].sum(), own["output_tokens"].sum()) == (171, 65)
        assert math.fsum(own["cost_usd"].drop_nulls()) == pytest.approx(COST[label], rel=1e-12)
        assert 1e3 * math.fsum(own["latency_s"]) == pytest.approx(LATENCY[run][place], rel=1e-12)
    named = imported.outcomes.group_by("metric").agg(pl.len(), pl.col("value").mean()).sort("metric")
    counts = dict(zip(named["metric"], named["len"], strict=True))
    assert counts == {"brevity": 8, "cheap": 38, "correct": 38, "not-icontains": 38, "quality_passed": 38, "speed": 38}
    assert imported.outcomes.filter(pl.col("metric") == "brevity")["value"].mean() == 0.75  # 6 of a weight of 8
    assert not [note for note in imported.notes if "in the log itself" in note]
    rows = json.loads(path.read_text())["results"]["results"]
    successes = tuple(sum(r["success"] for r in rows if r["provider"]["label"] == label) for label in COST)
    assert successes == SUCCESSES[run]  # fell, while what is right rose


def test_a_pair_joins_on_descriptions_and_flips_as_stated(logs):
    before, after = (import_log([logs("promptfoo") / f"{run}.json"]).executions for run in RIGHT)
    for model, label in STUBS.items():
        assert flips(of(before, model), of(after, model)) == (GAINED[label], LOST[label])
    speed = [
        import_log([logs("promptfoo") / f"{run}.json"], primary="speed")
        .executions.group_by("model")
        .agg(pl.col("score").sum())
        for run in RIGHT
    ]
    totals = [dict(zip(one["model"], one["score"], strict=True)) for one in speed]
    assert totals == [dict(zip(STUBS, sums, strict=True)) for sums in ((11.0, 9.0), (3.0, 2.0))]


def test_repetitions_are_trials_of_one_item(logs):
    table = import_log([logs("promptfoo") / "repeat.jsonl"]).executions
    assert table.height == 30
    assert table["item"].n_unique() == 5
    assert sorted(table["trial"].unique()) == [1, 2, 3]
    assert [of(table, model)["score"].sum() for model in STUBS] == [14, 8]


def test_the_lines_beside_an_export_are_its_rows_again(logs):
    folder = logs("promptfoo")
    both = import_log([folder / "before.json", folder / "before.jsonl"])
    assert both.executions.height == 40
    assert any("left out" in note for note in both.notes)
    lines = import_log([folder / "before.jsonl"]).executions
    assert lines.sort("execution_id")["score"].to_list() == both.executions.sort("execution_id")["score"].to_list()


def test_an_assertion_that_cannot_be_asked_is_an_error_of_every_row(logs):
    imported = import_log([logs("promptfoo") / "cost_assertion_without_cost_9rows.jsonl"])
    assert imported.executions["error_type"].to_list() == ["assertion_error"] * 9
    assert imported.executions["score"].null_count() == 9
    assert imported.outcomes.height == 0


def result(number, **changes):
    """One result as promptfoo writes it; `components` are (type, metric, score, passed)."""
    components = [
        {"pass": passed, "score": score, "assertion": {"type": kind, **({"metric": metric} if metric else {})}}
        for kind, metric, score, passed in changes.pop("components", [("equals", None, 1, True)])
    ]
    row = {"id": f"r{number}", "provider": {"id": "p:m", "label": "m"}, "promptId": "abc", "promptIdx": 0, "testIdx": number}
    row |= {
        "gradingResult": {"componentResults": components},
        "failureReason": 0,
        "namedScores": {},
        "vars": {"q": f"CANARY{number}"},
    }
    row |= {"latencyMs": 10, "response": {"output": "a", "cost": 0.5}}
    return {**row, **changes}


def export(tmp_path, results, name="a.json", providers=()):
    log = {
        "evalId": "e",
        "results": {"version": 3, "results": results, "prompts": []},
        "config": {"providers": list(providers)},
    }
    path = tmp_path / name
    path.write_text(json.dumps(log))
    return path


def test_without_names_the_score_is_whether_quality_passed(tmp_path):
    rows = [
        result(0, components=[("equals", None, 1, True), ("latency", None, 0, False)]),
        result(1, components=[("equals", None, 1, True), ("llm-rubric", None, 0.4, False), ("cost", None, 1, True)]),
        result(2, components=[("latency", None, 1, True)]),
    ]
    table = import_log([export(tmp_path, rows)], privacy=SALT).executions
    assert table["score"].to_list() == [1.0, 0.0, None]
    assert table["item"].n_unique() == 3
    assert "CANARY" not in repr(table.rows())


def test_cached_answers_have_neither_latency_nor_cost(tmp_path):
    rows = [result(0), result(1, response={"output": "a", "cost": 0.5, "cached": True})]
    imported = import_log([export(tmp_path, rows)], privacy=SALT)
    assert imported.executions["latency_s"].to_list() == [0.01, None]
    assert imported.executions["cost_usd"].to_list() == [0.5, None]
    assert any("1 answers are from the cache" in note for note in imported.notes)


def test_two_configurations_of_one_provider_are_two_contexts(tmp_path):
    configured = [
        {"id": "p:m", "label": label, "config": {"reasoning": label, "apiKey": "sk-hidden"}} for label in ("low", "high")
    ]
    rows = [result(i, provider={"id": "p:m", "label": label}) for i, label in enumerate(("low", "high"))]
    imported = import_log([export(tmp_path, rows, providers=configured)], privacy=SALT)
    assert imported.executions["scaffold"].to_list() == [
        f"reasoning={label},provider.label={label}" for label in ("low", "high")
    ]
    assert "hidden" not in repr(imported)


def test_a_file_without_results_and_an_unknown_metric_are_refused(tmp_path):
    with pytest.raises(InputError, match="holds no results"):
        import_log([export(tmp_path, None)])
    with pytest.raises(InputError, match="choose from"):
        import_log([export(tmp_path, [result(0)])], primary="none", privacy=SALT)
