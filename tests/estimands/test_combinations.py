"""Draws of every combination of model and context: against loops, and what lacks the data."""

import numpy as np
import polars as pl
import pytest
from plain_logs import timed_and_priced

import divergence as dv
from divergence.cells.random_blocks import block_sums, block_weights
from divergence.estimands.combinations import BLOCKS_MIN, combinations, couple
from divergence.joint import levels

REGION = {
    "quality_min": 0.5,
    "bench_gap_max": 0.1,
    "latency_p95_max_s": 3.0,
    "cost_per_success_max_usd": 0.03,
    "excess_flips_max": 0.1,
}


def _fit(log, **options):
    return dv.fit(dv.collapse(dv.read(log, **options)), seed=0)


@pytest.fixture(scope="module")
def posterior():
    return _fit(timed_and_priced())


def _row(estimate, model, context, statistic=None):
    return estimate.where(model=model, context=context, statistic=statistic)


def test_coupling_keeps_the_draws_and_hands_on_the_dependence():
    """Two normal laws with correlation r: after coupling, values and the other draws have r, and residuals stay joint."""
    rng, n = np.random.default_rng(1), 20_000
    for r in (-0.9, 0.0, 0.6):
        own, other, shared = rng.standard_normal((3, n))
        values = r * own + np.sqrt(1 - r**2) * shared
        found = couple(values, own, other)
        assert np.array_equal(np.sort(found), np.sort(values))
        # The correlation of 20,000 pairs has a standard error below .0071.
        assert np.corrcoef(found, other)[0, 1] == pytest.approx(r, abs=0.03)
        assert np.corrcoef(found, shared)[0, 1] == pytest.approx(np.sqrt(1 - r**2), abs=0.03)
    assert couple(values, np.ones(n), other) is values
    assert np.array_equal(couple(values, own, own), values)  # the same draws: nothing to change


def test_draws_against_loops(posterior):
    """Level, gap and mean spend of one combination by plain sums; the region is the product of indicators."""
    fit = posterior.fits[0]
    found = combinations(fit, ("quality", "gap", "latency", "cost", "flips"))
    mu, bench = levels(fit, "deployment"), levels(fit, "evaluation").mean()
    weight = block_weights(len(fit.effects), fit.seed)
    sums = block_sums(fit.cells, "cost_usd", "deployment")
    for k, target in enumerate(found.targets):
        quality = sum(target.weights[c] * mu.draws[:, target.model, c] for c in range(3))
        assert found.draws["quality"][:, k] == pytest.approx(quality)
        assert found.draws["gap"][:, k] == pytest.approx(np.abs(quality - bench[:, target.model]))
        spend = np.zeros(len(weight))
        for c, name in enumerate(mu.contexts):
            place = fit.cells.levels["context"].index(name)
            rows, spent = sums.n[:, target.model, place], sums.y[:, target.model, place]
            spend += target.weights[c] * (weight @ spent) / (weight @ rows)
        assert np.sort(found.draws["cost"][:, k] * quality) == pytest.approx(np.sort(spend))
    answer = dv.coherence(posterior, acceptance=REGION)
    for model, context in (("model-0", "context-1"), ("model-2", "context-3"), ("model-1", None)):
        product = np.ones(len(fit.effects))
        for bound in REGION:
            product *= _row(answer, model, context, bound).draws[:, 0]
        assert np.array_equal(product, _row(answer, model, context).draws[:, 0])


def test_some_combinations_lack_the_data():
    log = timed_and_priced(n_models=2).with_columns(latency_s=pl.when(pl.col("context") != "context-2").then("latency_s"))
    few = pl.col("item").str.extract(r"(\d+)").cast(int) < BLOCKS_MIN - 2
    log = log.with_columns(cost_usd=pl.when((pl.col("context") != "context-3") | few).then("cost_usd"))
    answer = dv.coherence(_fit(log), acceptance=REGION)
    assert _row(answer, "model-0", "context-1").identified
    assert _row(answer, "model-0", "context-2").reasons == ("no row of this combination has latency_s",)
    assert f"its uncertainty needs {BLOCKS_MIN}" in _row(answer, "model-0", "context-3").reasons[0]
    best = dv.best_combination(_fit(log), acceptance=REGION)
    assert best.where(model="model-0", context="context-2").reasons == ("no row of this combination has latency_s",)
