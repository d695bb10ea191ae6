"""Sums over all pairs without a list of them, beside loops over every pair."""

import itertools

import numpy as np
import polars as pl
import pytest

import divergence as dv
from divergence.estimands import pairs as listing
from divergence.estimands.pairs import listed, sampled, signs_agree
from divergence.estimands.rank_agreement import kendall, place


@pytest.mark.parametrize("models", (2, 3, 7, 20, 33))
def test_signs_agree_is_the_sum_over_pairs_ties_included(models):
    rng = np.random.default_rng(models)
    bench, deployed = (np.round(rng.standard_normal((12, models)), 1) for _ in range(2))
    every = [
        sum(np.sign(b[i] - b[j]) * np.sign(d[i] - d[j]) for i, j in itertools.combinations(range(models), 2))
        for b, d in zip(bench, deployed, strict=True)
    ]
    np.testing.assert_array_equal(signs_agree(bench, deployed), every)
    np.testing.assert_allclose(kendall(bench, deployed), np.array(every) / (models * (models - 1) / 2))
    slow = [[0.5 + (row > value).sum() + (row == value).sum() / 2 for value in row] for row in bench]
    np.testing.assert_array_equal(place(bench), slow)


def test_pairs_are_listed_up_to_a_number_of_models_then_of_the_best():
    bench = np.arange(listing.LISTED_MAX + 10, dtype=float)[None] * np.ones((3, 1))
    few = listed(bench[:, :5])
    assert (few.note, few.total) == ("", 10)
    assert list(zip(few.first, few.second, strict=True)) == list(itertools.combinations(range(5), 2))
    many = listed(bench)
    assert set(many.first) | set(many.second) == set(range(10, listing.LISTED_MAX + 10))
    assert "2,016 of 2,701 pairs, of 64 models by their mean on the bench" in many.note
    assert set(listed(bench, smaller=True).first) <= set(range(listing.LISTED_MAX))
    first, second = sampled(7, 0)
    assert (first != second).all() and set(np.r_[first, second]) == set(range(7))


@pytest.fixture(scope="module")
def both():
    """A table of rates of ten models, all pairs listed and as if they were too many."""
    rng = np.random.default_rng(5)
    level = np.linspace(0.5, 0.9, 10)
    rows = [
        {
            "regime": regime,
            "model": f"m{m}",
            "item": "top1",
            "context": c,
            "score": np.clip(level[m] + rng.normal(0, s), 0, 1),
            "score_n": 900,
        }
        for m in range(10)
        for regime, c, s in (("evaluation", "bench", 0), ("deployment", "a", 0.03), ("deployment", "b", 0.05))
    ]
    posterior = dv.fit(dv.collapse(dv.read(pl.DataFrame(rows))), seed=0)
    whole = {q.__name__: q(posterior) for q in (dv.reversal, dv.gap_for_confidence, dv.leverage)}
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(listing, "LISTED_MAX", 4)
        some = {q.__name__: q(posterior) for q in (dv.reversal, dv.gap_for_confidence, dv.leverage)}
    return whole, some


def test_listed_pairs_have_the_numbers_that_they_have_among_all(both):
    keys = ["statistic", "model", "model_b", "level"]
    for question, some in both[1].items():
        rows = some.to_frame().filter(~pl.col("statistic").is_in(["all_pairs", "pairs"]).fill_null(False))
        same = rows.join(both[0][question].to_frame(), on=keys, nulls_equal=True, suffix="_all")
        assert same.height == rows.height and rows["model_b"].drop_nulls().n_unique() <= 3
        np.testing.assert_allclose(same["median"], same["median_all"], rtol=1e-12)


def test_all_pairs_is_the_mean_over_every_pair(both):
    whole, some = both[0]["reversal"], both[1]["reversal"]
    every = whole.where(statistic=None)
    share = some.where(statistic="all_pairs", level=None)
    np.testing.assert_allclose(share.draws[:, 0], every.draws.mean(1), atol=1e-12)
    by_gap = some.where(statistic="all_pairs").to_frame().filter(pl.col("level").is_not_null())
    many = some.where(statistic="pairs").to_frame()
    assert by_gap["level"].to_list() == many["level"].to_list()
    assert many["mean"].sum() == pytest.approx(1.0)
    assert float(many["mean"] @ by_gap["mean"]) == pytest.approx(every.draws.mean(), abs=0.01)  # 50,000 of them, sampled
