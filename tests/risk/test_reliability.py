"""Calibration measures: exact identities, nulls that hold their level, sets that cover."""

import numpy as np
import pytest

from divergence.risk.conformal import coverage, prediction_sets, threshold, thresholds
from divergence.risk.reliability import clustering, design_effect, effect, equal_bins, murphy, reliability
from divergence.scoring.stale import E_MAX, P_MIN, RATE, _e_value, stale


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


def test_threshold_by_hand_and_by_mapie():
    assert threshold(np.arange(1, 20) / 20) == 0.9  # the 18th of 19
    assert threshold(np.arange(1, 9) / 10) == 1.0  # 9 rows exclude nothing at 90 %
    from mapie.classification import SplitConformalClassifier
    from sklearn.linear_model import LogisticRegression

    random = np.random.default_rng(3)
    x = random.standard_normal((600, 1))
    y = (random.random(600) < 1 / (1 + np.exp(-2 * x[:, 0]))).astype(int)
    base = LogisticRegression().fit(x[:200], y[:200])
    theirs = SplitConformalClassifier(base, confidence_level=0.9, prefit=True, conformity_score="lac")
    _, sets = theirs.conformalize(x[200:400], y[200:400]).predict_set(x[400:])
    risk = base.predict_proba(x)[:, 1]
    found = thresholds(risk[200:400], y[200:400].astype(float), np.full(200, "one"))
    np.testing.assert_array_equal(prediction_sets(risk[400:], np.full(200, "one"), found), sets[:, :, 0])


def test_sets_cover_in_every_context_under_shift_too():
    """Nominal .9 from 500 calibration rows a context: coverage of 4000 rows has a standard error of about .014 (from the
    quantile) + .005: four of them below nominal is the floor."""
    random = np.random.default_rng(4)
    context = random.choice(["a", "b"], 9000, p=[0.7, 0.3])
    x = random.random(9000)
    risk = np.clip(x, 0.02, 0.98)
    true = np.where(context == "a", risk, np.clip(risk + 0.1, 0, 1))  # context b is miscalibrated: its own threshold helps
    failure = (random.random(9000) < true).astype(float)
    found = thresholds(risk[:1500], failure[:1500], context[:1500])
    got = coverage(risk[1500:], failure[1500:], context[1500:], found)
    assert got["worst_coverage"] >= 0.9 - 4 * 0.015 and set(got["contexts"]) == {"a", "b"}
    near = risk[:4000] > 0.4  # traffic moves to the difficult half: weights of the density ratio
    weight = np.where(near, 1.0, 0.05)
    shifted = threshold(np.abs(failure - risk)[:4000], weight=weight)
    chosen = random.random(5000) < np.where(risk[4000:] > 0.4, 1.0, 0.05)
    held = np.abs(failure - risk)[4000:][chosen] <= shifted
    assert held.mean() >= 0.9 - 4 * 0.012


def test_the_e_value_is_one_on_average_when_nothing_moved():
    random = np.random.default_rng(5)
    e = np.array([_e_value(d, 0.01) for d in 0.1 * random.standard_normal(20_000)])
    assert e.mean() == pytest.approx(1, abs=4 * e.std() / np.sqrt(len(e)))
    assert (e >= 20).mean() <= 0.05
    assert _e_value(0.1, 0.01) == pytest.approx(2**-0.5 * np.exp(0.25))


def _night(random, shift=0.0, contexts=8, n=1500):
    """Counts of a night, its draws, and what the model says of itself: levels off by 3 points together, 4 apart."""
    risk, names = np.linspace(0.25, 0.75, 8), [f"c{k}" for k in range(contexts)]

    def off(size):
        return 0.02 * random.standard_normal((size, 1, 1)) + 0.04 * random.standard_normal((size, contexts, 1))

    plausible = risk + off(400)
    truth = np.clip(risk + off(1)[0] + shift, 0, 1)
    counts = {
        name: {"risk": risk.tolist(), "n": [n // 8] * 8, "failures": random.binomial(n // 8, truth[k]).tolist()}
        for k, name in enumerate(names)
    }
    about = {"sd": 0.045, "cell_sd": 0.07}
    traffic = {"clustering": {}, "contexts": dict.fromkeys(names, about), "unseen": about}
    return counts, traffic, lambda name, asked: plausible[:, names.index(name), np.searchsorted(risk, asked)]


def test_what_is_off_by_the_same_points_everywhere_is_found_in_the_sum():
    """200 nights: more than 17 false alarms at the rate of .05 happen once in 50 times; the level's own rate is half of it,
    less what it allows for one point. Nine points are 3.35 standard errors, 2.24 suffice: found in .88, and in fewer than
    80 of 100 once in 200 times."""
    random = np.random.default_rng(6)
    right = [stale(counts, traffic, 0.0, draws=draws) for counts, traffic, draws in (_night(random) for _ in range(200))]
    assert sum(found["stale"] for found in right) <= 17 and (E_MAX, P_MIN) == (2 / RATE, RATE / 2)
    nights = [_night(random, 0.09) for _ in range(100)]
    moved = [stale(counts, traffic, 0.0, draws=draws) for counts, traffic, draws in nights]
    assert sum(found["stale"] for found in moved) >= 80 > 20 > sum(found["e_value"] >= E_MAX for found in moved)
    assert "all known requests together fail" in next(found["reason"] for found in moved if found["e_value"] < E_MAX)


def test_the_level_by_hand():
    """Two contexts of one risk, 400 requests each, no draws: the sd is that of contexts off together."""
    counts = {name: {"risk": [0.5], "n": [400], "failures": [failed]} for name, failed in (("a", 220), ("b", 260))}
    traffic = {"clustering": {}, "contexts": {"a": {"sd": 0.02, "cell_sd": 0.1}}, "unseen": {"sd": 0.04, "cell_sd": 0.1}}
    level = stale(counts, traffic, 0.0)["level"]
    assert (level["risk"], level["failed"]) == (0.5, 0.6)
    assert level["se"] == pytest.approx(np.sqrt(0.25 / 800 + 0.03**2 + 0.01**2))
    from scipy.stats import norm

    assert level["p_value"] == pytest.approx(2 * norm.sf(0.1 / level["se"]))
    assert stale({"a": {"risk": [0.5], "n": [29], "failures": [29]}}, traffic, 0.0)["level"] is None


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
