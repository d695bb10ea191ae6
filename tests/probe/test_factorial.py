"""Does a fraction keep the effects that it must keep, and is every confounding said before anything is sent?"""

import itertools

import numpy as np
import pytest

from divergence.errors import InputError
from divergence.probe.factorial import Factorial, aliases, cells

TWO = {name: {"low": {}, "high": {}} for name in ("attention", "sampler", "scaffold")}
BASE = {"attention": "low", "sampler": "low", "scaffold": "low"}


def test_a_full_factorial_has_every_cell_but_the_base_and_no_alias():
    chosen = cells(Factorial("bench", TWO), [BASE])
    assert len(chosen) == 7 and BASE not in chosen
    assert aliases([BASE, *chosen], [("attention", "sampler")]) == []


def test_forbidden_combinations_are_left_out():
    rule = {"attention": "low", "sampler": "high"}
    chosen = cells(Factorial("bench", TWO, forbid=(rule,)), [BASE])
    assert len(chosen) == 5 and not any(rule.items() <= c.items() for c in chosen)


def test_a_half_fraction_mixes_each_effect_with_a_pair():
    half = [
        dict(zip(TWO, levels, strict=True))
        for levels in itertools.product(("low", "high"), repeat=3)
        if levels.count("high") % 2 == 0
    ]
    said = aliases(half)
    assert "the effect of attention is mixed with the interaction of sampler x scaffold" in said
    assert len(said) == 3


def test_two_factors_that_change_together_are_named():
    rows = [{"attention": a, "kv_cache_dtype": a, "sampler": s} for a in "xy" for s in "uv"]
    said = aliases(rows)
    assert said[:2] == [
        "the effect of attention cannot be told apart from that of kv_cache_dtype",
        "the effect of kv_cache_dtype cannot be told apart from that of attention",
    ]


def test_one_factor_at_a_time_cannot_estimate_a_pair():
    rows = [BASE, BASE | {"attention": "high"}, BASE | {"sampler": "high"}, BASE | {"scaffold": "high"}]
    assert aliases(rows, [("attention", "sampler")]) == [
        "the interaction of attention x sampler cannot be estimated apart from the main effects"
    ]


def test_the_exchange_finds_the_best_subset():
    """Against all 462 subsets of six of a 3 x 2 x 2 factorial's eleven cells, beside the base."""
    factors = {"attention": {"a": {}, "b": {}, "c": {}}, "sampler": {"a": {}, "b": {}}, "scaffold": {"a": {}, "b": {}}}
    base = dict.fromkeys(factors, "a")
    fraction = Factorial("bench", factors, "fraction", 6)

    def determinant(rows):
        columns = [np.ones(len(rows))]
        for name, levels in factors.items():
            *names, last = levels
            columns += [np.array([(r[name] == lv) - float(r[name] == last) for r in rows]) for lv in names]
        x = np.column_stack(columns)
        return np.linalg.det(x.T @ x)

    every = cells(Factorial("bench", factors), [base])
    best = max(determinant([base, *s]) for s in itertools.combinations(every, 6))
    assert determinant([base, *cells(fraction, [base])]) == pytest.approx(best)
    assert cells(fraction, [base]) == cells(fraction, [base])


def test_a_fraction_that_is_too_small_says_what_it_needs():
    with pytest.raises(InputError, match="2 runs cannot be drawn: its effects need at least 3 beside"):
        cells(Factorial("bench", TWO, "fraction", 2), [BASE])
