"""Levels at the end of the scale: n of n right says what n items can say, however many contexts repeat it."""

import numpy as np
import polars as pl
import pytest
from scipy.stats import beta

import divergence as dv


def fitted(rates, items, seed=0, **more):
    """`rates` maps (regime, model, context) to a rate, or to a function of the item's number."""
    random = np.random.default_rng(seed)
    rows = [
        {
            "regime": r,
            "model": m,
            "context": c,
            "item": f"i{i}",
            "score": float(p(i) if callable(p) else random.random() < p),
        }
        | more
        for (r, m, c), p in rates.items()
        for i in range(items)
    ]
    return dv.fit(dv.collapse(dv.read(pl.DataFrame(rows))), seed=0)


def limits(estimate, **where):
    return estimate.where(**where).to_frame().select("lower", "median", "upper").row(0)


@pytest.mark.parametrize("items", [20, 60, 200])
@pytest.mark.parametrize("right", [0.0, 1.0])
def test_none_of_n_is_jeffreys(items, right):
    """Against the exact posterior under Jeffreys' prior: the near limit to a fifth of its distance from the end."""
    low, _, high = limits(dv.bench_level(fitted({("evaluation", "m", "a"): right}, items)))
    near = low if right else 1 - high
    exact = beta(items + 0.5, 0.5).ppf(0.05)
    assert abs(near - exact) < 0.2 * (1 - exact)


@pytest.mark.parametrize("items", [40, 60, 150])
def test_perfect_contexts_neither_add_items_nor_lose_them(items):
    rates = {(r, m, c): 1.0 for m in "ABC" for r, c in (("evaluation", "b"), ("deployment", "x"), ("deployment", "y"))}
    posterior = fitted(rates, items)
    exact = beta(items + 0.5, 0.5).ppf(0.05)
    for question in (dv.bench_level, dv.deployed_level):
        low = limits(question(posterior), model="A")[0]
        assert 1 - 2.2 * (1 - exact) < low < 1 - 0.6 * (1 - exact)
    effect = limits(dv.context_effect(posterior), model="A", context="x")
    assert effect[0] < 0 < effect[2] and effect[2] - effect[0] < 4 * (1 - exact)


@pytest.mark.parametrize(("items", "broken"), [(150, 0.13), (80, 0.4), (300, 0.02)])
def test_one_broken_provider_among_perfect_ones(items, broken):
    random = np.random.default_rng(0)
    rows = [
        {
            "regime": "deployment",
            "model": "m",
            "item": f"i{i}",
            "provider": p,
            "score": float(p != "c" or random.random() < broken),
        }
        for p in "abcd"
        for i in range(items)
    ]
    posterior = dv.fit(dv.collapse(dv.read(pl.DataFrame(rows))), seed=0)
    level = posterior[None].arms.level[2]
    pairs = dv.serving_effect(posterior)
    found = limits(pairs, level="c")
    assert found[2] < -0.5 * (1 - level) and abs(found[1] + 1 - level) < 4 * np.sqrt(level * (1 - level) / items) + 0.02
    same = limits(pairs, level="b")
    assert same[0] < 0 < same[2] and same[2] - same[0] < 8 / items + 0.02


def test_levels_inside_the_scale_are_not_touched():
    from divergence.joint.link import _inside, _told_apart

    posterior = fitted({("evaluation", "m", "a"): lambda i: i % 2, ("deployment", "m", "x"): lambda i: i % 3 == 0}, 90)
    arms = posterior[None].arms
    np.testing.assert_array_equal(_inside(arms), arms.level)
    np.testing.assert_array_equal(_told_apart(arms, arms.level), arms.level)
