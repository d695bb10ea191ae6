"""Do conversations keep their own history, do agents work on a real state, and is traffic asked in its own order?"""

import json

import polars as pl
import pytest
from journal_rows import journal_row

from divergence.errors import InputError
from divergence.probe import agent, run
from divergence.probe.item_files import read_items
from divergence.probe.plan import Plan
from divergence.probe.store import Store

TASK = {"wanted": {"total": "7"}, "max_calls": 5, "length": 3, "lines": ["Oslo", "Rome"], "store": {"a": "4"}}


def put(plan, rows, name="items.jsonl"):
    (plan.parent / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return plan


@pytest.mark.parametrize(
    ("command", "result"),
    [
        ("calc 3 + 4", "7"),
        ("calc 3*4", "12"),
        ("calc 3 - 14", "-11"),
        ("calc three + 4", "error: calc takes two numbers"),
        ("calc 9999999999 * 2", "error"),
        ("set total 7", "ok"),
        ("set Total 7", "error: set takes"),
        ("set total", "error"),
        ("get a", "4"),
        ("get b", "error: there is no b"),
        ("line 2", "Rome"),
        ("line 3", "error: line takes a number from 1"),
        ("line x", "error"),
        ("rm -rf /", "error: there is no command rm"),
        ("", "error"),
        ("done", "bye"),
        ("done now", "error"),
    ],
)
def test_tools_return_what_they_say(command, result):
    desk = agent.desk({"agent": TASK})
    assert desk.run(command).startswith(result)
    assert desk.tried == 1 and desk.worked == (not result.startswith("error") and result != "bye")


def test_an_episode_is_judged_by_its_end_state(write_plan, tmp_path, stub):
    """The stub answers with what the last message says: its prompts script a good, a wrong, and an endless episode."""
    script = {"good": ["calc 3 + 4", "set total 7", "done"], "wrong": ["set total 8", "done"], "endless": ["get a"] * 9}
    stub.script = {name: list(steps) * 2 for name, steps in script.items()}
    stub.script["endless"] = ["get a"] * 10
    items = [{"item": name, "prompt": f"script {name}", "task": "agent", "agent": TASK} for name in script]
    rows = pl.read_parquet(run(put(write_plan({"ok a": "a"}), items), tmp_path / "out", quiet=True).path).sort("item")
    bench = rows.filter(context="bench")
    assert bench["item"].to_list() == ["endless", "good", "wrong"]
    assert bench["score"].to_list() == [0.0, 1.0, 0.0] and bench["finish_reason"].to_list() == ["calls", "done", "done"]
    assert bench["calls"].to_list() == [5, 3, 2] and bench["tool_calls"].to_list() == [5, 2, 1]
    assert bench["input_tokens"].to_list() == [35, 21, 14] and bench["task_length"].to_list() == [3.0] * 3
    assert rows["session"].n_unique() == 6
    asked = [[m["content"] for m in r["messages"]] for r in stub.requests if r.get("temperature") == 0.0]
    assert [a for a in asked if a[0] == "script good"][-1] == ["script good", "calc 3 + 4", "7\n>", "set total 7", "ok\n>"]


def test_a_conversation_keeps_its_own_answers(write_plan, tmp_path, stub):
    turns = [{"prompt": f"ok {word}", "gold": gold, "scorer": "exact"} for word, gold in (("one", "one"), ("two", "2"))]
    rows = pl.read_parquet(
        run(
            put(write_plan({"ok a": "a"}), [{"item": "chat", "task": "chat", "turns": turns}]), tmp_path / "out", quiet=True
        ).path
    ).sort("context", "turn")
    assert rows["item"].to_list() == ["chat/t1", "chat/t2"] * 2 and rows["turn"].to_list() == [1, 2] * 2
    assert rows["score"].to_list() == [1.0, 0.0] * 2 and rows["session"].n_unique() == 2
    second = next(r["messages"] for r in stub.requests if len(r["messages"]) == 3)
    assert [m["content"] for m in second] == ["ok one", "one", "ok two"]


def test_half_a_conversation_is_asked_again_and_written_once(tmp_path):
    rows = [journal_row(item=f"i/t{turn}", turn=turn) for turn in (2, 1)]
    with Store(tmp_path, "h") as store:
        store.add(rows)
    journal = tmp_path / "executions.journal"
    journal.write_bytes(journal.read_bytes()[:-20])  # the kill came in the middle of the last line: the first turn
    with Store(tmp_path, "h") as store:
        assert [key[1] for key in store.done] == ["i/t2"]
        store.add(rows)
        assert [row["turn"] for row in store.rows()] == [2, 1]


def test_traffic_comes_in_its_order_with_repeats_as_trials(write_plan, tmp_path):
    plan = write_plan({"ok a": "a"}, context='workload = "traffic.jsonl"')
    stream = ["x", "y", "x", "z", "x"]
    put(
        plan,
        [
            {"item": n, "prompt": f"ok {n}", "gold": n, "scorer": "exact", "session": f"user-{k}"}
            for k, n in enumerate(stream)
        ],
        "traffic.jsonl",
    )
    plan.write_text(plan.read_text().replace("concurrency = 4", "concurrency = 1"))
    rows = pl.read_parquet(run(plan, tmp_path / "out", quiet=True).path)
    live = rows.filter(context="live")
    assert live.select("item", "trial", "session").rows() == [
        ("x", 1, "user-0"),
        ("y", 1, "user-1"),
        ("x", 2, "user-2"),
        ("z", 1, "user-3"),
        ("x", 3, "user-4"),
    ]
    assert rows.filter(context="bench")["item"].to_list() == ["i000"]
    put(plan, [{"item": "x", "prompt": f"ok {n}", "gold": "x", "scorer": "exact"} for n in "ab"], "traffic.jsonl")
    with pytest.raises(InputError, match="that repeats must be the same"):
        run(plan, tmp_path / "other", quiet=True)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"item": "a", "prompt": "p", "agent": {"wanted": {}, "max_calls": 3, "length": 1}}, "wants no end state"),
        ({"item": "a", "prompt": "p", "agent": {"wanted": {"a": "1"}, "max_calls": "3", "length": 1}}, "valid 'max_calls'"),
        ({"item": "a", "prompt": "p", "agent": []}, "valid 'wanted'"),
        ({"item": "a", "turns": ["x"]}, "turn 1 is not"),
        ({"item": "a", "turns": [{"prompt": "p"}]}, "turn 1 lacks the text field 'gold'"),
        ([1], "not a JSON object"),
    ],
)
def test_an_item_that_cannot_be_asked_is_a_sentence(tmp_path, row, words):
    (tmp_path / "items.jsonl").write_text(json.dumps(row))
    with pytest.raises(InputError, match=words):
        read_items(Plan("p", "items.jsonl", (), (), folder=tmp_path))


def test_items_can_be_a_parquet_file(tmp_path):
    frame = pl.DataFrame({"item": ["a", "b"], "prompt": ["p", "q"], "gold": ["1", "2"], "scorer": ["number", "number"]})
    frame.write_parquet(tmp_path / "items.parquet")
    found = read_items(Plan("p", "items.parquet", (), (), folder=tmp_path))
    assert [row["prompt"] for row in found] == ["p", "q"]
    (tmp_path / "bad.parquet").write_text("no")
    with pytest.raises(InputError, match="cannot be read"):
        read_items(Plan("p", "bad.parquet", (), (), folder=tmp_path))
