"""The scikit-learn face: its checks, calibration of a classifier that is wrong, groups kept whole."""

import numpy as np
import polars as pl
import pytest
from sklearn.naive_bayes import GaussianNB
from sklearn.utils.estimator_checks import parametrize_with_checks

from divergence.risk.classifier import RiskClassifier
from divergence.risk.reliability import reliability


@parametrize_with_checks([RiskClassifier(random_state=0)])
def test_scikit_learn_checks(estimator, check):
    """All of them; none is expected to fail."""
    check(estimator)


def _rows(seed, n=4000):
    """Twelve features that say the same thing: naive Bayes counts it twelve times and is far too sure."""
    random = np.random.default_rng(seed)
    signal = random.standard_normal(n)
    x = signal[:, None] + 0.5 * random.standard_normal((n, 12))
    return x, (random.random(n) < 1 / (1 + np.exp(-signal))).astype(int)


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


def _served(seed, n=3000):
    """Requests of two engines and three regions, one in ten without a region; a third engine that comes later."""
    random = np.random.default_rng(seed)
    engine, region = random.choice(["vllm", "sglang"], n), random.choice(["eu", "us", "asia"], n).astype(object)
    tokens = random.standard_normal(n)
    risk = 1 / (1 + np.exp(-(tokens + 1.5 * (engine == "vllm") - (region == "eu"))))
    region[random.random(n) < 0.1] = None
    return {"engine": engine.tolist(), "tokens": tokens, "region": region.tolist()}, (random.random(n) < risk).astype(int)


def _frames(columns):
    """The same rows in every way in which a frame may hold categories and what is missing."""
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(columns)
    return {
        "pandas, objects": frame,
        "pandas, NaN": frame.assign(region=frame["region"].fillna(value=np.nan)),
        "pandas, categories": frame.astype({"engine": "category", "region": "category"}),
        "pandas, strings": frame.astype({"engine": "string", "region": "string"}),
        "polars": pl.DataFrame(columns),
        "polars, categories": pl.DataFrame(columns).with_columns(pl.col("engine", "region").cast(pl.Categorical)),
        "polars, enum": pl.DataFrame(columns).with_columns(pl.col("engine").cast(pl.Enum(["vllm", "sglang"]))),
    }


def test_categories_are_taken_as_they_are_and_alike_from_every_kind_of_frame():
    columns, y = _served(1)
    fresh, outcome = _served(2)
    first = None
    for (name, frame), later in zip(_frames(columns).items(), _frames(fresh).values(), strict=True):
        fitted = RiskClassifier(random_state=0).fit(frame, y)
        risk, interval = fitted.predict_proba(later)[:, 1], fitted.predict_interval(later)
        known = fitted.predict_known(later)
        first = (risk, interval, known) if first is None else first
        for got, expected in zip((risk, interval, known), first, strict=True):
            np.testing.assert_array_equal(got, expected, err_msg=name)
    missing = np.array([region is None for region in fresh["region"]])
    np.testing.assert_array_equal(known, ~missing)
    assert (interval[missing] == [0, 1]).all() and np.diff(interval[known]).mean() < 0.2
    assert reliability(risk, outcome)["inside_null"] and fitted.feature_names_in_.tolist() == ["engine", "tokens", "region"]


def test_a_level_that_the_fit_never_saw_is_not_known_and_no_error():
    columns, y = _served(3)
    for frame in _frames(columns | {"region": ["eu"] * len(y)}).values():
        fitted = RiskClassifier(random_state=0).fit(frame, y)
        for region in ("mars", None):
            later = pl.DataFrame({"engine": ["vllm", "vllm"], "tokens": [0.0, 0.0], "region": ["eu", region]})
            assert fitted.predict_known(later).tolist() == [True, False]
            assert fitted.predict_interval(later)[1].tolist() == [0, 1] and np.isfinite(fitted.predict_proba(later)).all()


def test_frames_that_cannot_be_read_are_sentences():
    columns, y = _served(4, 200)
    frame = pl.DataFrame(columns)
    fitted = RiskClassifier(random_state=0).fit(frame, y)
    for bad, words in (
        (frame.select("engine", "tokens"), "no column region"),
        (frame.to_numpy(), "give one here too"),
        (frame.with_columns(tokens=pl.lit("a")), "column tokens held numbers"),
        (frame.with_columns(tokens=pl.lit(None, pl.Float64)), "NaN"),
    ):
        with pytest.raises(ValueError, match=words):
            fitted.predict_proba(bad)
    with pytest.raises(ValueError, match="the column id has 1001 levels"):
        RiskClassifier().fit(pl.DataFrame({"id": [f"r{k}" for k in range(1001)]}), np.arange(1001) % 2)
    with pytest.raises(ValueError, match="holds times"):
        RiskClassifier().fit(frame.with_columns(when=pl.lit("2026-01-01").str.to_datetime()), y)


def test_columns_of_lists_and_columns_of_one_name_are_sentences():
    pandas = pytest.importorskip("pandas")
    columns, y = _served(5, 200)
    lists, frame = columns | {"tags": [["a"]] * len(y)}, pandas.DataFrame(columns)
    twice = pandas.concat([frame, frame[["engine"]]], axis=1)
    fitted = RiskClassifier(random_state=0).fit(frame, y)
    for bad, words in (
        (pandas.DataFrame(lists), "the column tags holds lists"),
        (twice, "more than one column engine"),
        (pl.DataFrame(lists), "the column tags holds lists"),
    ):
        with pytest.raises(ValueError, match=words):
            RiskClassifier().fit(bad, y)
    for bad, words in (
        (twice, "more than one column engine"),
        (frame.assign(engine=lists["tags"]), "the column engine holds lists"),
    ):
        with pytest.raises(ValueError, match=words):
            fitted.predict_proba(bad)
