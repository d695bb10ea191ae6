"""What `check` says of a question is what the report does: logs of designs crossed at random, and the data that we have."""

import pathlib

import pytest
from random_logs import fitted

ROOT = pathlib.Path(__file__).parents[2]
SHARED = ROOT.parent / "shared"
TABLES = {  # table of public data -> what its columns are
    "aider_cells": {"factors": ["edit_format"]},
}


def compared(log, answers) -> list[str]:
    """Questions that `check` and the report tell differently, and that do not depend on the values."""
    return [
        f"{a.question}: check {a.identified} ({a.reason}), report {answers[a.question].identified} "
        f"({'; '.join(answers[a.question].reasons)})"
        for a in log.answers()
        if a.identified != answers[a.question].identified and not (a.identified and a.depends)
    ]


def disagreements(seed: int) -> list[str]:
    """The same of a random log; nothing where it has nothing to fit."""
    found = fitted(seed)
    if found is None:
        return []
    log, _, answers = found
    return [f"seed {seed}: {line}" for line in compared(log, answers)]


@pytest.mark.parametrize("seeds", [range(k, k + 8) for k in range(100, 140, 8)], ids=lambda s: f"{s[0]}-{s[-1]}")
def test_check_says_what_the_report_does(seeds):
    assert [line for seed in seeds for line in disagreements(seed)] == []


@pytest.mark.prove
def test_check_says_what_the_report_does_over_four_hundred_logs():
    assert [line for seed in range(1000, 1420) for line in disagreements(seed)] == []
