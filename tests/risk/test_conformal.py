"""Prediction sets: thresholds by hand and by MAPIE, coverage in every context."""

import numpy as np

from divergence.risk.conformal import coverage, prediction_sets, threshold, thresholds


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
