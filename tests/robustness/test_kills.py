"""A verb that is killed, at a random moment or at any step of putting its results in place, leaves the old results or the
new ones, whole; the next run leaves nothing else. A scoring puts its results in place one by one, and a folder that has its
manifest holds the results that it names. (Killed workers: `scoring/test_resume`.)"""

import collections
import pathlib
import random
import shutil
import signal
import time
from collections.abc import Sequence

import pytest
from killed_verbs import Case

from divergence.configuration import Configuration
from divergence.errors import InputError
from divergence.executions import read
from divergence.scoring.filesystems import place
from divergence.scoring.outputs import record


def check_kills(case: Case, random_kills: int, steps: Sequence[int], folder: pathlib.Path) -> None:
    """Kill the second run, look, and let the next one run to its end where the kill left something."""
    assert case.run(case.first) in (0, 1)
    shutil.copytree(case.out, folder / "old", symlinks=True)
    old = case.seen()
    began = time.monotonic()
    assert case.run(case.second) in (0, 1)
    length = time.monotonic() - began
    new = case.seen()
    changed = {name for name in {*old, *new} if old.get(name) != new.get(name)}
    assert changed
    dice = random.Random(0)
    plans: list[dict] = [{"killed_after": dice.uniform(0.3, 1.05) * length} for _ in range(random_kills)]
    ends: collections.Counter[tuple[int, str]] = collections.Counter()
    for plan in [*plans, *({"killed_at": step} for step in steps)]:
        shutil.rmtree(case.out)
        shutil.copytree(folder / "old", case.out, symlinks=True)
        code = case.run(case.second, **plan)
        after = case.seen()
        moved = {name for name in {*old, *after} if old.get(name) != after.get(name)}
        if moved and moved != changed:  # readers see it
            assert case.verb in ("import", "score"), (plan, sorted(moved ^ changed))
            if case.verb == "import":  # files of their own names in a folder of the user
                with pytest.raises(InputError, match="are of two imports"):
                    read(sorted(case.out.glob("*.parquet")), configuration=Configuration())
            else:
                assert "manifest.json" not in after
                assert all(record(place(path)) is not None for path in case.out.glob("*.parquet"))
        ends[code, "old" if not moved else "new" if moved == changed else "told"] += 1
        if case.litter() or plan == plans[-1:]:
            assert case.run(case.second) in (0, 1)
            assert set(case.seen()) == set(new) and not case.litter()
            assert case.verb != "score" or case.seen() == new  # its manifest holds no time
    print(f"{case.verb}: {dict(ends)}")
    if steps:
        killed = {left for code, left in ends if code == -signal.SIGKILL}
        assert {"old", "new"} <= killed or {"old", "told"} <= killed  # before the switch, and after it


def checked(verb: str, folder: pathlib.Path, random_kills: int, steps: Sequence[int]) -> None:
    case = Case(verb, folder)
    try:
        check_kills(case, random_kills, steps, folder)
    finally:
        case.close()


@pytest.mark.parametrize("verb", ["import", "compare"])
def test_a_killed_verb_leaves_old_or_new(verb, tmp_path):
    checked(verb, tmp_path, 1, [0, 1, 4])


def test_a_killed_scoring_has_no_manifest(tmp_path):
    checked("score", tmp_path, 0, [0, 1, 4])


@pytest.mark.prove
@pytest.mark.parametrize("verb", ["import", "compare", "drift", "probe", "fit", "report", "export", "plan"])
def test_twenty_kills_leave_old_or_new(verb, tmp_path):
    checked(verb, tmp_path, 12, range(10, 18) if verb == "export" else range(8))  # it first links twelve files


@pytest.mark.prove
def test_twenty_kills_of_a_scoring(tmp_path):
    """Its last steps are those of the manifest: two for each partition that changed, and two more."""
    checked("score", tmp_path, 8, range(12))
