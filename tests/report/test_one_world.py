"""The first screen of a log of one regime begins with what it can say."""

import dataclasses

import numpy as np
import polars as pl
import pytest

import divergence as dv
from divergence.report.decision import decide
from divergence.results import answer_all


def decided(rates, items=200, seed=0, **columns):
    """`rates` maps (regime, model, context) to a rate."""
    random = np.random.default_rng(seed)
    rows = [
        {"regime": r, "model": m, "context": c, "item": f"i{i}", "score": float(random.random() < p)}
        for (r, m, c), p in rates.items()
        for i in range(items)
    ]
    return dv.fit(dv.collapse(dv.read(pl.DataFrame([row | columns for row in rows]))), seed=0)


@pytest.fixture
def shown(content):
    """The decision on the page of a posterior's own answers."""

    def run(posterior):
        return decide(dataclasses.replace(content, estimates=answer_all(posterior), refusals=()))

    return run


@pytest.mark.parametrize(("regime", "where"), [("evaluation", "on the bench"), ("deployment", "in deployment")])
def test_who_is_first_and_how_sure(shown, regime, where):
    clear = shown(decided({(regime, "A", "c"): 0.9, (regime, "B", "c"): 0.6, (regime, "C", "c"): 0.3}))
    assert clear.headline.startswith(f"A is first {where} (more than 99%): ")
    assert clear.sentences[0].startswith("A lies above B with more than 99%; of two pairs of neighbours two are settled")
    assert clear.sentences[-1].startswith("How the bench carries over to deployment is not in this log: it needs judged")
    tied = shown(decided({(regime, m, "c"): 0.6 for m in "ABC"}, items=40))
    assert tied.headline.startswith(f"Who is first {where} is not settled") or "%)" in tied.headline


def test_contexts_that_differ_and_those_that_do_not(shown):
    broken = {("deployment", "m", c): 0.2 if c == "x" else 0.7 for c in ("a", "b", "x")}
    told = shown(decided(broken))
    assert told.headline.startswith("m reaches ") and "differ beyond chance" in told.sentences[0]
    assert "Without x the others cannot be told apart" in told.sentences[0]
    alike = shown(decided({key: 0.7 for key in broken}, seed=3))
    assert "cannot be told apart (chi-square" in alike.sentences[0]
    assert alike.sentences[0].startswith("Tested together at 5%, its three contexts ")
    assert "with two degrees of freedom" in alike.sentences[0]


def test_the_number_of_models_whose_contexts_differ(shown):
    rates = {("deployment", m, c): (0.2 if c == "x" and m == "A" else 0.7) for m in "ABC" for c in ("a", "b", "x")}
    told = shown(decided(rates))
    assert any(s.startswith("Contexts differ beyond chance for one of three models; for example A") for s in told.sentences)
