"""Checks of the model on the page: each in a sentence that its own numbers make, boxed where one is beyond its limit."""

import dataclasses
import json

import polars as pl
import pytest

import divergence as dv
from divergence.joint.checks import model_checks
from divergence.report import Review, formats, render, trust
from divergence.results import write_report
from divergence.simulate import simulate, world


@pytest.fixture(scope="module")
def log():
    log, _ = simulate(world("baseline", n_models=4, n_contexts=4, n_items=60), 5)
    return dv.read(log)


@pytest.fixture(scope="module")
def posterior(log):
    return dv.fit(dv.collapse(log), seed=2)


@pytest.fixture(scope="module")
def reviews(posterior):
    return tuple(Review(c.kind, c.rows, c.numbers, c.reason) for c in model_checks(posterior))


def test_each_check_names_its_worst(reviews):
    predictive, prior, contexts, _ = reviews
    text, warns = trust.verdict(predictive)
    worst = predictive.rows.with_columns(tail=pl.min_horizontal("p", 1 - pl.col("p"))).sort("tail").row(0, named=True)
    assert not warns and f"none of {predictive.rows.height} checks" in text
    assert f"{worst['p']:.3f}" in text
    moved = prior.rows.filter(pl.col("verdict").is_not_null())
    text, _ = trust.verdict(prior)
    assert str(moved.height) in text and f"{prior.rows.height} scales" in text
    text, _ = trust.verdict(contexts)
    assert f"{contexts.rows.sort('elpd')['rmse'][0]:.2f}" in text
    assert f"{contexts.numbers['gain']:+.1f}" in text.replace("−", "-")


def test_what_is_beyond_its_limit_is_boxed(reviews):
    predictive, _, contexts, _ = reviews
    off = predictive.rows.with_columns(
        p=pl.when(pl.col("context").is_null()).then(0.0001).otherwise("p"), extreme=pl.col("context").is_null()
    )
    text, warns = trust.verdict(dataclasses.replace(predictive, rows=off))
    assert warns and "distance of all levels" in text
    doubtful = contexts.rows.with_columns(trusted=pl.lit(False))
    text, warns = trust.verdict(dataclasses.replace(contexts, rows=doubtful))
    assert warns and "not reliable" in text
    boxed = trust.blocks((dataclasses.replace(contexts, rows=doubtful),))
    assert boxed[0].tone == "notice"


def test_held_out_items_are_a_sentence(reviews):
    held = reviews[-1]
    text, warns = trust.verdict(held)
    assert text.startswith("On held-out items this fit predicts context effects ") and "plain paired means" in text
    assert f"{100 * held.numbers['fit']:.1f} points" in text
    worse = dataclasses.replace(
        held, numbers={**held.numbers, "fit": 1.1 * min(held.numbers["paired"], held.numbers["additive"])}
    )
    text, warns = trust.verdict(worse)
    assert warns and "worse than" in text
    assert f"{100 * held.numbers['level']:.1f} points, the plain means of the same items by" in text
    equal = {"fit": 0.05, "paired": 0.05, "limit": 1.02}
    for level, boxed in ((0.0502, False), (0.052, True)):
        numbers = {**equal, "level": level, "level_raw": 0.05}
        text, warns = trust.verdict(dataclasses.replace(held, numbers=numbers))
        assert warns == boxed == ("the plain mean is the better guess" in text) and "as well as" in text
    assert "Levels" not in trust.verdict(dataclasses.replace(held, numbers=equal))[0]


def test_a_check_that_the_log_does_not_allow_says_why():
    text, warns = trust.verdict(Review("new context", pl.DataFrame(), reason="the log has 2 deployment contexts"))
    assert text == "Not checked: the log has 2 deployment contexts." and not warns


def test_page_and_sheets_hold_them(content, reviews):
    shown = dataclasses.replace(content, reviews=reviews)
    page = render(shown)
    titles = [s.title for s in formats.sheets(shown)]
    for review in reviews:
        assert trust.title(review) in page and trust.title(review) in titles
    further = dataclasses.replace(reviews[0], outcome="latency_s")
    assert "Levels like those seen (latency_s)" in render(dataclasses.replace(content, reviews=(further,)))


def test_the_run_record_holds_them(posterior, log, tmp_path):
    write_report(posterior, tmp_path / "out", log=log)
    checks = json.loads((tmp_path / "out" / "run.json").read_text())["fits"][0]["checks"]
    assert set(checks) == {"predictive", "prior", "new context", "held items"}
    assert checks["predictive"]["limit"] == 0.005
    assert len(checks["new context"]["rows"]) == 4
    assert "A context left out" in (tmp_path / "out" / "report.html").read_text()
