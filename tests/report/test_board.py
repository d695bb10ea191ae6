"""The leaderboard on the page: what its sentences, table and figure say is what the draws say."""

import dataclasses
import re

import numpy as np
import polars as pl
import pytest

import divergence as dv
from divergence.report import render
from divergence.report.board import Board, _headline, board, caption, incumbents, written
from divergence.report.figures import places
from divergence.report.formats import markdown, sheets
from divergence.results import answer_all, page_content
from divergence.run_record import run_record
from divergence.simulate import simulate, world


@pytest.fixture(scope="module")
def shown():
    """The page of a log of six models, two of them never deployed, with an incumbent and a what-if."""
    log, _ = simulate(world("baseline", n_models=6, n_contexts=3, n_items=60), 8)
    log = log.filter(~(pl.col("model").is_in(["model-4", "model-5"]) & (pl.col("regime") == "deployment")))
    first = log.filter(regime="deployment")["context"].sort()[0]
    setting = dv.Configuration.from_table({"incumbent": "model-2", "what_if": {"one context": {first: 1.0}}})
    log = dv.read(log, configuration=setting)
    posterior = dv.fit(dv.collapse(log), seed=0)
    answers = {"score": answer_all(posterior, None, setting)}
    return page_content(posterior, answers, log, "board", run_record(posterior, log))


def _board(content) -> Board:
    found = board(content)
    assert found is not None
    return found


def test_the_page_opens_with_the_leaderboard(shown):
    listed, page = _board(shown), render(shown)
    opening = re.search(r"<h1>(.*?)</h1>", page)
    assert opening and opening.group(1).startswith("Under the deployment law") and listed.leads
    assert page.index('id="figure-places"') < page.index("<section")
    assert page.count("gt_group_heading") >= listed.rows["group"].n_unique()
    assert "(incumbent)" in page and "(forecast)" in page and 'id="candidates"' in page and 'id="top"' in page
    assert "place if one context" in page


def test_sentences_have_the_numbers_of_the_answers(shown):
    told = " ".join(_board(shown).sentences)
    for name in ("model-4", "model-5"):
        chance = shown.answer("forecast").where(statistic="beats", model=name).draws.mean()
        assert f"{name} was never deployed" in told
        assert f"beats model-2 with a probability of {100 * chance:.0f}%" in told or not 0.01 <= chance <= 0.99
    first = _board(shown).rows.row(0, named=True)
    mean = shown.answer("leaderboard").where(statistic="p_first", model=first["model"]).draws.mean()
    assert first["p_first"] == pytest.approx(mean)


@pytest.mark.parametrize(("second", "third"), [(0.95, 0.6), (0.99, 0.99)])
def test_a_first_model_that_is_not_settled_is_not_said_to_be_first(second, third):
    """Alone in its group, but a model further down that hardly anything is known of may be first."""
    frame = pl.DataFrame(
        {
            "name": ["a", "b", "c"],
            "mark": ["measured", "measured", "forecast"],
            "group": [1.0, 2.0, 2.0],
            "p_first": [second + third - 1, 1 - second, 1 - third],
        }
    )
    told = _headline(frame)
    if third < 0.9:
        assert told == "Under the deployment law a is likeliest to be first (55%; c (a forecast) may be)."
    else:
        assert told == "Under the deployment law a is first (98%)."


def test_incumbents_are_found_whatever_their_names_hold():
    names = ["a", "a, b", "c; (d)", "e)"]
    rows, draws = pl.DataFrame({"model": names}), np.zeros((2, 4))
    for running in (["a, b"], ["a", "a, b"], ["c; (d)", "e)", "a"], []):
        told = f" (the incumbent is {', '.join(running)}; 2 of 4 models are forecast)" if running else ""
        assert incumbents(dv.Estimate("leaderboard", "which is best" + told, "ratio", rows, draws)) == tuple(running)


def test_a_forecast_outside_the_bench_range_says_so_on_the_first_screen(shown):
    outside = shown.answer("forecast").where(statistic="outside")
    told = " ".join(_board(shown).sentences)
    for name, far in zip(outside.rows["model"], outside.draws.mean(0), strict=True):
        sentence = next(part for part in told.split(f"{name} was never deployed")[1:]).split(" was never")[0]
        assert ("lies outside theirs" in sentence) == (far > 0.5)
        assert ("probably lies outside" in sentence) == (0.5 < far < 0.9)


def test_names_that_differ_only_in_case_are_said(shown):
    answer = shown.answer("leaderboard")
    said = "qwen and Qwen differ only in case, blanks, provider or date and are taken for different models"
    for text in (f"{answer.text[:-1]}; {said})", f"Which model is best ({said}.)", f"{answer.text}; {said}"):
        told = shown.estimates | {"leaderboard": dataclasses.replace(answer, text=text)}
        assert f"{said}." in _board(dataclasses.replace(shown, estimates=told)).sentences


def test_the_table_for_a_paper_is_wide_and_stands_once(shown):
    titles = [sheet.title for sheet in sheets(shown)]
    assert titles.count("Leaderboard under the deployment law") == 1
    texts, labels, right = written(_board(shown))
    assert texts.height == 6 and set(right) < set(texts.columns) and labels["top"] == "in first 3"
    assert "| Group 1: place" in markdown(shown)
    assert "further models" not in caption(_board(shown), 20)


def test_every_model_of_the_figure_has_its_places(shown):
    frame = places.points(_board(shown))
    assert frame.height == 6 and frame["place"].to_list() == [1, 2, 3, 4, 5, 6]
    assert sorted(frame["bench_place"]) == [1, 2, 3, 4, 5, 6]
    assert set(frame.filter(kind="forecast")["model"]) == {"model-4", "model-5"}
    assert places.chart(_board(shown)).to_dict()["height"] == places.HEIGHT


def test_a_place_is_left_only_where_the_bench_knew_it(shown):
    rows = (
        _board(shown)
        .rows.drop_nulls("bench_rank")
        .with_columns(
            rank=1.0 + pl.int_range(pl.len()), rank_low=0.9 + pl.int_range(pl.len()), rank_high=1.1 + pl.int_range(pl.len())
        )
    )
    turned = rows.with_columns(bench_rank=pl.len() + 1 - pl.col("rank"))
    for half, surely in ((0.2, True), (10.0, False)):
        known = turned.with_columns(bench_rank_low=pl.col("bench_rank") - half, bench_rank_high=pl.col("bench_rank") + half)
        told = places.sentence(dataclasses.replace(_board(shown), rows=known))
        assert ("surely leave their bench place" in told) is surely
        assert told.startswith("No model of") is not surely


@pytest.mark.parametrize("models", [20, 200, 2000])
def test_names_in_the_figure_never_cover_each_other(shown, models):
    rng = np.random.default_rng(models)
    names = [f"family-{k % 30}-model-number-{k}" for k in range(models)]
    moved = np.argsort(np.argsort(np.arange(models) + rng.normal(0, models / 8, models))) + 1.0
    rows = pl.DataFrame(
        {
            "model": names,
            "name": names,
            "mark": ["measured"] * models,
            "incumbent": [k == models // 2 for k in range(models)],
            "place": range(1, models + 1),
            "rank": np.arange(models) + 1.0,
            "rank_low": np.arange(models) + 0.5,
            "rank_high": np.arange(models) + 1.5,
            "group": np.arange(models) + 1.0,
            "bench_rank": moved,
            "bench_rank_low": moved - 0.5,
            "bench_rank_high": moved + 0.5,
        }
    )
    frame = places.points(dataclasses.replace(_board(shown), rows=rows)).filter(pl.col("label") != "")
    assert names[models // 2] in frame["model"].to_list() and frame.height <= 20
    at = frame.select("bench_place", "place").to_numpy() / models
    for i in range(len(at)):
        for j in range(i):
            apart = np.abs(at[i] - at[j])
            assert apart[0] > places.NAME_SHARE or apart[1] > places.LINE_SHARE


def test_a_log_without_a_bench_opens_with_its_leaderboard():
    log, _ = simulate(world("baseline", n_models=3, n_contexts=2, n_items=40), 8)
    log = dv.read(log.filter(regime="deployment"))
    posterior = dv.fit(dv.collapse(log), seed=0)
    content = page_content(posterior, {"score": answer_all(posterior)}, log, "one side", run_record(posterior, log))
    texts, _, _ = written(_board(content))
    assert "bench" not in texts.columns and _board(content).leads
    assert "On the bench" not in " ".join(_board(content).sentences)
    assert "<h1>Under the deployment law" in render(content)


def test_the_legend_names_only_what_is_drawn(shown):
    board = _board(shown)
    drawn = list(dict.fromkeys(places.points(board)["kind"]))
    layers = places.chart(board).to_dict()["layer"]
    named = next(
        layer["encoding"]["color"]["scale"]["domain"] for layer in layers if "scale" in layer["encoding"].get("color", {})
    )
    assert sorted(named) == sorted(drawn)


def test_a_level_that_is_partly_a_forecast_is_said_to_be_one_on_the_first_screen():
    log, _ = simulate(world("baseline", n_models=3, n_contexts=3, n_items=60), 8)
    contexts = log.filter(regime="deployment")["context"].unique().sort()
    log = log.filter(~((pl.col("model") == "model-0") & (pl.col("context") == contexts[0])))
    log = dv.read(log)
    posterior = dv.fit(dv.collapse(log), seed=0)
    content = page_content(posterior, {"score": answer_all(posterior)}, log, "gap", run_record(posterior, log))
    told = " ".join(_board(content).sentences)
    assert "model-0 was not served in every context of the law: what its level would be there is a forecast." in told
    first = _headline(_board(content).rows.with_columns(p_first=pl.col("model").eq("model-0").cast(pl.Float64)))
    assert "model-0 (partly a forecast)" in first
