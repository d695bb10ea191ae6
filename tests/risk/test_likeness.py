"""Do contexts that share factors say more of one another? Chosen where they do, and left alone where they do not."""

import numpy as np
import pytest
from scipy.special import ndtr

from divergence.risk.context_definitions import Served
from divergence.risk.item_factors import ItemCells, fit_factors
from divergence.risk.likeness import choose_likeness


def world(seed, by_factor):
    """Eight contexts of two engines and four caches; items move with the engine, or with nothing."""
    random = np.random.default_rng(seed)
    labels = tuple(f"c{k}" for k in range(8))
    served = Served(("engine", "cache"), {name: ((str(k // 4), str(k % 4)),) for k, name in enumerate(labels)})
    items, models = 80, 2
    hard = random.standard_normal(items)
    engine = by_factor * random.standard_normal((items, 2))
    arms = np.stack([np.repeat(np.arange(models), 8), np.ones(16, int), np.tile(np.arange(8), models)])
    item, arm = (v.ravel() for v in np.indices((items, 16)))
    f = hard[item] + engine[item, arms[2, arm] // 4]
    y = (random.random(len(f)) < ndtr(f)).astype(float)
    cells = ItemCells(item, arm, np.ones(len(f)), y, np.zeros(len(f)))
    return cells, items, arms, fit_factors(cells, items, 16, 3), served, labels


def test_contexts_that_share_an_engine_weigh_more():
    likeness, words = choose_likeness(*world(0, 1.5))
    assert likeness > 0 and "log loss" in words


def test_factors_that_say_nothing_are_left_alone():
    chosen = [choose_likeness(*world(seed, 0.0))[0] for seed in range(4)]
    assert sorted(chosen)[2] <= 0.5


def test_few_contexts_or_one_factor_are_not_asked():
    cells, items, arms, factors, served, labels = world(1, 1.5)
    one = Served(("engine",), {name: ((levels[0][0],),) for name, levels in served.together.items()})
    assert choose_likeness(cells, items, arms, factors, one, labels) == (0.0, "")
    few = Served(served.factors, {name: served.together[name] for name in labels[:3]})
    assert choose_likeness(cells, items, arms, factors, few, labels)[0] == 0.0
    assert choose_likeness(cells, items, arms, factors, served, labels)[0] == pytest.approx(
        choose_likeness(cells, items, arms, factors, served, labels)[0]
    )
