"""Every figure: a valid chart, and a sentence that says what the numbers say."""

import dataclasses
import json

import numpy as np
import polars as pl
import pytest

from divergence.estimate import Estimate
from divergence.report.figures import (
    context_map,
    contexts,
    contrasts,
    factors,
    flips,
    forest,
    gap,
    order,
    score_kappa,
    waves,
)
from divergence.report.reading import bench_pairs

ONE = {
    "gap": (gap, ["gap"]),
    "contexts": (contexts, ["context_effect"]),
    "context_map": (context_map, ["context_effect"]),
    "factors": (factors, ["serving_effect"]),
    "waves": (waves, ["instrument"]),
    "flips": (flips, ["excess_flips"]),
    "order": (order, ["bench_level", "deployed_level"]),
    "score_kappa": (score_kappa, ["bench_level", "kappa"]),
}


@pytest.mark.parametrize("name", ONE)
def test_each_chart_is_valid_and_described_by_its_sentence(content, name):
    module, questions = ONE[name]
    estimates = [content.estimates[question] for question in questions]
    spec = module.chart(*estimates).to_dict()  # checked against the schema of Vega-Lite
    assert spec["width"] == "container"
    assert spec["description"] == module.sentence(*estimates)
    assert "NaN" not in json.dumps(spec)


def test_gap_counts_losses_gains_and_undecided(hand_made):
    estimate = hand_made("gap", {"model": ["a", "b", "c", "d"]}, [-0.08, -0.03, 0.001, 0.05])
    assert gap.sentence(estimate) == (
        "Two models lose level in deployment and one model gains level in deployment; "
        "for one model the interval contains 0. "
        "The largest change is a (more than 99%): −8.0 points (−8.9 to −7.1)."
    )


def test_where_no_gap_is_settled_the_sentence_says_of_what_the_interval_is(hand_made):
    text = gap.sentence(hand_made("gap", {"model": ["a", "b"]}, [0.001, -0.002]))
    assert text.startswith("For both models the interval of the change from bench to deployment contains 0. ")


def test_gap_of_all_and_of_one(hand_made):
    assert gap.sentence(hand_made("gap", {"model": ["a", "b"]}, [-0.08, -0.03])).startswith("Both models lose level")
    assert gap.sentence(hand_made("gap", {"model": ["a"]}, [-0.08])) == (
        "From bench to deployment the level of a changes by −8.0 points (−8.9 to −7.1)."
    )


def test_gap_of_seconds_falls_and_rises(hand_made):
    text = gap.sentence(hand_made("gap", {"model": ["a", "b"]}, [-0.5, 0.2], "s", 0.1))
    assert text.startswith("One model falls from bench to deployment and one model rises from bench to deployment.")
    assert "−0.50 s (−0.59 to −0.41)" in text


def test_multiplicity_stands_beside_a_forest(hand_made):
    built = gap.rows(hand_made("gap", {"model": list("abcdefghij")}, [-0.08] + [0.0] * 9))
    text = forest.beside(built)
    assert "about 1.0 of these 10 intervals would exclude 0 by chance" in text
    assert "one of them excludes 0" in text
    assert "Shaded: less than 5 points" in text


def test_the_shade_is_not_named_where_it_would_cover_everything(hand_made):
    assert "Shaded" not in forest.beside(gap.rows(hand_made("gap", {"model": ["a", "b"]}, [-0.01, 0.01])))


def test_a_long_forest_draws_the_furthest_rows_and_counts_all(hand_made):
    centres = np.linspace(-0.2, 0.1, 100)
    estimate = hand_made("gap", {"model": [f"m{k}" for k in range(100)]}, centres, spread=0.001)
    assert forest.trimmed(gap.rows(estimate)).frame["median"].abs().min() > 0.08
    assert f"Drawn are {forest.MOST} of 100 rows" in forest.beside(gap.rows(estimate))
    assert gap.sentence(estimate).startswith("66 models lose level in deployment and 33 models gain level")


def test_contexts_use_the_rows_over_models_and_fall_back_to_the_one_model(hand_made):
    rows = {"model": ["m", "m", None, None], "context": ["one", "two", "one", "two"]}
    estimate = hand_made("context_effect", rows, [0.3, 0.3, -0.1, 0.0])
    assert contexts.rows(estimate).frame["median"].to_list() == pytest.approx([-0.1, 0.0])
    alone = hand_made("context_effect", {"model": ["m", "m"], "context": ["one", "two"]}, [-0.2, 0.0])
    assert contexts.sentence(alone) == (
        "One context lowers the level; for one context the interval contains 0. "
        "Furthest from the bench is one (more than 99%): −20.0 points (−20.9 to −19.1)."
    )


def test_contrasts_say_how_many_pairs_can_be_told_apart(hand_made):
    rows = {"statistic": ["contrast"] * 3, "context": ["a", "a", "b"], "context_b": ["b", "c", "c"]}
    estimate = hand_made("context_effect", rows, [0.2, 0.0, -0.2])
    assert contrasts.sentence(estimate) == (
        "Of three pairs of contexts, two can be told apart when each is taken alone "
        "and two when all must hold at once. "
        "The largest difference is likeliest b minus a (50%; b minus c may be): −20.0 points (−20.9 to −19.1)."
    )
    assert contrasts.chart(estimate).to_dict()["description"].startswith("Of three pairs")


def test_factors_stand_under_a_heading_with_their_reference(hand_made):
    rows = {"factor": ["kv", "kv", "load"], "level": ["q4", "q8", "8"], "axis": ["against f16"] * 2 + ["against 1"]}
    estimate = hand_made("serving_effect", rows, [-0.1, 0.0, 0.01])
    spec = json.dumps(factors.chart(estimate).to_dict())
    assert r"kv\nagainst f16" in spec
    assert r"load\tload 8\nagainst 1" in spec  # a factor with one level needs no heading
    assert factors.sentence(estimate) == (
        "One factor level lowers the outcome and one factor level raises it; "
        "for one factor level the interval contains 0. "
        "The largest effect is kv q4 (against f16) (more than 99%): −10.0 points (−10.9 to −9.1)."
    )


def test_the_sentence_of_score_and_spread_says_when_steadiness_is_not_settled(hand_made):
    bench = hand_made("bench_level", {"model": ["a", "b"]}, [0.7, 0.6], "probability")
    clear = score_kappa.sentence(bench, hand_made("kappa", {"model": ["a", "b"]}, [0.08, 0.03]))
    assert clear == (
        "The steadiest between deployment contexts is b (more than 99%), moving by 3.0 points (2.1 to 3.9); the least "
        "steady is a (more than 99%), by 8.0 points (7.1 to 8.9): one standard deviation over contexts."
    )
    draws = np.stack([np.linspace(0.05, 0.1, 100), np.linspace(0.09, 0.05, 100)], 1)
    close = dataclasses.replace(hand_made("kappa", {"model": ["a", "b"]}, [0.08, 0.07]), draws=draws)
    share = (draws[:, 1] < draws[:, 0]).mean()
    assert f"is likeliest b ({100 * share:.0f}%; a may be)" in score_kappa.sentence(bench, close)


def test_names_beside_points_do_not_cover_each_other(content):
    points = score_kappa._placed(score_kappa._points(content.estimates["bench_level"], content.estimates["kappa"]))
    assert points["name"].n_unique() == points.height


def test_flips_are_pooled_over_models_draw_by_draw(hand_made):
    rows = {"model": ["a", "b"], "context": ["bench"] * 2, "context_b": ["one"] * 2}
    estimate = hand_made("excess_flips", rows, [0.1, 0.2], "probability", noise_floor=np.array([0.02, 0.04]))
    table = flips.rows(bench_pairs(estimate))
    assert table["median"].to_list() == pytest.approx([0.15])
    assert table["lower"].to_list() == pytest.approx([0.141])  # the draws move together, so the width stays
    assert flips.sentence(estimate) == (
        "In the one context more scores change than repeating explains (lower limit above 0.5%); one: "
        "15.0% (14.1 to 15.9). Repeating a request changes 3.0% of the scores by itself; "
        "that floor is taken off (grey ticks)."
    )


def test_flips_that_stay_below_materiality_are_no_claim(hand_made):
    rows = {"model": [None], "context": ["bench"], "context_b": ["one"]}
    estimate = hand_made("excess_flips", rows, [0.005], "probability", 0.001)
    assert flips.sentence(estimate).startswith("In no context do more scores change")


def test_order_tells_who_climbs_and_who_falls(hand_made):
    bench = hand_made("bench_level", {"model": ["a", "b", "c"]}, [0.7, 0.6, 0.5], "probability")
    deployed = hand_made("deployed_level", {"model": ["a", "b", "c"]}, [0.5, 0.6, 0.4], "probability")
    assert order.sentence(bench, deployed) == (
        "From bench to deployment b (more than 99%) climbs, a (more than 99%) falls, one model keeps its place; the bars "
        "are 90% intervals."
    )
    assert "three models keep their place" in order.sentence(bench, bench)


def test_order_says_nothing_of_moves_that_the_draws_do_not_settle(hand_made):
    random = np.random.default_rng(3)
    rows = {"model": ["a", "b"]}
    bench = hand_made("bench_level", rows, [0.61, 0.6], "probability")
    bench = dataclasses.replace(bench, draws=random.normal([0.61, 0.6], 0.05, (400, 2)))
    deployed = dataclasses.replace(bench, question="deployed_level", draws=random.normal([0.6, 0.61], 0.05, (400, 2)))
    assert order.sentence(bench, deployed).startswith("Whether two models change place is not settled; the bars")


def test_names_are_spread_apart_and_stay_in_order():
    positions = np.array([1.0, 1.1, 1.05, 5.0])
    placed = order.spread(positions, 1.0)
    assert np.argsort(placed).tolist() == np.argsort(positions).tolist()
    assert np.diff(np.sort(placed)).min() >= 1 - 1e-12
    assert placed[3] == 5.0
    assert placed[:3].mean() == pytest.approx(1.05)


def test_waves_move_only_when_all_at_once_say_so(hand_made):
    rows = {"factor": ["wave"] * 2, "level": ["may", "june"]}
    moved = waves.sentence(hand_made("instrument", rows, [-0.03, 0.03]))
    assert moved.startswith("The instrument moved: wave june minus wave may is +6.0 points")
    three = {"factor": ["wave"] * 3, "level": ["may", "june", "july"]}
    moved = waves.sentence(hand_made("instrument", three, [-0.06, 0.03, 0.03]))
    assert moved.startswith("The instrument moved: furthest from the mean over waves is wave may (more than 99%)")
    assert waves.sentence(hand_made("instrument", rows, [-0.003, 0.003])).startswith("No wave can be told")


def test_a_map_holds_many_models_and_contexts_by_drawing_those_that_move_most():
    models, places = [f"model-{k}" for k in range(20)], [f"context {k}" for k in range(40)]
    rows = pl.DataFrame([{"model": m, "context": c} for m in models for c in places])
    draws = np.random.default_rng(5).normal(0, 0.1, (60, rows.height))
    estimate = Estimate("context_effect", "", "fraction", rows, draws)
    values = next(iter(context_map.chart(estimate).to_dict()["datasets"].values()))
    assert len(values) == context_map.MODELS * context_map.CONTEXTS
    assert "Drawn are 12 models and 30 contexts" in context_map.beside(context_map.rows(estimate))


def test_a_chart_takes_any_name(hand_made):
    names = ["<script>alert(1)</script>", "tab\there", "two\nlines", "'\"\\", "x" * 300]
    effect = hand_made("context_effect", {"model": names * 2, "context": ["one"] * 5 + ["two\t'\n\"<b>"] * 5}, [0.1] * 10)
    for chart in (gap.chart(hand_made("gap", {"model": names}, [0.1] * 5)), context_map.chart(effect)):
        json.loads(chart.to_json())


def test_estimates_are_not_changed(content):
    before = {question: dataclasses.replace(e) for question, e in content.estimates.items()}
    gap.chart(content.estimates["gap"])
    assert all(np.array_equal(content.estimates[q].draws, e.draws) for q, e in before.items())
