"""Columns of categories, from every kind of frame."""

import numpy as np
import polars as pl
import pytest

from divergence.risk.classifier import RiskClassifier
from divergence.risk.reliability import reliability


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
