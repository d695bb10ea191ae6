"""The first screen where requirements are declared: whom it names, what would change it, when it says nothing."""

import dataclasses
import re

import numpy as np
import polars as pl
import pytest

from divergence.estimate import Estimate
from divergence.report import render
from divergence.report.choice import VALUES, choose
from divergence.report.choice_sections import section, unmet
from divergence.report.figures import coherence_map
from divergence.report.words import exact

DRAWS = 1000
STEPS = (np.arange(DRAWS) + 0.5) / DRAWS
LIMITS = {"quality_min": 0.6, "latency_p95_max_s": 1.0}


def _values(centre, width, shift=0.0):
    """Evenly spread draws around a centre, in an order of their own."""
    order = np.random.default_rng(int(1e6 * (abs(centre) + shift))).permutation(DRAWS)
    return centre + width * (2 * STEPS[order] - 1)


def _answers(combos, limits=LIMITS, reason=None):
    """coherence and best_combination of combinations given as {(model, context): (level, latency)}."""
    rows, draws, reasons = [], [], []
    columns = {}
    for place, (level, latency) in combos.items():
        q, p95 = _values(level, 0.04), _values(latency, 0.1, 1.0)
        met = {"quality_min": q >= limits["quality_min"], "latency_p95_max_s": p95 <= limits["latency_p95_max_s"]}
        columns[place] = q, np.all(list(met.values()), 0)
        for statistic, unit, values in (
            (None, "probability", columns[place][1]),
            ("quality", "probability", q),
            ("quality_min", "probability", met["quality_min"]),
            ("latency_p95", "s", p95),
            ("latency_p95_max_s", "probability", met["latency_p95_max_s"]),
        ):
            rows.append((*place, statistic, unit))
            draws.append(values.astype(float))
            reasons.append(None)
    if reason:
        rows.append(("lost", "there", None, "probability"))
        draws.append(np.full(DRAWS, np.nan))
        reasons.append(reason)
    quality, met = (np.stack([c[k] for c in columns.values()], 1) for k in (0, 1))
    first = np.where(met, quality, -np.inf)
    best = (first == first.max(1, keepdims=True)) & met
    order = np.argsort(-best.mean(0))
    tied = set(order[: 1 + int((np.cumsum(best.mean(0)[order]) < 0.9).sum())])
    some, other = [], []
    for k, place in enumerate(columns):
        for statistic, values in (
            ("p_best", best[:, k]),
            ("regret", np.maximum(first.max(1), 0) - quality[:, k]),
            ("tied", np.full(DRAWS, k in tied)),
            ("rank", np.ones(DRAWS)),
        ):
            some.append((*place, None, statistic, None))
            other.append(values.astype(float))
    for level, p in ((None, 0.0), ("all on one", 1.0)):
        some += [("a", None, level, "p_best", None), (None, None, level, "p_none", "models")]
        other += [np.full(DRAWS, 1 - p), np.full(DRAWS, p)]
    some.append((None, None, None, "p_none", "combinations"))
    other.append(np.zeros(DRAWS))
    return {
        "coherence": Estimate(
            "coherence",
            "",
            "probability",
            _frame(rows, "model", "context", "statistic", "unit"),
            np.stack(draws, 1),
            reason=tuple(reasons),
            counts={"n_items": 100},
        ),
        "best_combination": Estimate(
            "best_combination",
            "",
            "probability",
            _frame(some, "model", "context", "level", "statistic", "axis"),
            np.stack(other, 1),
        ),
    }


def _frame(rows, *names):
    return pl.DataFrame(rows, schema=dict.fromkeys(names, pl.String), orient="row")


@pytest.fixture
def content_of(content):
    def make(combos, limits=LIMITS, **more):
        answers = {**content.estimates, **_answers(combos, limits, more.pop("reason", None))}
        return dataclasses.replace(content, estimates=answers, acceptance=limits, **more)

    return make


def test_one_clear_choice(content_of):
    choice = choose(content_of({("a", "x"): (0.8, 0.5), ("b", "x"): (0.65, 0.5)}))
    assert choice.headline == (
        "Choose a in x; it meets both requirements with a probability of more than 99%. "
        "The best that meets everything is a in x (more than 99%)."
    )
    told = dict(choice.points)
    assert "Two combinations of 2 meet everything with at least 90%." in told["How sure"]
    assert (
        told["What would change it"].startswith(
            "The nearest requirement is “level of at least 60%”: the value is 80.0% (76.4 to 83.6); set "
            "beyond 80.0% it would "
            "more likely be missed."
        )
        or "p95 latency of at most 1 s" in told["What would change it"]
    )
    assert told["What would change it"].endswith(
        "not likely to meet everything over “all on one”. Over the log's own mix of contexts the best model for all traffic "
        "is a (more than 99%)."
    )
    assert told["What to measure next"] == "The decision is settled at these thresholds; more items would not change it."


def test_a_combination_that_is_too_slow_is_not_chosen(content_of):
    choice = choose(content_of({("a", "x"): (0.9, 3.0), ("b", "y"): (0.7, 0.5)}))
    assert choice.headline.startswith("Choose b in y") and [o.model for o in choice.options] == ["b", "a"]
    assert choice.options[1].sides == {"quality_min": 1.0, "latency_p95_max_s": 0.0}


def test_ties_are_told_and_the_surest_of_them_leads(content_of):
    choice = choose(content_of({("a", "x"): (0.71, 0.99), ("b", "x"): (0.705, 0.5), ("c", "x"): (0.5, 0.5)}))
    assert choice.options[0].model == "b" and choice.options[0].meets == 1.0
    assert "one other may have as high a level" in choice.headline
    assert "What decides is the level of b in x against a in x" in dict(choice.points)["What to measure next"]


def test_what_to_measure_next_is_the_arithmetic_of_widths(content_of):
    choice = choose(content_of({("a", "x"): (0.61, 0.5), ("b", "x"): (0.4, 0.5)}))
    draws = choice.options[0].draws["quality"]
    low, middle, high = np.quantile(draws, [0.16, 0.5, 0.84])
    factor = (1.645 * (high - low) / 2 / (middle - 0.6)) ** 2
    told = dict(choice.points)["What to measure next"]
    assert f"(in all {factor:.1f} times the log's 100)" in told
    assert int(re.search(r"About ([\d,]+) more items", told)[1].replace(",", "")) == np.ceil(100 * (factor - 1) / 10) * 10


def test_a_threshold_that_nothing_meets_is_said(content_of):
    content = content_of({("a", "x"): (0.8, 0.5), ("b", "x"): (0.65, 0.5)}, {"quality_min": 0.99, "latency_p95_max_s": 1.0})
    choice = choose(content)
    assert choice.headline.startswith("No combination is likely to meet both requirements: ")
    assert unmet(choice, content.acceptance) == (
        "No combination meets “level of at least 99%”; seen in the medians: 65.0% to 80.0%."
    )
    assert section(content)[0].text == unmet(choice, content.acceptance)
    assert "No combination is likely" in render(content)


def test_combinations_that_cannot_be_judged_are_said(content_of):
    known = {("a", "x"): (0.8, 0.5), ("b", "x"): (0.65, 0.5)}
    content = content_of(known, reason="no row of this combination has latency_s")
    assert (
        "One combination cannot be judged, for example because no row of this combination has latency_s."
        in dict(choose(content).points)["How sure"]
    )


def test_the_page_opens_with_the_decision_and_keeps_the_order_below(content_of):
    page = render(content_of({("a", "x"): (0.8, 0.5), ("<b>", "x"): (0.65, 0.5)}, cautions=("Scorers differ.",)))
    assert page.index("<h1>Choose a in x") < page.index("Scorers differ.") < page.index("Chance to meet everything")
    assert page.index("Chance to meet everything") < page.index('<h2 class="next">')
    assert "&lt;b&gt;" in page and "No requirements are declared" not in page


def test_without_requirements_one_sentence_says_how_to_declare_them(page, content):
    assert page.count("No requirements are declared") == 1
    assert all(bound in page for bound in VALUES)
    judged = render(dataclasses.replace(content, acceptance={"quality_min": 0.5}))
    assert "Requirements are declared, but cannot be judged. This question was not asked of this log." in judged


def test_declared_numbers_are_shown_as_declared():
    assert [exact(*pair) for pair in ((1.0, "s"), (0.6, "probability"), (2e-5, "usd"), (0.025, "fraction"))] == [
        "1 s",
        "60%",
        "0.00002 USD",
        "2.5 points",
    ]


def test_the_map_says_where_everything_is_met(content_of):
    answer = content_of({("a", "x"): (0.8, 0.5), ("a", "y"): (0.8, 2.0), ("b", "x"): (0.7, 0.5)}).estimates["coherence"]
    data = coherence_map.rows(answer)
    assert data["context"].to_list() == ["x", "x", "y"] and data["chance"].to_list() == [1.0, 1.0, 0.0]
    assert coherence_map.sentence(answer) == (
        "Two combinations of 3 meet everything with at least 90%, all of them in one context; none has a "
        "higher probability than a in x (more than 99%)."
    )
    drawn = coherence_map.chart(answer).to_dict()
    values = next(iter(drawn["datasets"].values()))
    assert sorted(v["text"] for v in values) == ["< 1%", "> 99%", "> 99%"]
