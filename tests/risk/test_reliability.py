"""Calibration measures: exact identities, nulls that hold their level, sets that cover."""

import numpy as np
import pytest

from divergence.risk.reliability import clustering, design_effect, effect, equal_bins, murphy, reliability


def _perfect(seed, n=2000, clusters=None):
    """Risks that are right; with `clusters`, the rows of one are copies."""
    random = np.random.default_rng(seed)
    units = clusters or n
    risk = random.choice(random.beta(2, 3, 50), units)
    failure = (random.random(units) < risk).astype(float)
    return np.repeat(risk, n // units), np.repeat(failure, n // units), np.repeat(np.arange(units), n // units)


@pytest.mark.parametrize("bins", [1, 5, 50])
def test_murphy_parts_add_up_to_brier_exactly(bins):
    random = np.random.default_rng(bins)
    risk, failure, weight = random.random(400), random.integers(0, 4, 400) / 3, random.integers(1, 5, 400).astype(float)
    got = murphy(risk, failure, weight, equal_bins(risk, weight, bins))
    rows = zip(risk, failure, weight, strict=True)
    brier = sum(w * (f * (1 - r) ** 2 + (1 - f) * r**2) for r, f, w in rows) / weight.sum()
    assert got["brier"] == pytest.approx(brier, abs=1e-12)
    parts = got["reliability"] - got["resolution"] + got["uncertainty"] + got["within"]
    assert parts == pytest.approx(brier, abs=1e-12)


def test_murphy_of_distinct_risks_hides_nothing():
    risk, failure, _ = _perfect(0)
    place = np.unique(risk, return_inverse=True)[1]
    assert murphy(risk, failure, np.ones(2000), place)["within"] == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("clusters", [None, 200])
def test_a_perfect_score_is_inside_its_null(clusters):
    """60 perfect scores at the 95 % limit: fewer than 50 inside has probability .001. Copies count once."""
    inside = [
        reliability(r, f, cluster=c, seed=s)["inside_null"]
        for s in range(60)
        for r, f, c in [_perfect(s, clusters=clusters)]
    ]
    assert sum(inside) >= 50


def test_a_wrong_score_is_outside_and_copies_taken_for_rows_would_be():
    risk, failure, _ = _perfect(1)
    wrong = reliability(np.clip(risk * 0.6, 0, 1), failure)
    assert not wrong["inside_null"] and wrong["reliability"] > 0.01
    copies = [reliability(r, f, seed=s)["inside_null"] for s in range(20) for r, f, _ in [_perfect(s, clusters=100)]]
    assert sum(copies) <= 5  # without the clusters the null is that of 2000 rows


def test_null_of_a_large_log_is_the_figure_that_is_known():
    """1e5 rows, 15 bins: a perfect score has a mean error of .0044 and stays below .0056 in 95 % (engine.md, section 5)."""
    random = np.random.default_rng(0)
    risk = random.beta(2, 2, 100_000)
    got = reliability(risk, (random.random(100_000) < risk).astype(float))
    assert got["ece_null_mean"] == pytest.approx(0.0044, abs=0.001)
    assert got["ece_null_95"] == pytest.approx(0.0056, abs=0.001)


def test_design_effect_of_copies_is_their_number():
    risk, failure, cluster = _perfect(2, clusters=200)
    assert design_effect(risk, failure, np.ones(2000), cluster) == pytest.approx(10, rel=0.4)


def test_what_a_mean_is_worth_follows_its_own_clusters():
    """Copies within a context count once; other contexts' rows of the item do not make it worse; new sessions bring news."""
    random = np.random.default_rng(4)
    item = np.repeat(np.arange(200), 40)  # 10 contexts of 4 copies
    context = np.tile(np.repeat(np.arange(10), 4), 200)
    risk = np.full(8000, 0.5)
    failure = (random.random((200, 10)) < 0.5).astype(float).repeat(4, axis=1).ravel()
    unit = item * 10 + context
    found = {"context": clustering(risk, failure, np.ones(8000), unit, 2000), "sessions": False, "clusters": 200}
    assert found["context"]["size"] == 4 and found["context"]["correlation"] == pytest.approx(1, abs=0.15)
    assert effect(found, "context", 800) == pytest.approx(4, rel=0.15)
    assert effect(found, "context", 8000) == pytest.approx(40, rel=0.15)  # the same items, ten times as often
    assert effect(found | {"sessions": True}, "context", 8000) == pytest.approx(4, rel=0.15)
    assert effect({}, "context", 800) == 1
