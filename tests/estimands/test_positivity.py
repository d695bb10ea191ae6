"""Where every level could have been served, and how contexts were assigned."""

import numpy as np
import polars as pl
import pytest

import divergence as dv
from divergence.simulate import simulate, world


def _posterior(log):
    return dv.fit(dv.collapse(dv.read(log)), seed=0)


def _log(**sizes):
    return simulate(world("baseline", **({"n_models": 3, "n_contexts": 6, "n_items": 40} | sizes)), 3)[0]


@pytest.fixture(scope="module")
def log():
    """Three models in six contexts that cross three quantizations with two types of cache, all at concurrency 8."""
    return _log()


@pytest.fixture(scope="module")
def posterior(log):
    return _posterior(log)


def test_cause_only_where_contexts_were_replayed_or_routed_by_known_chances(log, posterior):
    assert dv.serving_effect(posterior).method.endswith("causal reading: the same items were replayed in every context")
    split = log.filter(
        (pl.col("regime") == "evaluation")
        | (pl.col("item").str.slice(5).cast(int) % 6 == pl.col("context").str.slice(-1).str.to_integer(strict=False) - 1)
    )
    routed = dv.serving_effect(_posterior(split))
    assert "association" in routed.method
    share = routed.where(statistic="positivity", factor="quantization").draws[0]
    assert share == pytest.approx(np.full(3, 1 / 3), abs=0.05)  # each item met one context of six, two for each level
    chance = dv.serving_effect(_posterior(split.with_columns(probability=pl.lit(1 / 6))))
    assert chance.method.endswith("causal reading: rows were routed with logged chances")
    assert (dv.serving_effect(posterior).where(statistic="positivity", factor="quantization").draws == 1).all()
