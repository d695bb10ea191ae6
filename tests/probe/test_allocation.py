"""Is each system asked what was allotted, new items in one order for all, and never what was asked before?"""

import json

import polars as pl
import pytest

from divergence.errors import InputError
from divergence.probe import dry_run, run
from divergence.probe.allocation import in_order
from divergence.probe.reading import read_plan

PROMPTS = {f"say word{n}": f"word{n}" for n in range(12)}
ALL = '[[allocation]]\nmodel = "*"\ncontext = "*"\nitems = 4\n'


def asked_of(path) -> dict:
    """Items by context, with the number of trials."""
    log = pl.read_parquet(path)
    return {c: rows["item"].value_counts().sort("item") for (c,), rows in log.group_by("context")}


def test_cells_take_from_one_order(write_plan, tmp_path):
    plan = write_plan(PROMPTS, context=ALL + '[[allocation]]\nmodel = "parrot"\ncontext = "live"\nitems = 7\n')
    found = asked_of(run(plan, tmp_path / "out", quiet=True).path)
    bench, live = (set(found[c]["item"]) for c in ("bench", "live"))
    assert len(bench) == 4 and len(live) == 7 and bench < live
    assert run(plan, tmp_path / "out", quiet=True, seed=9).rows == 11  # another seed asks nothing else


def test_what_was_asked_is_not_asked_again_unless_it_is_said(write_plan, tmp_path):
    before = [{"model": "parrot", "context": "live", "item": f"i{n:03d}"} for n in range(6)]
    (tmp_path / "asked.jsonl").write_text("".join(json.dumps(row) + "\n" for row in before))
    allotted = '[[allocation]]\nmodel = "parrot"\ncontext = "live"\nitems = 3\nagain = 2\ntrials = 2\n'
    plan = write_plan(PROMPTS, head='asked = "asked.jsonl"', context=allotted)
    found = asked_of(run(plan, tmp_path / "out", quiet=True).path)
    assert found.keys() == {"live"} and found["live"]["count"].to_list() == [2] * 5
    old = {row["item"] for row in before} & set(found["live"]["item"])
    assert len(old) == 2
    assert dry_run(plan).executions == 10


def test_tasks_keep_their_shares_in_every_stretch():
    items = [{"item": f"a{n}", "task": "a"} for n in range(60)] + [{"item": f"b{n}", "task": "b"} for n in range(20)]
    order = in_order(items, "name")
    for end in range(8, 80, 8):
        share = sum(i["task"] == "b" for i in order[:end]) / end
        assert abs(share - 0.25) <= 1 / end + 1e-9
    assert sorted(i["item"] for i in order) == sorted(i["item"] for i in items)


def test_an_allocation_changes_the_plans_hash(write_plan):
    plain, allotted = read_plan(write_plan(PROMPTS)).hash([]), read_plan(write_plan(PROMPTS, context=ALL)).hash([])
    assert plain != allotted


@pytest.mark.parametrize(
    ("allotted", "sentence"),
    [
        ('model = "nobody"\ncontext = "*"\nitems = 1', "names the model 'nobody'"),
        ('model = "*"\ncontext = "nowhere"\nitems = 1', "names the context 'nowhere'"),
        ('model = "*"\ncontext = "*"', "needs one item or more"),
        ('model = "*"\ncontext = "*"\nitems = -1', "needs one item or more"),
        ('model = "*"\ncontext = "*"\nitems = 1\ntrials = 0', "trials from 1 on"),
        ('model = "*"\ncontext = "*"\nitems = 99', "add items to it"),
        ('model = "*"\ncontext = "*"\nagain = 1', "asked before"),
        ('model = "*"\ncontext = "*"\nitem = 1', "nearest known one is 'items'"),
    ],
)
def test_what_cannot_be_meant_is_a_sentence(write_plan, tmp_path, stub, allotted, sentence):
    plan = write_plan(PROMPTS, context=f"[[allocation]]\n{allotted}\n")
    with pytest.raises(InputError, match=sentence):
        run(plan, tmp_path / "out", quiet=True)
    assert not stub.requests


def test_a_file_of_what_was_asked_that_is_none(write_plan, tmp_path):
    plan = write_plan(PROMPTS, head='asked = "asked.jsonl"', context=ALL)
    with pytest.raises(InputError, match="cannot be read"):
        dry_run(plan)
    (tmp_path / "asked.jsonl").write_text('{"model": "parrot"}\n')
    with pytest.raises(InputError, match="line 1 does not name"):
        dry_run(plan)
    (tmp_path / "asked.jsonl").write_text("no json\n")
    with pytest.raises(InputError, match="not JSON lines"):
        dry_run(plan)
