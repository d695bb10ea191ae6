"""What a notebook and a terminal show: small, folding, escaped, with the audit; tables of at most 20 rows."""

import html.parser
import re

import numpy as np
import polars as pl
import pytest

import divergence as dv
from divergence.shown import ROWS, more, text_table
from divergence.simulate import simulate, world

HTML_MAX = 40_000  # characters: a notebook with fifty of them stays below 2 MB
TEXT_MAX = 4_000


class Balance(html.parser.HTMLParser):
    """Every tag that opens is closed, in order."""

    def __init__(self):
        super().__init__()
        self.open = []

    def handle_starttag(self, tag, attrs):  # noqa: ARG002
        self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def evil():
    """A log whose names are HTML, in which one model lacks a regime and every cost is 0."""
    log = simulate(world("waves", n_models=3, n_contexts=30, n_items=30), 1)[0]
    log = log.with_columns(
        model=log["model"].replace("model-1", "<script>alert('m')</script>"),
        context=log["context"].replace("context-1", '<b>& "c"'),
        cost_usd=pl.lit(0.0),
        latency_s=pl.lit(1.0) + log["score"],
    )
    log = log.filter(~((log["model"] == "model-2") & (log["regime"] == "evaluation")))
    return dv.read(log)


@pytest.fixture(scope="module")
def values(evil):
    posterior = dv.fit(dv.collapse(evil), seed=0)
    few = dv.read(evil.valid.filter(pl.col("context").is_in(evil.valid["context"].unique().sort()[:6].implode())))
    return {
        "log": evil,
        "cells": dv.collapse(evil),
        "posterior": posterior,
        "estimate": dv.context_effect(posterior),
        "risk": dv.risk_model(dv.fit(dv.collapse(few), seed=0), few),
    }


@pytest.mark.parametrize("name", ["log", "cells", "posterior", "estimate", "risk"])
def test_it_is_small_folds_and_escapes(values, name):
    shown = values[name]._repr_html_()
    parser = Balance()
    parser.feed(shown)
    assert parser.open == []
    assert len(shown) < HTML_MAX and len(repr(values[name])) < TEXT_MAX
    assert "<script>" not in shown and "<details" in shown
    for table in re.findall(r"<tbody>.*?</tbody>", shown, re.S):
        assert table.count("<tr>") <= ROWS


@pytest.mark.parametrize("name", ["log", "cells", "posterior"])
def test_the_audit_is_in_it(values, name):
    from divergence.identification.audit import audit

    found = audit(values["log"].design)
    assert {f.name for f in found} >= {"one_side", "unmetered"}
    shown = html.unescape(values[name]._repr_html_())
    for finding in found:
        assert finding.sentence in shown


def test_a_posterior_shows_its_gates_and_a_failed_one(values):
    import dataclasses

    posterior = values["posterior"]
    gates = posterior.fits[0].diagnostics
    assert all(d.name in posterior._repr_html_() for d in gates) and "all gates passed" in posterior._repr_html_()
    failed = dataclasses.replace(gates[0], passed=False)
    marked = dataclasses.replace(posterior, fits=(dataclasses.replace(posterior.fits[0], diagnostics=(failed,)),))
    assert "A GATE FAILED" in marked._repr_html_() and "FAILED" in repr(marked)


def test_cells_print_in_one_line_and_count_right(values):
    cells = values["cells"]
    assert "\n" not in repr(cells) and f"{int(cells.counts['rows'].sum()):,} rows" in repr(cells)
    judged = pl.DataFrame({"context": values["log"].valid["context"], "y": values["log"].valid["outcome"]})
    mean = judged.group_by("context").agg(pl.col("y").mean()).filter(pl.col("context") == "bench")["y"][0]
    row = cells._repr_html_().split("<td>evaluation</td><td>bench</td>")[1].split("</tr>")[0]
    assert f"<td>{mean:.4g}</td>" in row


def test_long_tables_say_how_many_more(values):
    estimate = values["estimate"]
    assert estimate.rows.height > ROWS
    for shown in (repr(estimate), estimate._repr_html_()):
        assert f"... and {estimate.rows.height - ROWS:,} more rows" in shown
    assert len(text_table(["a"], [["x"]] * ROWS)) == ROWS + 1
    assert more(ROWS) == "" and more(ROWS + 1) == "... and 1 more row"


def test_large_logs_are_not_counted_for_a_glance(values, monkeypatch):
    import dataclasses

    from divergence.executions import log_view

    log = dataclasses.replace(values["log"])  # nothing counted yet
    monkeypatch.setattr(log_view, "AUDITED_ROWS", 10)
    assert "log.answers()" in log._repr_html_() and "design" not in vars(log)


def test_reasons_fold_under_an_answer():
    refused = dv.Estimate.refused("gap", "a gap", "fraction", "it needs <two> regimes")
    assert "it needs &lt;two&gt; regimes" in refused._repr_html_() and "not identified (1 reasons)" in refused._repr_html_()


def test_risk_rows_are_the_riskiest_known_ones(values):
    model = values["risk"]
    first = re.findall(r"<tbody><tr>(.*?)</tr>", model._repr_html_(), re.S)[0]
    worst = float(model.table["risk"][model.table["known"]].max())
    assert f"<td>{worst:.3g}</td>" in first


def test_wrong_coordinates_are_sentences(values):
    with pytest.raises(dv.InputError, match="did you mean model"):
        values["estimate"].where(modle="model-0")
    assert values["estimate"].where(task="x").rows.height == 0  # a coordinate that this answer does not have


def test_arviz_has_named_dimensions_and_three_groups(values):
    fit = values["posterior"].fits[0]
    tree = values["posterior"].to_arviz()
    assert set(tree.children) == {"posterior", "prior", "observed_data"}
    drawn = tree["posterior"]
    assert list(drawn["theta_E"].coords["model"].values) == list(fit.cells.levels["model"])
    for term in fit.design.terms:  # the effect of a name is the effect in the fit's own columns
        name = term.name.replace(":", "_")
        np.testing.assert_array_equal(drawn[name].values[0].reshape(len(fit.effects), -1), fit.effects[:, term.columns])
        assert drawn[name].dims == tree["prior"][name].dims
    if "delta" in drawn:
        place = {"model": fit.cells.levels["model"][1], "context": "bench"}
        k = list(drawn["context"].values).index("bench") + len(drawn["context"])
        np.testing.assert_array_equal(
            drawn["delta"].sel(place).values[0], fit.effects[:, fit.design.term("delta").columns][:, k]
        )
    seen = tree["observed_data"]
    np.testing.assert_allclose(seen["level"].values, fit.arms.level)
    assert seen["arm_regime"].values.tolist().count("evaluation") == int((~fit.arms.deployed.astype(bool)).sum())


def test_prior_draws_are_of_the_prior(values):
    """The median of a half-normal is .6745 of its width; 1000 draws: se of a median below 3 % of it, five of them."""
    fit = values["posterior"].fits[0]
    prior = values["posterior"].to_arviz()["prior"]
    width = fit.design.term("theta_E").width
    assert np.median(prior["sd_theta_E"]) == pytest.approx(0.6745 * width, rel=0.15)
    spread = np.std(prior["alpha"].values)
    assert spread == pytest.approx(fit.design.term("alpha").width, rel=0.12)
