"""A log's further outcomes stand beside its primary one, and never in its way."""

import polars as pl
import pytest

import divergence as dv
from divergence.joint.outcomes import fit_outcomes
from divergence.simulate import simulate, world


@pytest.fixture(scope="module")
def log():
    rows, _ = simulate(world("baseline", n_models=3, n_contexts=3, n_items=40), 1)
    seconds = 1 + (pl.int_range(pl.len()).hash(1) % 1000) / 250 + 2.0 * (pl.col("context") == "context-1")
    return rows.with_columns(latency_s=seconds, cost_usd=pl.lit(0.001), output_tokens=pl.lit(0))


def test_primary_first_then_what_the_log_has(log):
    steps = []
    posterior = fit_outcomes(dv.read(log), seed=3, progress=steps.append)
    assert [fit.cells.outcome for fit in posterior.fits] == ["score", "latency_s"]
    assert steps[-1] == "fitting cost_usd"  # output tokens are all 0: there is nothing to fit, nor to say
    assert any(note.startswith("cost_usd is not fitted: all values") for note in posterior.fits[0].cells.notes)
    alone = dv.fit(dv.collapse(dv.read(log)), seed=3)
    assert (dv.gap(posterior).draws == dv.gap(alone).draws).all()
    assert dv.gap(posterior, outcome="latency_s").to_frame()["unit"].unique().to_list() == ["s"]


def test_a_shape_outcome_can_be_the_primary_one(log):
    rows = log.drop("cost_usd", "output_tokens")
    posterior = fit_outcomes(dv.read(rows, configuration=dv.Configuration(outcome="latency_s")))
    assert [fit.cells.outcome for fit in posterior.fits] == ["latency_s"]


def test_a_constant_time_is_a_sentence(log):
    with pytest.raises(dv.InputError, match="all values of cost_usd are the same"):
        dv.fit(dv.collapse(dv.read(log), outcome="cost_usd"))
