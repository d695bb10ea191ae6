"""Pairs of contexts of logs in which most share nothing: which there are, what they say, and what is folded."""

import itertools
import sys

import numpy as np
import polars as pl
import pytest

import divergence as dv
from divergence.estimands import flip_pairs
from divergence.estimands.rows import context_codes
from divergence.simulate import simulate, world

flips = sys.modules["divergence.estimands.excess_flips"]  # the function hides the module of its name


def _sparse(models=4, contexts=9, items=12, trials=2):
    """Each model on the bench and in two contexts of its own choice; items of every other context are others."""
    rng, rows = np.random.default_rng(0), []
    for m in range(models):
        for c in (0, *(1 + rng.choice(contexts - 1, 2, replace=False))):
            for i, t in itertools.product(range(items), range(trials)):
                name = f"i{i + (items // 2 if c % 2 else 0)}"
                rows.append(("deployment" if c else "evaluation", f"m{m}", f"c{c}", name, t, int(rng.random() < 0.6)))
    return pl.DataFrame(rows, schema=["regime", "model", "context", "item", "trial", "score"], orient="row")


@pytest.fixture(scope="module")
def sparse():
    return _sparse()


@pytest.fixture(scope="module")
def fit(sparse):
    return dv.fit(dv.collapse(dv.read(sparse)), seed=0)[None]


def _name(fit, place):
    return fit.cells.levels["context"][context_codes(fit)[place, 1]]


def test_pairs_are_those_that_share_an_item(sparse, fit):
    for m, model in enumerate(fit.cells.levels["model"]):
        of = {c: set(part["item"]) for (c,), part in sparse.filter(model=model).group_by("context")}
        expected = {frozenset(p) for p in itertools.combinations(of, 2) if of[p[0]] & of[p[1]]}
        found = [frozenset(_name(fit, k) for k in pair) for part in flip_pairs.outcome_pairs(fit, m) for pair in part.pairs]
        assert set(found) == expected and len(found) == len(expected) == flip_pairs.count_pairs(fit, m)
        bench = [frozenset(_name(fit, k) for k in p) for s in flip_pairs.outcome_pairs(fit, m, bench=True) for p in s.pairs]
        assert set(bench) == {p for p in expected if "c0" in p}


def test_a_pair_says_what_its_rows_say(sparse, fit):
    model = fit.cells.levels["model"][0]
    for part in flip_pairs.outcome_pairs(fit, 0):
        for (i, j), excess, change in zip(part.pairs, part.excess, part.difference, strict=True):
            for item, one, moved in zip(part.items[1], excess, change, strict=True):
                name = fit.cells.levels["item"][item]
                y = [sparse.filter(model=model, context=_name(fit, k), item=name)["score"].to_list() for k in (i, j)]
                if not all(y):
                    assert np.isnan(one) and np.isnan(moved)
                    continue
                across = np.mean([a != b for a in y[0] for b in y[1]])
                within = [np.mean([a != b for a, b in itertools.combinations(side, 2)]) for side in y]
                assert one == pytest.approx(across - np.mean(within)) and moved == pytest.approx(
                    np.mean(y[0]) - np.mean(y[1])
                )


def test_blocks_of_pairs_are_the_pairs(fit, monkeypatch):
    whole = list(flip_pairs.outcome_pairs(fit, 0))
    monkeypatch.setattr(flip_pairs, "BLOCK", 1)
    pieces = list(flip_pairs.outcome_pairs(fit, 0))
    assert len(pieces) > len(whole) == 1
    for name in ("pairs", "excess", "floor", "disagreement", "difference"):
        together = np.concatenate([getattr(piece, name) for piece in pieces])
        np.testing.assert_array_equal(together, getattr(whole[0], name))


def test_labels_have_the_same_pairs(sparse):
    fit = dv.fit(dv.collapse(dv.read(sparse.with_columns(answer=pl.col("score").cast(pl.String)))), seed=0)[None]
    for m in range(fit.design.n_models):
        labels = list(flip_pairs.label_pairs(fit, fit.cells.answers.of_model(m)))
        for one, other in zip(flip_pairs.outcome_pairs(fit, m), labels, strict=True):
            np.testing.assert_array_equal(one.pairs, other.pairs)
            np.testing.assert_allclose(one.excess, other.excess, atol=1e-12)


def test_of_many_pairs_without_repeats_bounds_are_those_against_the_bench(monkeypatch):
    log, _ = simulate(world("baseline", n_models=2, n_contexts=3, n_items=30, n_trials=1), 5)
    posterior = dv.fit(dv.collapse(dv.read(log)), seed=0)
    every = dv.excess_flips(posterior)
    monkeypatch.setattr(flips, "BOUNDED_MAX", 2)
    few = dv.excess_flips(posterior)
    assert not few.identified
    told = few.to_frame().filter(pl.col("context").is_not_null())
    expected = every.to_frame().filter(context="bench")
    assert told.height == expected.height == 2 * 3 * 3
    assert told.drop("reason").equals(expected.drop("reason"))
    rest = few.to_frame().filter(pl.col("context").is_null())
    assert rest["model"].to_list() == ["model-0", "model-1"]
    assert all("3 pairs of contexts" in reason for reason in rest["reason"])
