"""The section on risk: it is there when a risk model was made, says what was measured, and refuses with a reason."""

import dataclasses
import json
import pathlib

import pytest

from divergence.report import calibration, render
from divergence.report.blocks import Text
from divergence.report.figures import reliability

MODEL = pathlib.Path(__file__).parents[2] / "models/serving-lab/risk.json"


@pytest.fixture(scope="module")
def check():
    """What was measured of the embedded model."""
    return json.loads(MODEL.read_text())["check"]


def test_the_sentence_has_the_numbers_and_the_worst_context(check):
    words = reliability.sentence(check)
    for part in (
        f"{check['rows']:,} rows",
        f"{100 * check['ece']:.1f} points",
        f"{100 * check['ece_null_95']:.1f} points",
        check["sets"]["worst"],
    ):
        assert part in words
    assert "ABOVE" in reliability.sentence(check | {"inside_null": False})
    own = check | {"ece_posterior_95": 0.0321, "inside_posterior": False}
    assert "says stays below 3.2 points, which this one does NOT" in reliability.sentence(own)


def test_the_chart_has_band_diagonal_and_all_bins(check):
    spec = reliability.chart(check).to_dict()
    assert [layer["mark"]["type"] for layer in spec["layer"]] == ["area", "line", "point"]
    sizes = sorted(len(rows) for rows in spec["datasets"].values())
    assert sizes == [2, len(check["bins"])]


def test_every_context_is_in_the_table(check):
    figure, said, measures = calibration.blocks(check)
    assert all(name in figure.table for name in check["contexts"])
    assert said.text.rstrip(".").lower() == check["items"].lower() and "plain rate" in measures.html


def test_not_checked_is_a_reason_and_no_figure():
    (text,) = calibration.blocks({"sentence": "calibration was not checked: no log was given"})
    assert isinstance(text, Text) and text.tone == "refusal" and "no log was given" in text.text


def test_the_page_has_the_section_only_with_a_risk_model(check, content):
    assert "Risk of a request" not in render(content)
    page = render(dataclasses.replace(content, calibration=check))
    assert "Risk of a request" in page and "reliability" in page.split("Risk of a request")[-1]
    assert "reliability" not in render(content)
