"""The saturation amplifier: what it draws, what it says, and the section around it."""

import dataclasses
import json

import numpy as np
import polars as pl
import pytest

import divergence as dv
from divergence.estimands.reversal import risk
from divergence.estimate import Estimate
from divergence.report import order_sections
from divergence.report.figures import amplifier
from divergence.report.sections import build
from divergence.results import page_content
from divergence.run_record import run_record

GAPS = np.linspace(0, 0.3, 31)
RNG = np.random.default_rng(5)
TAU, BETA = np.exp(RNG.normal(np.log(0.02), 0.2, 400)), RNG.normal(0.9, 0.05, 400)


@pytest.fixture
def three(hand_made):
    """Four models at 50, 51, 60 and 75 %, with a line of known width."""
    centres, names = [0.5, 0.51, 0.6, 0.75], list("abcd")
    bench = hand_made("bench_level", {"model": names}, centres, "probability", 0.001)
    first, second = np.triu_indices(4, 1)
    chances = risk(BETA[:1], TAU[:1], np.array([centres[j] - centres[i] for i, j in zip(first, second, strict=True)]))[0]
    draws = np.concatenate([(np.arange(400)[:, None] < 400 * chances).astype(float), risk(BETA, TAU, GAPS)], 1)
    rows = pl.DataFrame(
        {
            "model": [*(names[i] for i in first), *[None] * 31],
            "model_b": [*(names[j] for j in second), *[None] * 31],
            "statistic": [*[None] * 6, *["curve"] * 31],
            "level": [*[None] * 6, *(f"{g:g}" for g in GAPS)],
        }
    )
    reversal = Estimate("reversal", "", "probability", rows, draws)
    trusted = Estimate(
        "gap_for_confidence",
        "",
        "fraction",
        pl.DataFrame({"model": [None]}, schema={"model": pl.String}),
        (1.645 * TAU / BETA)[:, None],
        quantiles_only=np.array([True]),
    )
    return bench, reversal, trusted


def test_chart_is_valid_and_holds_line_pairs_and_mark(three):
    spec = amplifier.chart(*three).to_dict()
    assert spec["description"] == amplifier.sentence(*three) and spec["width"] == "container"
    assert "NaN" not in json.dumps(spec)
    data = list(spec["datasets"].values())
    line = next(rows for rows in data if "lower" in rows[0])
    assert line[0] == pytest.approx({"gap": 0, "median": 50, "lower": 50, "upper": 50})
    assert all(r["lower"] <= r["median"] <= r["upper"] for r in line)
    marked = next(rows for rows in data if "text" in rows[0])[0]
    at = np.interp(marked["gap"], [r["gap"] for r in line], [r["median"] for r in line])
    assert at == pytest.approx(5, abs=0.5)  # the mark stands where the line is at 5 %
    pairs = next(rows for rows in data if "pair" in rows[0])
    assert [p["pair"] for p in pairs if p["gap"] < 2] == ["b above a"]


def test_the_sentence_counts_the_pairs_that_are_too_close(three):
    text = amplifier.sentence(*three)
    assert "with a probability of 5%. Of six pairs of this log one lies closer together; of all of these" in text
    assert "further apart are not drawn" in amplifier.beside(*three)


def test_a_bench_that_orders_nothing_has_a_curve_and_no_mark(three):
    bench, reversal, _ = three
    none = Estimate.refused("gap_for_confidence", "", "fraction", "the bench does not order deployment")
    spec = amplifier.chart(bench, reversal, none).to_dict()
    assert not any("text" in rows[0] for rows in spec["datasets"].values())
    assert amplifier.sentence(bench, reversal, none).startswith("No bench gap of this log can be trusted")
    twice = Estimate.refused("gap_for_confidence", "", "fraction", "the bench orders nothing; no bench gap can be trusted")
    assert amplifier.sentence(bench, reversal, twice).endswith("trusted: the bench orders nothing.")


def test_the_band_stays_in_the_frame(three):
    spec = amplifier.chart(*three).to_dict()
    line = next(rows for rows in spec["datasets"].values() if "lower" in rows[0])
    top = next(
        layer["encoding"]["y"]["scale"]["domain"][1] for layer in spec["layer"] if "domain" in str(layer["encoding"]["y"])
    )
    assert max(row["upper"] for row in line) <= top


def test_a_gap_without_an_upper_end_is_said(three):
    bench, reversal, trusted = three
    draws = trusted.draws.copy()
    draws[-30:] = np.inf
    endless = dataclasses.replace(trusted, draws=draws)
    assert "(at least" in amplifier.sentence(bench, reversal, endless)
    amplifier.chart(bench, reversal, endless).to_dict()


def test_the_section_of_a_fitted_log(waves_posterior):
    answers = {"score": dv.answer_all(waves_posterior)}
    content = page_content(waves_posterior, answers, None, "log", run_record(waves_posterior, None))
    section = next(s for s in build(content) if s.id == "order")
    kinds = [block.kind for block in section.blocks]
    assert kinds == ["figure", "listing"]
    told = dict(section.blocks[1].items)
    assert "first on the bench (" in told["First place"] and "first in deployment (" in told["First place"]
    assert told["Agreement of the two orders"].startswith("Kendall tau")
    assert "on average" in told["Taking the bench's leader"]
    factors = next(s for s in build(content) if s.id == "factors")
    assert any("the same items were replayed" in getattr(b, "text", "") for b in factors.blocks)
    steadiness = next(s for s in build(content) if s.id == "steadiness")
    assert any("within 0.05 of its mean" in getattr(b, "caption", "") for b in steadiness.blocks)


def test_a_section_without_a_line_says_why(content):
    few = dataclasses.replace(
        content,
        estimates={
            **content.estimates,
            "projection_instability": Estimate.refused(
                "projection_instability", "", "fraction", "3 model(s) have rows in both regimes"
            ),
        },
    )
    blocks = order_sections.bench_gaps(few)
    assert blocks[0].tone == "refusal" and blocks[0].text.startswith("3 model(s) have rows in both regimes")


def test_association_is_the_word_where_nothing_was_replayed(content):
    effect = content.estimates["serving_effect"]
    method = "draws; association: contexts were neither randomised nor given the same items"
    routed = dataclasses.replace(effect, method=method)
    assert order_sections.factor_details(routed)[0].text.startswith("Read these as associations, not as causes")


def test_no_gap_of_scores_is_wider_than_their_scale():
    row = {"unit": "fraction", "median": 0.91, "lower": 0.615, "upper": 9.995}
    assert amplifier.reach(row) == "91.0 points (at least 61.5 points)"
    assert amplifier.reach(row | {"median": 1.3}) == "100 points or more (at least 61.5 points)"
    assert amplifier.reach(row | {"unit": "s"}) == "0.9 s (0.6 to 10.0)"
