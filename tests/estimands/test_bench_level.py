"""The bench level is the mean of the evaluation contexts under their law, and is refused without evaluation rows."""

import numpy as np
import polars as pl
import pytest

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


@pytest.mark.parametrize(("scores", "n"), [((0.0, 1.0), None), ((0.25, 0.7), None), ((0.25, 0.7), 40)])
def test_a_level_of_scores_of_any_kind_is_a_share_and_a_difference_is_none(scores, n):
    rows = [
        {"regime": regime, "model": m, "context": regime[0], "item": f"i{k}", "score": scores[(k + len(m)) % 2]}
        | ({} if n is None else {"score_n": n})
        for regime in ("evaluation", "deployment")
        for m in ("a", "bb")
        for k in range(30)
    ]
    posterior = dv.fit(dv.collapse(dv.read(pl.DataFrame(rows))), seed=0)
    for question in (dv.bench_level, dv.deployed_level):
        assert set(question(posterior).to_frame().filter("identified")["unit"]) == {"probability"}
    assert set(dv.gap(posterior).to_frame().filter("identified", pl.col("statistic").is_null())["unit"]) == {"fraction"}
