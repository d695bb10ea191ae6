"""Costs that are mostly 0, and times of one context in another unit."""

import numpy as np
import polars as pl
import pytest

import divergence as dv
from divergence.executions import read
from divergence.identification.audit import audit


def log(number=100, seed=0, **columns):
    """Two models in three contexts, the bench first; columns are functions of a row."""
    random = np.random.default_rng(seed)
    rows = [
        {"regime": "deployment" if k else "evaluation", "context": c, "model": m, "item": f"i{i}"}
        | {"score": float(random.random() < 0.7), "u": random.gamma(4, 0.25)}
        for k, c in enumerate(("bench", "web", "app"))
        for m in "AB"
        for i in range(number)
    ]
    made = [row | {name: make(row) for name, make in columns.items()} for row in rows]
    return pl.DataFrame(made, infer_schema_length=None).drop("u")


def said(frame, name, **table):
    found = audit(read(frame, configuration=dv.Configuration.from_table(table)).design)
    return [finding.sentence for finding in found if finding.name == name]


def zero(share, model="B", context="web"):
    def cost(row):
        mine = row["model"] == model and row["context"] == context and int(row["item"][1:]) < 100 * share
        return 0.0 if mine else 0.01 * row["u"]

    return cost


@pytest.mark.parametrize(("share", "times"), [(0.97, 33), (0.5, 2), (0.8, 5)])
def test_costs_that_are_mostly_zero_are_said(share, times):
    (told,) = said(log(cost_usd=zero(share)), "in_the_rows")
    assert told.startswith(f"Of the 100 costs of B in web (deployment) {share:.1%} are 0, of all others 0%")
    assert f"is {times} times as large" in told and len(told) <= 300
    assert said(log(cost_usd=zero(share)), "in_the_rows", zero_cost="free") == []


@pytest.mark.parametrize("share", [0.0, 0.2, 1.0])
def test_few_zeros_and_nothing_but_zeros_are_no_such_finding(share):
    frame = log(cost_usd=zero(share))
    assert said(frame, "in_the_rows") == []
    assert bool(said(frame, "unmetered")) == (share == 1.0)


@pytest.mark.parametrize(
    ("column", "places"), [("latency_s", {"web"}), ("latency_s", {"bench", "app"}), ("ttft_s", {"app"})]
)
def test_times_of_some_contexts_in_milliseconds_are_said(column, places):
    (told,) = said(log(**{column: lambda row: row["u"] * (1000 if row["context"] in places else 1)}), "times_disagree")
    assert f"{column} of A is" in told or f"{column} is" in told
    assert any(place in told for place in places) and len(told) <= 300


@pytest.mark.parametrize("factor", [1, 40])
def test_slow_contexts_and_slow_models_are_no_other_unit(factor):
    slow = log(latency_s=lambda row: row["u"] * (factor if row["context"] == "app" else 1))
    assert said(slow, "times_disagree") == []
    assert said(log(latency_s=lambda row: row["u"] * (1000 if row["model"] == "B" else 1)), "times_disagree") == []
