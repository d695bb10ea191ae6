"""Damaged logs: whatever bytes or values change, an import gives tables, rejected rows or one InputError.

Two kinds of damage to genuine files: bytes replaced, cut out or added anywhere, and values anywhere in the JSON
replaced by values of other kinds. The examples are drawn the same way in every run.
"""

import json

import pytest
from damage import EDIT, ODD, STEPS, changed, replaced, survives
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("zipfile_zstd")

FEW = settings(max_examples=40, deadline=None, derandomize=True)


@pytest.mark.parametrize(
    "name",
    [
        "repo_log_streaming.eval",
        "mock_arith_inspect-0.3.285.eval",
        "repo_log_tool_call_error.json",
        "repo_2025-05-12T20-28-13-04-00_popularity.json",
    ],
)
def test_bytes_of_inspect_logs(inspect_logs, name):
    content = (inspect_logs / name).read_bytes()

    @FEW
    @given(st.lists(EDIT, min_size=1, max_size=3))
    def check(edits):
        survives({name: changed(content, edits)}, name)

    check()


def test_values_of_inspect_logs(inspect_logs):
    log = json.loads((inspect_logs / "repo_2025-05-12T20-28-13-04-00_popularity.json").read_bytes())

    @settings(FEW, max_examples=120)
    @given(st.lists(st.tuples(STEPS, st.sampled_from(ODD)), min_size=1, max_size=3))
    def check(changes):
        value = log
        for steps, new in changes:
            value = replaced(value, steps, new)
        survives({"a.json": json.dumps(value).encode()}, "a.json")

    check()


@pytest.mark.parametrize("task", ["arith_gen", "arith_mc"])
def test_bytes_and_values_of_lm_eval_logs(lm_eval_logs, task):
    (samples,) = lm_eval_logs.glob(f"samples_{task}_*")
    (results,) = lm_eval_logs.glob("results_*")
    lines = [json.loads(line) for line in samples.read_bytes().splitlines()]
    said = json.loads(results.read_bytes())

    @settings(FEW, max_examples=25)
    @given(st.lists(EDIT, min_size=1, max_size=3), st.lists(EDIT, max_size=1))
    def check_bytes(edits, more):
        files = {samples.name: changed(samples.read_bytes(), edits), results.name: changed(results.read_bytes(), more)}
        survives(files, samples.name)

    @settings(FEW, max_examples=40)
    @given(st.lists(st.tuples(STEPS, st.sampled_from(ODD)), min_size=1, max_size=4), STEPS, st.sampled_from(ODD))
    def check_values(changes, steps, new):
        value = lines
        for below, odd in changes:
            value = replaced(value, below, odd)
        content = "\n".join(json.dumps(line) for line in value) if isinstance(value, list) else json.dumps(value)
        damaged = json.dumps(replaced(said, steps, new)).encode()
        survives({samples.name: content.encode(), results.name: damaged}, samples.name)

    check_bytes()
    check_values()
