"""tau2-bench: simulations inside the results and in files of their own, on files of its repository."""

import math

import pytest

from divergence.errors import InputError
from divergence.executions.importers import import_log


def test_rewards_costs_and_durations(logs):
    imported = import_log([logs("tau2_bench") / "airline_trimmed15.json"])
    table = imported.executions
    assert (table.height, table["score"].mean()) == (15, 0.8)
    assert [place for place, score in enumerate(table["score"]) if score == 0] == [5, 8, 13]
    assert math.fsum(table["cost_usd"]) == pytest.approx(3.482445, rel=1e-12)
    assert math.fsum(table["latency_s"]) == pytest.approx(1253.606232861057, rel=1e-12)
    assert table["sampler"].unique().to_list() == ["temperature=0"]
    assert table["item"][0] == "airline/13"
    assert "simulation.user_cost" in imported.unmapped


def test_an_index_reads_its_simulations_and_what_was_not_judged_has_no_score(logs):
    imported = import_log([logs("tau2_bench") / "experiment"])
    table = imported.executions
    assert table["item"].str.split("/").list.last().sort().to_list() == ["20", "40", "98"]
    assert table["score"].null_count() == 3
    assert any("3 of 3 simulations were not judged" in note for note in imported.notes)
    alone = import_log(sorted((logs("tau2_bench") / "experiment" / "simulations").iterdir())[:1])
    assert alone.executions.height == 3  # the results beside them name the model and list all


def test_a_simulation_without_results_names_no_model(logs, tmp_path):
    copy = tmp_path / "a.json.gz"
    copy.write_bytes(next((logs("tau2_bench") / "experiment" / "simulations").iterdir()).read_bytes())
    with pytest.raises(InputError, match=r"results\.json"):
        import_log([copy])
