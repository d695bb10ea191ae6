"""What must hold between estimands, draw by draw, whatever the data."""

import numpy as np

import divergence as dv
from divergence.estimands.coupling import components
from divergence.joint import levels


def test_gap_is_the_difference_of_levels(waves_posterior):
    gap = dv.gap(waves_posterior).where(statistic=None).draws
    np.testing.assert_allclose(
        gap, dv.deployed_level(waves_posterior).draws - dv.bench_level(waves_posterior).draws, atol=1e-12
    )
    np.testing.assert_array_equal(gap, -dv.evaluation_advantage(waves_posterior).where(statistic=None).draws)


def test_components_add_up_to_the_variance_of_levels(waves_posterior):
    mu = levels(waves_posterior.fits[0], "deployment", "uniform")
    total = mu.draws.reshape(len(mu.draws), -1).var(1)
    np.testing.assert_allclose(sum(components(mu).values()), total, rtol=1e-10)


def test_coupling_against_loops(waves_posterior):
    mu = levels(waves_posterior.fits[0], "deployment")
    table, law = mu.draws[7], mu.law.mean(0)
    models = [sum(w * v for w, v in zip(law, row, strict=True)) for row in table]
    columns = [np.mean([row[c] for row in table]) for c in range(len(law))]
    grand = np.mean(models)
    s2_m = np.mean([(m - grand) ** 2 for m in models])
    s2_mc = np.mean(
        [
            sum(w * (row[c] - m - columns[c] + grand) ** 2 for c, w in enumerate(law))
            for row, m in zip(table, models, strict=True)
        ]
    )
    assert dv.coupling(waves_posterior).draws[7, 0] == np.float64(s2_mc / (s2_m + s2_mc)).round(15) or np.isclose(
        dv.coupling(waves_posterior).draws[7, 0], s2_mc / (s2_m + s2_mc), rtol=1e-10
    )


def test_kappa_against_loops(waves_posterior):
    mu = levels(waves_posterior.fits[0], "deployment")
    row, law = mu.draws[3, 1], mu.law[1]
    mean = sum(w * v for w, v in zip(law, row, strict=True))
    variance = sum(w * (v - mean) ** 2 for w, v in zip(law, row, strict=True))
    assert np.isclose(dv.kappa(waves_posterior).draws[3, 1], np.sqrt(variance), rtol=1e-10)


def test_context_effects_average_to_the_gap(waves_posterior):
    effect = dv.context_effect(waves_posterior).where(statistic=None, model="model-0")
    law = levels(waves_posterior.fits[0], "deployment").law[0]
    np.testing.assert_allclose(effect.draws @ law, dv.gap(waves_posterior).draws[:, 0], atol=1e-12)


def test_contrasts_are_antisymmetric_sums(waves_posterior):
    contrast = dv.context_effect(waves_posterior).where(statistic="contrast")
    pair = {(a, b): contrast.draws[:, k] for k, (a, b) in enumerate(contrast.rows.select("context", "context_b").rows())}
    np.testing.assert_allclose(
        pair["context-1", "context-2"] + pair["context-2", "context-3"], pair["context-1", "context-3"], atol=1e-12
    )


def test_a_pair_keeps_or_reverses(waves_posterior):
    reversal = dv.reversal(waves_posterior).where(statistic=None)
    assert set(np.unique(reversal.draws)) <= {0.0, 1.0}
    assert reversal.rows.height == 6
    b, d = dv.bench_level(waves_posterior).draws, dv.deployed_level(waves_posterior).draws
    flipped = np.mean((b[:, 0] > b[:, 1]) != (d[:, 0] > d[:, 1]))
    assert reversal.to_frame()["mean"][0] == flipped


def test_waves_sum_to_zero(waves_posterior):
    np.testing.assert_allclose(dv.instrument(waves_posterior).draws.sum(1), 0, atol=1e-12)


def test_a_declared_law_is_a_mixture(waves_posterior):
    half = dv.deployed_level(waves_posterior, law={"context-1": 0.5, "context-2": 0.5}).draws
    alone = [dv.deployed_level(waves_posterior, law={c: 1.0}).draws for c in ("context-1", "context-2")]
    np.testing.assert_allclose(half, (alone[0] + alone[1]) / 2, atol=1e-12)
