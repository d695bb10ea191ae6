"""A verb that is killed, at a random moment or at any step of putting its results in place, leaves the old results or the
new ones, whole; the next run leaves nothing else. The files of an import take their places one by one, and whoever reads
them reads the old import or the new one; a truth of `simulate` names the log that it is of. (Killed workers:
`scoring/test_resume`.)

The steps are those of a run that is not killed: it is counted first how many it has, and how many of them after the switch.
"""

import collections
import json
import pathlib
import random
import shutil
import signal
import time

import pytest
from killed_verbs import Case

KILLS = 20  # of each verb in `make prove`
VERBS = ("import", "compare", "drift", "probe", "fit", "report", "export", "plan", "score", "simulate")
TIMELESS = ("score", "import", "simulate")  # what they write holds no time
AT_STEPS = 12  # of them, at most, at steps; the others at random moments


def spread(steps: int, after: int, most: int) -> list[int]:
    """So many of the steps: the first, the last, those around the switch, and others evenly between."""
    chosen = [0, steps - 1, steps - after - 1, steps - after, 1, steps - 2]
    parts = max(most - 1, 1)
    chosen += [round(k * (steps - 1) / parts) for k in range(most)] + list(range(steps))
    return sorted(list(dict.fromkeys(step for step in chosen if 0 <= step < steps))[:most])


def check_kills(case: Case, kills: int, at_steps: int, folder: pathlib.Path) -> None:
    """Kill the second run, look, and let the next one run to its end where the kill left something."""
    assert case.run(case.first) in (0, 1)
    shutil.copytree(case.out, folder / "old", symlinks=True)
    old, before = case.seen(), case.answer()
    began = time.monotonic()
    assert case.run(case.second, told_to=folder / "steps.json") in (0, 1)
    length = time.monotonic() - began
    new, later = case.seen(), case.answer()
    counted = json.loads((folder / "steps.json").read_text())
    changed = {name for name in {*old, *new} if old.get(name) != new.get(name)}
    assert changed and before != later
    steps = spread(counted["steps"], counted["after"], min(at_steps, kills))
    dice = random.Random(0)
    plans = collections.deque({"killed_at": step} for step in steps)
    ends: collections.Counter[tuple[str, int, str]] = collections.Counter()
    while plans or sum(count for (_, code, _), count in ends.items() if code == -signal.SIGKILL) < kills:
        plan = plans.popleft() if plans else {"killed_after": dice.uniform(0.3, 1.05) * length}
        shutil.rmtree(case.out)
        shutil.copytree(folder / "old", case.out, symlinks=True)
        began = time.monotonic()
        code = case.run(case.second, **plan)
        if code in (0, 1):  # too late: another time sooner
            length = min(length, time.monotonic() - began)
        after = case.seen()
        moved = {name for name in {*old, *after} if old.get(name) != after.get(name)}
        end = "old" if not moved else "new" if moved == changed else "told"
        if end == "told":  # readers see it
            assert case.verb in ("import", "simulate"), (plan, sorted(moved ^ changed))
            assert case.verb == "import" or (moved == {"truth.json"} and not case.belongs())
        if case.verb == "import":
            found = case.answer()
            assert found in (before, later), plan
            end = "old" if found == before else "new"
        ends[next(iter(plan)), code, end] += 1
        if case.litter() or not plans:
            assert case.run(case.second) in (0, 1)
            assert set(case.seen()) == set(new) and not case.litter()
            assert case.answer() == later if case.verb in TIMELESS else case.answer().keys() == later.keys()
    print(f"{case.verb}: {counted}, steps {steps}, {sum(ends.values())} runs: {dict(ends)}")
    killed = {left for _, code, left in ends if code == -signal.SIGKILL}
    assert {"old", "new"} <= killed  # before the switch, and after it


def checked(verb: str, folder: pathlib.Path, kills: int, at_steps: int) -> None:
    case = Case(verb, folder)
    try:
        check_kills(case, kills, at_steps, folder)
    finally:
        case.close()


def test_steps_are_spread_over_all_and_around_the_switch():
    assert spread(3, 1, 12) == [0, 1, 2]
    assert spread(40, 10, 6) == [0, 1, 29, 30, 38, 39]
    assert len(spread(40, 10, 12)) == 12 and {0, 29, 30, 39} < set(spread(40, 10, 12))


@pytest.mark.parametrize("verb", ["import", "compare", "score", "simulate"])
def test_a_killed_verb_leaves_old_or_new(verb, tmp_path):
    checked(verb, tmp_path, 4, 3)


@pytest.mark.prove
@pytest.mark.parametrize("verb", VERBS)
def test_twenty_kills_leave_old_or_new(verb, tmp_path):
    checked(verb, tmp_path, KILLS, AT_STEPS)
