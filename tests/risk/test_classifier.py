"""The scikit-learn face: its checks, calibration of a classifier that is wrong, groups kept whole."""

import numpy as np
import pytest
from sklearn.naive_bayes import GaussianNB
from sklearn.utils.estimator_checks import parametrize_with_checks

from divergence.risk.classifier import RiskClassifier
from divergence.risk.reliability import reliability


def _rows(seed, n=4000):
    """Twelve features that say the same thing: naive Bayes counts it twelve times and is far too sure."""
    random = np.random.default_rng(seed)
    signal = random.standard_normal(n)
    x = signal[:, None] + 0.5 * random.standard_normal((n, 12))
    return x, (random.random(n) < 1 / (1 + np.exp(-signal))).astype(int)


@parametrize_with_checks([RiskClassifier(random_state=0)])
def test_scikit_learn_checks(estimator, check):
    """All of them; none is expected to fail."""
    check(estimator)


def test_an_overconfident_classifier_is_made_right():
    x, y = _rows(1)
    fitted = RiskClassifier(GaussianNB(), random_state=0).fit(x[:3000], y[:3000])
    raw = reliability(fitted.estimator_.predict_proba(x[3000:])[:, 1], y[3000:])
    calibrated = reliability(fitted.predict_proba(x[3000:])[:, 1], y[3000:])
    assert fitted.calibrator_.name != "none"
    assert raw["ece"] > 0.1 > 0.06 > calibrated["ece"] and calibrated["brier"] < raw["brier"]
    interval = fitted.predict_interval(x[3000:])
    assert (interval[:, 0] <= interval[:, 1]).all() and np.diff(interval).mean() < 0.15


def test_groups_stay_whole_and_their_number_must_fit():
    x, y = _rows(2, 600)
    groups = np.repeat(np.arange(60), 10)
    model = RiskClassifier(random_state=3)
    held = model._held(600, y, groups)
    assert 0 < held.sum() < 600 and all(len(set(held[groups == g])) == 1 for g in range(60))
    with pytest.raises(ValueError, match="groups has 599 entries for 600 rows"):
        model.fit(x, y, groups[:-1])


def test_two_classes_are_needed():
    x, y = _rows(4, 100)
    with pytest.raises(ValueError, match="only one class is present"):
        RiskClassifier().fit(x, np.zeros(100))
    with pytest.raises(ValueError, match="multiclass, with 3 classes"):
        RiskClassifier().fit(x, np.arange(100) % 3)
    assert RiskClassifier(random_state=0).fit(x, y).calibrator_.name == "none"  # 30 rows calibrate nothing


def test_without_rows_to_calibrate_with_the_interval_is_everything():
    random = np.random.default_rng(0)
    x = random.standard_normal((60, 2))
    y = (x[:, 0] + random.standard_normal(60) > 0).astype(int)
    np.testing.assert_array_equal(RiskClassifier(random_state=0).fit(x, y).predict_interval(x), np.tile([0.0, 1.0], (60, 1)))
    with pytest.raises(ValueError, match=r"calibration is a share from 0 to below 1, not 1\.5"):
        RiskClassifier(calibration=1.5).fit(x, y)
