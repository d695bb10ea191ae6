"""The screen of a terminal: the verdict first, the groups that lost most before the others, and no more than a screen."""

import dataclasses

import numpy as np
import polars as pl
import pytest

import divergence as dv
from divergence.comparison.screen import GROUPS, NOTES, WIDTH, screen

ITEMS, TASKS = 60, 11


@pytest.fixture(scope="module")
def found():
    """Eleven tasks of which task k loses k items of 60, and nothing else moves."""

    def rows(engine, lost):
        task, item = (code.ravel() for code in np.indices((TASKS, ITEMS)))
        names = {"task": [f"t{k:02}" for k in task], "item": [f"t{k:02}-{i}" for k, i in zip(task, item, strict=True)]}
        return pl.DataFrame(names | {"score": (item >= 10 + task * lost).astype(float)}).with_columns(
            model=pl.lit("m"), context=pl.lit(engine), engine=pl.lit(engine)
        )

    return dv.compare(rows("old", 0), rows("new", 1), margin=0.02)


def test_the_verdict_stands_first_and_a_screen_holds_it_all(found):
    lines = screen(found).splitlines()
    assert lines[0].startswith(f"{found.verdict}: ") and len(lines) <= 24
    assert lines[1].strip().startswith("BEFORE") and lines[2].strip().startswith("AFTER")
    assert max(map(len, lines[3:])) <= WIDTH + 20  # a sentence is folded; a group's line is as long as its name


def test_groups_that_lost_most_come_first(found):
    named = [line.split()[0] for line in screen(found).splitlines() if line.strip().startswith("t") and " items" in line]
    assert named == [f"t{k:02}" for k in range(TASKS - 1, TASKS - 1 - GROUPS, -1)]
    assert f"... and {TASKS - GROUPS} groups that fell less" in screen(found)
    lost = [group.difference.estimate for group in found.groups]
    assert np.ptp(lost) == pytest.approx((TASKS - 1) / ITEMS)


def test_notes_beyond_a_few_are_counted(found):
    many = dataclasses.replace(found, notes=tuple(f"note {k}" for k in range(NOTES + 3)))
    told = screen(many)
    assert f"note {NOTES - 1}" in told and f"note {NOTES}" not in told and "3 more notes in compare.json" in told
