"""SWE-bench: run reports as the tool's `make_run_report` writes them, on a pair whose outcomes are invented."""

import pytest
from imported_pairs import flips

from divergence.executions.importers import import_log


@pytest.mark.parametrize(("run", "resolved"), [("before", 7), ("after", 10)])
def test_lists_are_rows_and_the_official_number_is_compared(logs, run, resolved):
    imported = import_log([logs("swebench") / f"org__demo-model.{run}.json"])
    table = imported.executions
    assert table.height == 20
    assert table["model"].unique().to_list() == ["org/demo-model"]
    assert (table["score"].sum(), table["score"].count()) == (resolved, 18)
    assert sorted(table["error_type"].drop_nulls()) == ["error", "incomplete"]
    assert table["finish_reason"].drop_nulls().to_list() == ["empty_patch"]
    assert any("1 submitted instances are not in the data set" in note for note in imported.notes)
    assert any("The mean of score" in note and f"is {resolved / 20:g} in the log itself" in note for note in imported.notes)
    assert not [note for note in imported.notes if "sum" in note or "number of rows" in note]


def test_a_pair_flips_as_stated_and_run_ids_are_contexts(logs):
    before, after = (
        import_log([logs("swebench") / f"org__demo-model.{run}.json"]).executions for run in ("before", "after")
    )
    assert flips(before, after) == (["astropy__astropy-12912", "astropy__astropy-12913", "django__django-11003"], [])
    both = import_log([logs("swebench") / f"org__demo-model.{run}.json" for run in ("before", "after")]).executions
    assert both["scaffold"].unique().sort().to_list() == ["run=after", "run=before"]


def test_reports_of_instances_alone_and_beside_a_run(logs):
    alone = import_log([logs("swebench") / "logs"]).executions
    assert alone.height == 6
    assert alone["scaffold"].n_unique() == 2
    assert alone.filter(alone["item"] == "astropy__astropy-12907")["score"].to_list() == [1.0, 1.0]
    whole = import_log([logs("swebench")])
    assert whole.executions.height == 40
    assert any("6 reports of single instances are left out" in note for note in whole.notes)
