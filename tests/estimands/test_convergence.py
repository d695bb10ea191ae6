"""The spread of true levels at the top: known spreads are held, none is said, the noise comes from the items."""

import numpy as np
import polars as pl
import pytest

import divergence as dv
from divergence.estimands.convergence import NOT_DISTINGUISHABLE, Suite, p_alike, spread, suites
from divergence.simulate import simulate, world


def _drawn(rng, models, sd, noise, tail=0):
    """Suites with normal true levels, and `tail` far weaker ones."""
    true = np.concatenate([rng.normal(0.7, sd, models), rng.uniform(0.2, 0.5, tail)])
    seen = true + rng.normal(0, noise, len(true))
    order = np.argsort(-seen)
    return true[order], Suite(None, seen[order], np.full(len(true), noise**2))


@pytest.mark.parametrize(
    ("models", "k", "sd", "tail"), [(20, 20, 0.02, 0), (100, 20, 0.02, 0), (40, 10, 0.01, 60), (60, 20, 0.03, 0)]
)
def test_the_true_span_is_held(models, k, sd, tail):
    """400 suites, noise .012: 90 % intervals of the span and of the sd of the first k; sd of a share .015."""
    inside = np.zeros(2)
    for seed in range(400):
        rng = np.random.default_rng([seed, models, k])
        true, suite = _drawn(rng, models, sd, 0.012, tail)
        for place, (drawn, value) in enumerate(
            zip(spread(suite, k, 300, rng), (np.ptp(true[:k]), true[:k].std()), strict=True)
        ):
            low, high = np.quantile(drawn, [0.05, 0.95])
            inside[place] += low <= value <= high
    assert (np.abs(inside / 400 - 0.9) <= 0.04 + 0.015).all(), inside / 400


def test_equal_models_are_not_distinguishable_and_their_span_is_small():
    found, spans = [], []
    for seed in range(300):
        rng = np.random.default_rng([seed, 7])
        _, suite = _drawn(rng, 20, 0.0, 0.012)
        found.append(p_alike(suite.level, suite.variance) > NOT_DISTINGUISHABLE)
        spans.append((np.median(spread(suite, 20, 200, rng)[0]), np.ptp(suite.level)))
    assert np.mean(found) >= 0.95 - 3 * np.sqrt(0.05 * 0.95 / 300)
    assert np.mean(spans, 0)[0] < 0.75 * np.mean(spans, 0)[1]


def test_the_noise_of_shared_items_against_the_variance_of_differences():
    log, _ = simulate(world("baseline", n_models=5, n_contexts=2, n_items=90), 6)
    fit = dv.fit(dv.collapse(dv.read(log)), seed=0).fits[0]
    suite = suites(fit)[0]
    table = log.filter(regime="evaluation").group_by("model", "item").agg(pl.col("score").mean())
    wide = table.pivot(on="model", index="item", values="score").drop("item").to_numpy()
    pairs = [np.var(wide[:, i] - wide[:, j], ddof=1) / len(wide) for i in range(5) for j in range(i)]
    assert suite.variance.mean() == pytest.approx(np.mean(pairs) / 2, rel=1e-9)
    np.testing.assert_allclose(suite.level, np.sort(wide.mean(0))[::-1])


def test_rows_and_the_gap_beside_them(waves_posterior):
    found = dv.convergence(waves_posterior)
    span = found.where(statistic=None, level="4", task=None)
    sd = found.where(statistic="sd", level="4", task=None)
    assert span.rows.height == 1 and (span.draws >= 2 * sd.draws - 1e-12).all()
    observed = found.where(statistic="observed", level="4", task=None).draws[0, 0]
    assert observed > 0 and np.median(span.draws) < 1.6 * observed
    needed = found.where(statistic="needed").draws
    if needed.size:
        share = found.where(statistic="undecided", level="4").draws.mean()
        assert share == pytest.approx((span.draws < needed).mean())


def test_refusals():
    log, _ = simulate(world("baseline", n_models=2, n_contexts=2, n_items=40), 2)
    found = dv.convergence(dv.fit(dv.collapse(dv.read(log)), seed=0))
    assert "It needs three models on the bench; this log has 2." in found.reasons[0]
    deployed = dv.convergence(dv.fit(dv.collapse(dv.read(log.filter(regime="deployment"))), seed=0))
    assert "It needs judged evaluation rows" in deployed.reasons[0]
