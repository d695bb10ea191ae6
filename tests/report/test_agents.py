"""The sections on agents and on cost: what is drawn, what is said, and what is refused."""

import dataclasses
import itertools
import json

import numpy as np
import polars as pl
import pytest

from divergence.estimate import Estimate
from divergence.report import agents, sections
from divergence.report.blocks import Figure, Listing, Text
from divergence.report.figures import costs, curves, ledger, repeats, survival


def _rows(places, statistics, **more):
    """Rows of every place (model, context, regime) and statistic, in this order."""
    table = [(*place, statistic) for place in places for statistic in statistics]
    columns = dict(zip(("model", "context", "regime", "statistic"), zip(*table, strict=True), strict=True))
    return {k: list(v) for k, v in columns.items()} | more


def _with_units(estimate, units):
    return dataclasses.replace(estimate, rows=estimate.rows.with_columns(unit=pl.Series(units)))


ONE = [("m", "c", "evaluation")]
TWO = [("m", "bench", "evaluation"), ("m", "live", "deployment")]


@pytest.fixture
def passes(hand_made):
    rates = [0.6, 0.5, 0.45, 0.42, 0.6, 0.3, 0.2, 0.1]
    return hand_made("pass_power", _rows(TWO, [f"pass^{k}" for k in range(1, 5)]), rates, "probability")


@pytest.fixture
def hazards(hand_made):
    names = [(None, None), ("survival", "1"), ("survival", "2"), ("survival", "3-4"), ("half_life", None), ("slope", None)]
    rows = _rows(ONE, [name for name, _ in names], level=[level for _, level in names])
    units = ["probability"] * 4 + ["steps", "nats"]
    estimate = hand_made("collapse_hazard", rows, [0.1, 0.9, 0.8, 0.6, 5.0, 0.5], "probability", [0.01] * 4 + [1.0, 0.1])
    return _with_units(estimate, units)


@pytest.fixture
def spent(hand_made):
    estimate = hand_made(
        "cost_per_success", _rows(TWO, [None, "failed_share"]), [0.02, 0.3, 0.05, 0.7], "usd", [0.001, 0.01, 0.001, 0.01]
    )
    return _with_units(estimate, ["usd", "probability"] * 2)


@pytest.fixture
def parts(hand_made):
    factors = [None, "price", "tokens", "calls", "attempts", "cache mix", "failure"]
    rows = {"model": ["m"] * 7, "context": ["live"] * 7, "factor": factors}
    return hand_made(
        "cost_ledger", rows, [0.03, 0.0, 0.01, -0.005, 0.0, 0.0, 0.025], "usd", [0.001, 0.0, 0.001, 0.001, 0.0, 0.0, 0.001]
    )


def test_each_chart_is_valid_and_described_by_its_sentence(passes, hazards, spent, parts):
    for module, estimate in ((repeats, passes), (survival, hazards), (costs, spent), (ledger, parts)):
        spec = module.chart(estimate).to_dict()  # checked against the schema of Vega-Lite
        assert spec["width"] == "container" and spec["description"] == module.sentence(estimate)
        assert "NaN" not in json.dumps(spec)


def test_the_rate_that_falls_most_is_told(passes):
    told = repeats.sentence(passes)
    assert told == (
        "Of two lines the steepest is m in live (more than 99%): m in live solves a task once with a chance of 60.0% "
        "(59.1 to 60.9), four times in a row with 10.0% (9.1 to 10.9)."
    )
    assert repeats.rows(passes)["x"].to_list() == [1, 2, 3, 4] * 2


def test_one_power_has_no_curve(hand_made):
    assert not repeats.rows(hand_made("pass_power", _rows(ONE, ["pass^1"]), [0.5], "probability")).height


def test_the_hazard_its_half_life_and_its_slope_are_told(hazards):
    assert survival.sentence(hazards) == (
        "Each step that m in c reaches breaks the episode with a chance of 10.0% (9.1 to 10.9); half of the episodes would "
        "be left after 5.0 steps (4.1 to 5.9). The hazard rises with the step."
    )
    assert survival.rows(hazards)["x"].to_list() == [1, 2, 4]


def test_lines_beyond_four_are_left_out(hand_made):
    places = [(f"m{k}", "c", "evaluation") for k in range(6)]
    rates = [0.9, 0.9, 0.9, 0.1, 0.9, 0.8, 0.9, 0.5, 0.9, 0.3, 0.9, 0.7]
    estimate = hand_made("pass_power", _rows(places, ["pass^1", "pass^2"]), rates, "probability")
    kept = curves.chosen(repeats.rows(estimate))
    assert kept["model"].unique(maintain_order=True).to_list() == ["m1", "m4", "m3", "m5"]
    assert repeats.chart(estimate).to_dict()["description"].startswith("Of six lines")
    assert curves.beside(repeats.rows(estimate)) == "Drawn are 4 of 6 lines, by their medians." and curves.beside(kept) == ""


def test_the_dearest_success_and_what_failures_took(spent):
    assert costs.sentence(spent) == (
        "Of two combinations the dearest is m in live (more than 99%): one success takes 0.0500 USD "
        "(0.0491 to 0.0509), failed attempts included. The cheapest is m in bench (more than 99%): 0.0200 USD "
        "(0.0191 to 0.0209). "
        "70.0% (69.1 to 70.9) of the spend went into failures in m in live."
    )


def test_without_money_calls_are_told(hand_made):
    rows = _rows(ONE, ["calls", "calls_failed_share"])
    estimate = hand_made("cost_per_success", rows, [60.8, 0.659], "calls")
    assert costs.rows(estimate)[0] == "calls"
    assert costs.sentence(estimate).startswith("One success of m in c takes 60.800 calls (60.791 to 60.809), failed")


def test_the_steps_of_the_waterfall_end_at_the_whole(parts):
    chart = ledger.chart(parts).to_dict()
    data = next(values for values in chart["datasets"].values() if "start" in values[0])
    assert [row["name"] for row in data] == ["tokens a call", "calls an attempt", "failed attempts", ledger.WHOLE]
    for before, after in itertools.pairwise(data[:-1]):
        assert before["end"] == pytest.approx(after["start"])
    assert data[-2]["end"] == pytest.approx(data[-1]["end"]) and data[-1]["end"] == pytest.approx(0.03)
    assert [row["way"] for row in data] == ["more", "less", "more", "sum"]
    assert "failed attempts (more than 99%): +0.0250 USD" in ledger.sentence(parts)


def test_sections_are_there_where_they_have_an_answer(content, passes, spent, parts, build):
    names = [section.id for section in sections.build(content)]
    assert "agents" not in names and "cost" not in names
    _, make = build
    full = make(
        build[0](), estimates=content.estimates | {"pass_power": passes, "cost_per_success": spent, "cost_ledger": parts}
    )
    built = {section.id: section.blocks for section in sections.build(full)}
    assert [block.id for block in built["agents"] if isinstance(block, Figure)] == ["repeats"]
    told = [block.text for block in built["agents"] if isinstance(block, Text)]
    assert told == ["No session has more than one turn.", "This question was not asked of this log."]
    assert [block.id for block in built["cost"] if isinstance(block, Figure)] == ["cost-per-success", "cost-ledger"]


def test_who_fails_the_loop_is_told(build, hand_made):
    rows = {"model": ["a", "b", "c"], "regime": ["evaluation"] * 3, "statistic": ["single_turn_gap"] * 3}
    gap = hand_made("pass_power", rows, [0.3, 0.0, -0.2], "fraction", 0.05)
    _, make = build
    blocks = agents.agents(make(build[0](), estimates={"pass_power": gap}))
    ((_, text),) = next(block for block in blocks if isinstance(block, Listing)).items
    assert "a +30.0 points (25.5 to 34.5), it passes the single turn and fails the loop" in text
    assert "whether it does as well in the loop is not settled" in text and "c −20.0 points" in text


def _bias(ability, refused=None, one_way=None):
    """Rows of one task: bias -3, competence as given (or refused), and the share of one-way changes."""
    centres = {"bias": -3.0, "competence": ability} | ({"one_way": one_way} if one_way else {})
    size = len(centres)
    rows = pl.DataFrame(
        {
            "model": ["m"] * size,
            "context": ["live"] * size,
            "task": ["primes"] * size,
            "level": ["composite"] * size,
            "statistic": list(centres),
        }
    )
    draws = np.array(list(centres.values())) + 0.005 * np.linspace(-1, 1, 101)[:, None]
    reason = tuple(refused if name == "competence" else None for name in centres)
    draws[:, [r is not None for r in reason]] = np.nan
    return Estimate("context_effect", "synthetic", "ratio", rows, draws, reason=reason)


def test_bias_that_moved_without_competence_is_told():
    (block,) = agents.answer_bias(_bias(0.0, one_way=0.99))
    assert block.tone == "notice" and block.text == (
        "moved, and competence is not shown to have, in one of one comparison with the bench: m in live on primes says "
        "composite more often (99.00% (98.55 to 99.45) of the changed answers changed the same way)."
    )
    (refused,) = agents.answer_bias(_bias(0.0, refused="623 of the 623 answers changed the same way", one_way=0.99))
    assert refused.text == block.text
    (both,) = agents.answer_bias(_bias(-1.0))
    assert both.tone == "plain" and "not shown to be all that moved" in both.text


def test_no_two_class_task_no_line(content):
    assert agents.answer_bias(content.estimates["context_effect"]) == ()
