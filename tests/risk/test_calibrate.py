"""Calibrators against the libraries that made their names, known maps recovered, and the choice among them."""

import numpy as np
import pytest

from divergence.numerics import expit, logit
from divergence.risk.calibrate import NAMES, Calibrator, choose_calibrator, effective_size, fit_calibrator


def _rows(seed, n=3000, a=1.0, b=0.0, risks=40):
    random = np.random.default_rng(seed)
    risk = random.choice(random.beta(2, 3, risks), n)
    return risk, (random.random(n) < expit(a * logit(risk) + b)).astype(float)


@pytest.mark.filterwarnings("ignore:All-NaN slice:RuntimeWarning")  # the library's own
def test_venn_abers_is_that_of_the_library():
    from venn_abers import VennAbers

    risk, failure = _rows(1, 400, risks=60)
    library = VennAbers()
    library.fit(np.stack([1 - risk, risk], 1), failure.astype(int))
    asked = np.unique(np.r_[risk, np.linspace(0.01, 0.99, 97)])
    _, both = library.predict_proba(np.stack([1 - asked, asked], 1))
    low, high = fit_calibrator("venn_abers", risk, failure).bounds(asked)
    np.testing.assert_allclose(low, both[:, 0], atol=1e-9)
    np.testing.assert_allclose(high, both[:, 1], atol=1e-9)


def test_isotonic_and_platt_are_those_of_scikit_learn():
    from sklearn.isotonic import IsotonicRegression
    from sklearn.linear_model import LogisticRegression

    risk, failure = _rows(2, a=0.6, b=0.4)
    asked = np.linspace(risk.min(), risk.max(), 50)
    theirs = IsotonicRegression(out_of_bounds="clip").fit(risk, failure).predict(asked)
    np.testing.assert_allclose(fit_calibrator("isotonic", risk, failure)(asked), theirs, atol=1e-9)
    logistic = LogisticRegression(C=np.inf, tol=1e-10).fit(logit(risk)[:, None], failure)
    # Ours has one success and one failure more among 3000: coefficients differ by about 1 / 3000.
    theirs = logistic.predict_proba(logit(asked)[:, None])[:, 1]
    np.testing.assert_allclose(fit_calibrator("platt", risk, failure)(asked), theirs, atol=3e-3)


@pytest.mark.parametrize("name", NAMES)
def test_maps_do_not_decrease_and_survive_json(name):
    risk, failure = _rows(3)
    fitted = fit_calibrator(name, risk, failure)
    asked = np.linspace(0, 1, 301)
    out = fitted(asked)
    assert (np.diff(out) >= -1e-12).all() and (out >= 0).all() and (out <= 1).all()
    low, high = fitted.bounds(asked)
    assert (low <= high).all()
    np.testing.assert_array_equal(Calibrator.from_json(fitted.to_json())(asked), out)


@pytest.mark.parametrize("name", [n for n in NAMES if n not in ("none", "venn_abers")])
def test_a_weight_is_a_row_repeated(name):
    risk, failure = _rows(4, 300)
    weight = np.random.default_rng(0).integers(1, 4, 300)
    whole = np.repeat(np.arange(300), weight)
    np.testing.assert_allclose(
        fit_calibrator(name, risk, failure, weight)(risk), fit_calibrator(name, risk[whole], failure[whole])(risk), atol=1e-3
    )


def test_a_right_score_is_left_alone_and_a_wrong_one_is_not():
    """The one-standard-error rule: among right scores `none` is chosen in most, among wrong ones never."""
    chosen = [choose_calibrator(*_rows(s), np.arange(3000))[0].name for s in range(5)]
    assert chosen.count("none") >= 4
    for s in range(2):
        calibrator, scores = choose_calibrator(*_rows(s, a=0.4, b=1.0), np.arange(3000))
        assert calibrator.name != "none" and scores[calibrator.name] < scores["none"]


def test_clusters_that_are_copies_do_not_decide():
    """Thirty clusters of 100 copies: 3000 rows that carry 30 outcomes cannot speak against a score."""
    random = np.random.default_rng(5)
    risk = np.repeat(random.beta(2, 3, 30), 100)
    failure = np.repeat((random.random(30) < risk[::100]).astype(float), 100)
    assert choose_calibrator(risk, failure, np.repeat(np.arange(30), 100))[0].name == "none"


def test_effective_size():
    assert effective_size(np.ones(4)) == 4
    assert effective_size(np.array([1.0, 0, 0])) == 1
