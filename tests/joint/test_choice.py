"""Which method a log gets: by what its arms share, and the right one where it matters."""

import numpy as np
import pytest

import divergence as dv
from benchmarks import choice as worlds
from divergence.joint.choice import choose_method
from divergence.simulate import simulate, world


@pytest.fixture(scope="module")
def log():
    return simulate(world("baseline", n_models=4, n_contexts=4, n_items=60), 3)[0]


@pytest.mark.parametrize(("share", "method"), [(1.0, "arm-level"), (0.75, "item-level"), (0.3, "item-level")])
def test_the_share_of_common_items_decides(log, share, method):
    cells = dv.collapse(dv.read(worlds.thinned(log, share, False, 1)))
    chosen, why = choose_method(cells)
    assert chosen.measurement == method and why.startswith(method)


def test_a_few_rows_that_are_missing_change_nothing(log):
    few = log.sample(fraction=0.99, seed=2)  # two trials an item: hardly any item is lost to an arm
    assert choose_method(dv.collapse(dv.read(few)))[0].measurement == "arm-level"


def test_the_rule_takes_the_method_that_holds_where_contexts_choose_their_items():
    """Context effects of 36 pairs in each of two worlds: intervals hold nominally .9. At arm level they held a fifth, before
    what the bench says of items that a context did not try was added to its level."""
    found = [worlds.one_world("half, chosen by difficulty", seed) for seed in (1, 2)]
    assert {record["chosen"] for record in found} == {"item"}
    held = {name: np.mean([record[name]["context_effect"][0] for record in found]) for name in worlds.METHODS}
    assert min(held.values()) > 0.7
