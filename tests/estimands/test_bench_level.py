"""The bench level is the mean of the evaluation contexts under their law, and is refused without evaluation rows."""

import numpy as np
import polars as pl

import divergence as dv
from divergence.joint import levels


def test_levels_against_loops(waves_posterior):
    mu = levels(waves_posterior.fits[0], "evaluation")
    found = dv.bench_level(waves_posterior)
    for m, name in enumerate(mu.models):
        mean = sum(w * v for w, v in zip(mu.law[m], mu.draws[5, m], strict=True))
        assert np.isclose(found.where(model=name).draws[5, 0], mean, rtol=1e-12)
    assert found.rows["regime"].unique().to_list() == ["evaluation"]


def test_without_evaluation_rows_there_is_none(waves_world):
    traffic = waves_world[0].filter(pl.col("regime") == "deployment")
    found = dv.bench_level(dv.fit(dv.collapse(dv.read(traffic)), seed=0))
    assert found.reasons == ("It needs judged evaluation rows; this log has 0 (and 3840 of deployment).",)
