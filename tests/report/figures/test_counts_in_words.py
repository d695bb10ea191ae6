"""Sentences under figures count what they speak of."""

import numpy as np
import polars as pl

import divergence as dv
from divergence.report.figures import costs
from divergence.report.words import of_them


def test_counts_of_some():
    assert [of_them(n) for n in (0, 1, 2, 1204)] == ["none", "one", "two", "1,204"]


def test_the_dearest_is_that_of_those_whose_cost_is_known():
    rows = pl.DataFrame({"model": ["a", "a", "z", "z"], "context": ["c", "d", "c", "d"], "regime": "deployment"})
    draws = np.random.default_rng(0).normal([0.03, 0.02, np.nan, np.nan], 0.001, (400, 4))
    reason = (None, None, "z has no success in c", "z has no success in d")
    answer = dv.Estimate("cost_per_success", "", "usd", rows, draws, reason=reason)
    told = costs.sentence(answer)
    assert told.startswith("Of two combinations whose cost of a success is known (2 have none) the dearest is a in c")
    known = answer.where(model="a")
    assert costs.sentence(known).startswith("Of two combinations the dearest is a in c")
