"""Is a known law decided in three rounds by the verbs alone, and does a loop stop, resume and record as it says?"""

import json

import polars as pl
import pytest
from known_law import BEST, write_plan

from divergence.cli import main


def verb(*arguments) -> int:
    """Exit code of a verb."""
    with pytest.raises(SystemExit) as end:
        main([str(a) for a in arguments])
    return end.value.code


def test_three_verbs_decide_in_three_rounds(law, tmp_path, capsys):
    """As the README shows: probe, plan, probe, plan, probe, report."""
    plan = write_plan(tmp_path, law.base_url)
    pilot = tmp_path / "pilot.toml"
    pilot.write_text(plan.read_text() + '[[allocation]]\nmodel = "*"\ncontext = "*"\nitems = 20\n')
    one, two, three = (tmp_path / f"round-{k}" for k in (1, 2, 3))
    assert verb("probe", pilot, "-o", one, "--quiet") == 0
    assert law.requests == 240
    capsys.readouterr()
    flags = ("--probe", plan, "--requests", 240, "--quiet", "--json")
    assert verb("plan", one, *flags, "-o", tmp_path / "next-2") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["designs"][0]["requests"] <= 240 and told["now"]["regret"] > told["designs"][0]["regret"]
    assert verb("probe", tmp_path / "next-2" / "next.toml", "-o", two, "--quiet") == 0
    assert law.requests == 240 + told["designs"][0]["requests"]
    assert verb("plan", one, two, *flags, "-o", tmp_path / "next-3") == 0
    assert verb("probe", tmp_path / "next-3" / "next.toml", "-o", three, "--quiet") == 0
    capsys.readouterr()
    assert verb("report", one, two, three, "-o", tmp_path / "report", "--quiet") == 0
    best = pl.read_parquet(tmp_path / "report" / "estimates.parquet").filter(
        (pl.col("question") == "best_combination") & (pl.col("statistic") == "p_best") & pl.col("context").is_not_null()
    )
    first = best.sort("mean", descending=True).row(0, named=True)
    assert (first["model"], first["context"]) == BEST
    assert law.requests <= 720  # three fifths of 100 items in each of 12 cells


def test_new_rounds_ask_new_items_and_keep_an_a_a(law, tmp_path):
    plan = write_plan(tmp_path, law.base_url)
    flags = ("--until", "requests=480", "--first", 20, "--quiet", "-o", tmp_path / "out")
    assert verb("loop", plan, *flags) == 0
    logs = [pl.read_parquet(tmp_path / "out" / f"round-{k}" / "executions.parquet") for k in (1, 2)]
    cells = [set(log.select("model", "context", "item").iter_rows()) for log in logs]
    again = cells[0] & cells[1]
    assert 0 < len(again) <= 0.06 * logs[1].height
    items = [{cell[2] for cell in part} for part in (cells[0], cells[1] - again)]
    assert not items[0] & items[1]


def test_a_loop_records_resumes_and_asks_nothing_twice(law, tmp_path, capsys):
    plan = write_plan(tmp_path, law.base_url)
    flags = ("--until", "requests=600", "--first", 10, "--requests", 240, "-o", tmp_path / "out", "--quiet", "--json")
    assert verb("loop", plan, *flags) == 0
    first = json.loads(capsys.readouterr().out)
    asked = law.requests
    assert [r["total"] for r in first["rounds"]] == [120, 360, 600] and asked == 600
    assert first["rounds"][0]["predicted"] is None and first["rounds"][1]["predicted"]["width"] > 0
    assert first["stopped"] == "the requests are spent" and not first["reached"]
    assert json.loads((tmp_path / "out" / "loop.json").read_text()) == first
    assert verb("loop", plan, *flags) == 0
    assert law.requests == asked and json.loads(capsys.readouterr().out) == first


def test_a_loop_stops_where_its_goal_is_reached(law, tmp_path, capsys):
    plan = write_plan(tmp_path, law.base_url)
    flags = ("--goal", "deployed_level", "--until", "width=0.25,requests=2000", "--first", 10, "--json", "--quiet")
    assert verb("loop", plan, *flags, "-o", tmp_path / "out") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["reached"] and told["rounds"][-1]["came"]["width"] <= 0.25 < told["rounds"][-2]["came"]["width"]


def test_a_loop_stops_where_the_bank_is_empty(law, tmp_path, capsys):
    plan = write_plan(tmp_path, law.base_url, items=12)
    flags = ("--goal", "deployed_level", "--until", "width=0.001", "--first", 10, "--json", "--quiet")
    assert verb("loop", plan, *flags, "-o", tmp_path / "out") == 0
    assert "add items to it" in json.loads(capsys.readouterr().out)["stopped"]


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (("--until", "width=-1"), "above 0"),
        (("--until", "someday"), "--until takes"),
        (("--until", "requests=20"), "--first"),
        (("--until", "width=0.1", "--goal", "nonsense"), "choose one of"),
        (("--until", "width=0.1", "--first", "5000"), "the bank holds 600"),
    ],
)
def test_what_cannot_be_meant_is_a_sentence(law, tmp_path, capsys, flags, sentence):
    plan = write_plan(tmp_path, law.base_url)
    assert verb("loop", plan, *flags, "-o", tmp_path / "out", "--quiet") == 2
    assert sentence in capsys.readouterr().err and law.requests == 0


def test_an_endpoint_that_is_not_known_is_refused_by_name(law, tmp_path, capsys):
    """Without the plan that made the log there is no address: the next plan says so, and the dry run refuses it."""
    plan = write_plan(tmp_path, law.base_url)
    assert verb("loop", plan, "--until", "requests=120", "--first", 10, "--quiet", "-o", tmp_path / "out") == 0
    alone = tmp_path / "far" / "elsewhere" / "log.parquet"
    alone.parent.mkdir(parents=True)
    alone.write_bytes((tmp_path / "out" / "round-1" / "executions.parquet").read_bytes())
    assert verb("plan", alone, "--requests", 100, "--quiet", "-o", tmp_path / "next") == 0
    capsys.readouterr()
    assert verb("probe", tmp_path / "next" / "next.toml", "--dry-run") == 2
    assert "REPLACE-ME" in capsys.readouterr().err


def test_a_bank_that_cannot_pay_for_the_plan_is_refused_before_anything_is_sent(law, tmp_path, capsys):
    plan = write_plan(tmp_path, law.base_url)
    assert verb("loop", plan, "--until", "requests=120", "--first", 10, "--quiet", "-o", tmp_path / "out") == 0
    following = tmp_path / "out" / "plan"
    assert verb("plan", tmp_path / "out" / "round-1", "--requests", 100, "--quiet", "-o", following) == 0
    text = (following / "next.toml").read_text()
    asked = law.requests
    (following / "next.toml").write_text(text + '\n[[allocation]]\nmodel = "ada"\ncontext = "hot"\nitems = 9999\n')
    assert verb("probe", following / "next.toml", "-o", tmp_path / "more", "--quiet") == 2
    assert "are left" in capsys.readouterr().err and law.requests == asked
