"""Does a dry run count what a run would ask, say what is confounded, and send nothing?"""

import json

import polars as pl
import pytest

from divergence.cli import main
from divergence.errors import InputError
from divergence.probe import dry_run, run


def test_it_counts_what_a_run_then_writes(write_plan, tmp_path, stub):
    plan = write_plan({"ok a": "a", "ok b": "b", "ok c": "c"}, head="waves = 2\ntrials = 2")
    planned = dry_run(plan)
    assert stub.requests == [] and planned.executions == planned.calls == 3 * 1 * 2 * 2 * 2
    assert run(plan, tmp_path / "out", quiet=True).rows == planned.executions == len(stub.requests)


def test_turns_and_calls_are_counted(write_plan, tmp_path):
    plan = write_plan({"ok a": "a"})
    turns = [{"prompt": "ok a", "gold": "a", "scorer": "exact"}] * 3
    agent = {"item": "task", "prompt": "do", "agent": {"wanted": {"x": "1"}, "max_calls": 5, "length": 1}}
    rows = [{"item": "talk", "turns": turns}, agent]
    (tmp_path / "items.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    planned = dry_run(plan)
    assert (planned.items, planned.executions, planned.calls) == (2, 2 * (3 + 1), 2 * (3 + 5))


def test_the_command_prints_the_aliases_and_leaves_nothing(write_plan, tmp_path, stub, capsys, monkeypatch):
    monkeypatch.setenv("CANARY", "sk-canary-8f3e1b")
    plan = write_plan({"ok a": "a"}, endpoint='api_key_env = "CANARY"\nheaders_env = { X-Org = "ABSENT" }')
    both = ("sampler =", 'router = "none", sampler =')
    text = plan.read_text().replace(*both, 1).replace('{ sampler = "default"', '{ router = "x", sampler = "default"')
    plan.write_text(text)
    with pytest.raises(SystemExit) as ended:
        main(["probe", str(plan), "--dry-run"])
    told = capsys.readouterr().out
    assert ended.value.code == 0 and stub.requests == []
    assert "aliased: the effect of router cannot be told apart from that of sampler" in told
    assert "the variable of headers_env X-Org is NOT set" in told and "ABSENT" not in told
    assert "CANARY is set" in told and "8f3e1b" not in told
    assert "repeats: none" in told and told.endswith("nothing was sent\n")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["items.jsonl", "plan.toml"]
    with pytest.raises(SystemExit):
        main(["probe", str(plan), "--dry-run", "--json"])
    assert len(json.loads(capsys.readouterr().out)["confounded"]) == 2


def test_a_trace_that_is_not_there_is_said_before_anything_is_sent(write_plan, tmp_path, stub):
    plan = write_plan({"ok a": "a"})
    law = 'arrivals = { kind = "trace", trace = "missing.csv", rate_per_s = 1.0 }'
    plan.write_text(plan.read_text().replace("[[context]]", f"[[context]]\n{law}", 1))
    for go in (dry_run, lambda path: run(path, tmp_path / "out", quiet=True)):
        with pytest.raises(InputError, match=r"The trace .*missing\.csv cannot be read"):
            go(plan)
    assert stub.requests == [] and not (tmp_path / "out").exists()


def test_without_a_folder_it_asks_for_one(write_plan, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["probe", str(write_plan({"ok a": "a"}))])
    assert ended.value.code == 2 and "--dry-run" in capsys.readouterr().err


def test_a_budget_that_ends_the_run_is_told(write_plan, tmp_path, capsys):
    plan = write_plan({"ok a": "a", "ok b": "b", "busy c": "c"}, head="[budget]\nrequests = 2")
    with pytest.raises(SystemExit) as ended:
        main(["probe", str(plan), "-o", str(tmp_path / "out")])
    assert ended.value.code == 0
    assert "stopped early: the budget of 2 requests is used up; run again to go on" in capsys.readouterr().out
    plan.write_text(plan.read_text().replace("requests = 2", "requests = 0"))
    with pytest.raises(SystemExit):
        main(["probe", str(plan), "-o", str(tmp_path / "out")])
    told = capsys.readouterr().out
    assert "6 rows (2 errors: 2 http_429" in told and "stopped early" not in told
    assert pl.read_parquet(tmp_path / "out" / "executions.parquet").height == 6
