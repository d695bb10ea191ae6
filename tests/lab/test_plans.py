"""Are the plans of the lab whole, and do they say what they confound?"""

import itertools
import pathlib

import pytest

from divergence.probe.dry_run import confounded
from divergence.probe.reading import read_plan
from lab import incidents, sessions, traffic
from lab.items import items

LAB = pathlib.Path(__file__).parents[2] / "lab"


@pytest.mark.parametrize("name", sorted(p.name for p in LAB.glob("*.toml")))
def test_a_plan_of_the_lab_can_be_run(name):
    plan = read_plan(LAB / name)
    assert {c.regime for c in plan.context} == {"evaluation", "deployment"} and all(s.weights for s in plan.system)


def test_the_full_plan_confounds_no_main_effect():
    plan = read_plan(LAB / "full.toml")
    assert len(plan.context) == 13 and len(plan.system) == 6
    assert not [s for s in confounded(plan) if "cannot be told apart" in s]


def test_longer_lists_of_items_begin_with_the_shorter_ones():
    short, whole = items(8), items()
    assert len(whole) == 204 and {i["item"] for i in short} <= {i["item"] for i in whole}
    by_name = {i["item"]: i for i in whole}
    assert all(by_name[i["item"]] == i for i in short)


def test_agent_tasks_are_solved_by_their_declared_number_of_commands():
    """The shortest solution, command by command, reaches the wanted state in `length` steps, `done` included."""
    from divergence.probe import agent

    for item in sessions.agents(24):
        ((key, value),) = item["agent"]["wanted"].items()
        steps = [f"set {key} {value}", "done"]
        if item["task"] == "agent-line":
            steps = [f"line {item['agent']['lines'].index(value) + 1}", *steps]
        if item["task"] in ("agent-sum", "agent-chain"):
            numbers = [int(w.strip(".,")) for w in item["prompt"].split() if w.strip(".,").isdecimal()]
            steps = [f"calc {sum(numbers[: k + 1])} + {numbers[k + 1]}" for k in range(len(numbers) - 1)] + steps
        desk = agent.desk(item)
        for step in steps:
            assert not desk.run(step).startswith("error")
        assert desk.finished and agent.solved(item, desk) and len(steps) == item["agent"]["length"]


def test_a_stream_has_the_overlap_and_the_drift_that_it_says():
    """2,400 requests: shares within four standard errors of what was asked for."""
    rows = list(traffic.stream(2400))
    bench = {i["item"] for i in items()}
    share = sum(r["item"].removesuffix("-short") in bench for r in rows) / len(rows)
    assert abs(share - traffic.OVERLAP) < 4 * (0.24 / 2400) ** 0.5
    for part, mixture in ((rows[:400], traffic.FIRST), (rows[-400:], traffic.LAST)):
        seen = sum(r["task"] == "capital" for r in part) / 400
        assert abs(seen - mixture["capital"]) < 4 * (0.21 / 400) ** 0.5 + 0.02  # the mixture moves by .02 within the part
    assert rows == list(traffic.stream(2400))


def test_the_traffic_of_the_switched_stream_does_not_move():
    """Each family is drawn equally often: within four standard errors before the switch, and after it."""
    rows, bench = list(incidents.speculation(1160)), incidents.bench()
    assert len({row["item"] for row in bench}) == len(bench) == 80 and rows == list(incidents.speculation(1160))
    for part in (rows[:640], rows[640:]):
        for task in {row["task"] for row in bench}:
            share = sum(row["task"] == task for row in part) / len(part)
            assert abs(share - 1 / 8) < 4 * (7 / 64 / len(part)) ** 0.5


def test_the_memory_of_conversations_grows_on_its_line():
    """Exchanges beside the worked examples: their number is the line, rounded up or down, and never of the own family."""
    rows = list(incidents.growth(400))
    told = [len(row["examples"]) - incidents.WORKED for row in rows]
    assert set(told[:180]) == {1} and told[-1] == 9
    assert all(abs(count - incidents.remembered(number, 400)) < 1 for number, count in enumerate(told))
    assert all(abs(one - other) <= 1 for one, other in itertools.pairwise(told))
    assert {len(row["turns"]) for row in rows} == {incidents.TURNS} and rows == list(incidents.growth(400))
