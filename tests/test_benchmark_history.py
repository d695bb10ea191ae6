"""Benchmarks keep their figures: one line a run, earlier lines as they were."""

import csv

from benchmarks.history import append, earlier_runs


def test_a_run_is_one_line_more(tmp_path):
    append("spine", {"cpu_s": 12.34567891}, 0.5, tmp_path)
    first = (tmp_path / "spine.csv").read_text()
    append("spine", {"cpu_s": 12.0}, 1.0, tmp_path)
    assert (tmp_path / "spine.csv").read_text().startswith(first)
    with (tmp_path / "spine.csv").open() as file:
        runs = list(csv.DictReader(file))
    assert [run["cpu_s"] for run in runs] == ["12.3457", "12"] and [run["load"] for run in runs] == ["0.5", "1.0"]
    assert not list(tmp_path.glob("*.part"))


def test_a_new_figure_is_a_new_column(tmp_path):
    append("spine", {"cpu_s": 1.0}, 0.0, tmp_path)
    append("spine", {"peak_mib": 700.0}, 0.0, tmp_path)
    with (tmp_path / "spine.csv").open() as file:
        old, new = csv.DictReader(file)
    assert (old["cpu_s"], old["peak_mib"], new["cpu_s"], new["peak_mib"]) == ("1", "", "", "700")


def test_all_runs_are_shown_the_last_one_last(tmp_path):
    assert earlier_runs("spine", tmp_path) == []
    for cpu_s in (1.0, 2.0):
        append("spine", {"cpu_s": cpu_s}, 0.5, tmp_path)
    head, rule, *runs = earlier_runs("spine", tmp_path)
    assert head == "| date | version | load | cpu s |" and rule == "| --- | --- | --- | --- |"
    assert [run.split(" | ")[-1] for run in runs] == ["1 |", "2 |"]
