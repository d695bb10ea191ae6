"""Sums over all pairs without a list of them, beside loops over every pair."""

import itertools

import numpy as np
import polars as pl
import pytest

import divergence as dv
from divergence.estimands import pairs as listing
from divergence.estimands.pairs import listed, sampled, signs_agree
from divergence.estimands.rank_agreement import kendall, place
from divergence.estimands.reversal import over_pairs


@pytest.mark.parametrize("models", (2, 3, 7, 33, listing.LISTED_MAX, listing.LISTED_MAX + 1, 80))
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
        counted = ["all_pairs", "pairs", "all_pairs_new_context"]
        rows = some.to_frame().filter(~pl.col("statistic").is_in(counted).fill_null(False))
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


def test_a_single_context_reverses_what_its_pairs_say():
    """Each context by itself, all pairs one by one, beside the mean by the law; equal contexts are one."""
    rng = np.random.default_rng(2)
    bench, law = rng.normal(0.6, 0.1, (5, 9)), np.array([0.2, 0.5, 0.3])
    within = 0.8 * bench[:, :, None] + rng.normal(0, 0.08, (5, 9, 3))
    gaps = np.array([0.0, 10.0])
    expected = np.zeros(5)
    for c, weight in enumerate(law):
        for i, j in itertools.combinations(range(9), 2):
            turned = (bench[:, i] > bench[:, j]) != (within[:, i, c] > within[:, j, c])
            expected += weight * turned / 36
    share, many = over_pairs(bench, within, gaps, 0, law)
    np.testing.assert_allclose(share[:, 0], expected, atol=4 * 0.5 / np.sqrt(50_000 / 3))
    assert many.sum() == pytest.approx(1.0)
    alike = np.repeat(within[:, :, :1], 3, 2)
    seen = over_pairs(bench, alike, gaps, 0, law)[0]
    np.testing.assert_allclose(seen, over_pairs(bench, within[:, :, :1], gaps, 0)[0], atol=4 * 0.5 / np.sqrt(50_000 / 3))
