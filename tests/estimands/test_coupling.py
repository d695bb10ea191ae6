"""The coupling against loops; its components add up; where it has no number."""

import numpy as np
import polars as pl

import divergence as dv
from divergence.estimands.coupling import components
from divergence.joint import levels
from divergence.simulate import simulate, world

"""The coupling against loops; its components add up; where it has no number."""


def _posterior_of(log, **options):
    return dv.fit(dv.collapse(dv.read(log, **options)), seed=0)


def _small_log(kind="baseline", **sizes):
    return simulate(world(kind, **({"n_models": 3, "n_contexts": 2, "n_items": 40} | sizes)), 2)[0]


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


def test_models_that_share_no_two_contexts():
    log = _small_log(n_contexts=3).filter(
        (pl.col("regime") == "evaluation")
        | (pl.col("context").str.slice(-1) == (pl.col("model").str.slice(-1).cast(int) + 1).cast(pl.String))
    )
    posterior = _posterior_of(log)
    assert not dv.coupling(posterior).identified
    assert not dv.kappa(posterior).identified
