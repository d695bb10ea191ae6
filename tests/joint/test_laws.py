"""The logged law over contexts: common to models that can be compared there, and to no others."""

import numpy as np
import polars as pl
import pytest

import divergence as dv
from divergence.joint.laws import law_weights


def log(pairs, items=200, seed=1):
    """`pairs` are (regime, model, context, rate)."""
    random = np.random.default_rng(seed)
    return pl.DataFrame(
        [
            {"regime": r, "model": m, "context": c, "item": f"i{i}", "score": float(random.random() < p)}
            for r, m, c, p in pairs
            for i in range(items)
        ]
    )


@pytest.mark.parametrize(("regime", "rates"), [("evaluation", (0.8, 0.6)), ("deployment", (0.3, 0.9))])
def test_each_model_in_a_context_of_its_own_keeps_to_it(regime, rates):
    pairs = [(regime, m, c, p) for m, c, p in zip("AB", ("strong", "weak"), rates, strict=True)]
    posterior = dv.fit(dv.collapse(dv.read(log(pairs, 1000))), seed=0)
    found = (dv.bench_level if regime == "evaluation" else dv.deployed_level)(posterior).to_frame()
    for row, rate in zip(found.iter_rows(named=True), rates, strict=True):
        width = 1.645 * np.sqrt(rate * (1 - rate) / 1000)
        assert abs(row["median"] - rate) < 3 * width and (row["upper"] - row["lower"]) / 2 < 1.5 * width


def test_a_chain_of_models_links_contexts():
    """B ran in both contexts: what y does is known from it, and A's level there is predicted."""
    pairs = [("deployment", "A", "x", 0.7), ("deployment", "B", "x", 0.6), ("deployment", "B", "y", 0.5)]
    posterior = dv.fit(dv.collapse(dv.read(log(pairs))), seed=0)
    weights = law_weights(posterior[None], "deployment", "logged")
    np.testing.assert_allclose(weights, [[2 / 3, 1 / 3]] * 2)


def test_a_shared_bench_links_deployment_contexts():
    pairs = [(r, m, c, 0.6) for m in "AB" for r, c in (("evaluation", "bench"), ("deployment", m.lower()))]
    posterior = dv.fit(dv.collapse(dv.read(log(pairs))), seed=0)
    np.testing.assert_allclose(law_weights(posterior[None], "deployment", "logged"), 0.5)


def test_a_declared_law_is_as_declared_all_the_same():
    pairs = [("deployment", "A", "x", 0.7), ("deployment", "B", "y", 0.6)]
    posterior = dv.fit(dv.collapse(dv.read(log(pairs))), seed=0)
    weights = law_weights(posterior[None], "deployment", {"x": 0.25, "y": 0.75})
    np.testing.assert_allclose(weights, [[0.25, 0.75]] * 2)
