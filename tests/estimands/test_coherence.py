"""Coherence against loops and known laws; what is missing is refused by name; a region nothing meets is said."""

import numpy as np
import polars as pl
import pytest
from plain_logs import timed_and_priced

import divergence as dv
from divergence.estimands.coherence import BOUNDS
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


def test_one_bound_is_the_share_of_the_levels(posterior):
    answer = dv.coherence(posterior, acceptance={"quality_min": 0.55})
    mu = levels(posterior.fits[0], "deployment")
    for m, c in np.ndindex(3, 3):
        found = _row(answer, mu.models[m], mu.contexts[c]).draws.mean()
        assert found == (mu.draws[:, m, c] >= 0.55).mean()
    weaker = dv.coherence(posterior, acceptance={"quality_min": 0.5})
    assert (weaker.where(statistic=None).draws >= answer.where(statistic=None).draws).all()


def test_failures_that_cost_more_make_the_region_more_than_its_sides(posterior):
    """Level and cost per success hang together: the joint probability lies above the product of the two."""
    values = dv.coherence(posterior, acceptance=REGION)
    quality, cost = (_row(values, "model-0", "context-1", s).draws[:, 0] for s in ("quality", "cost_per_success"))
    at = dict(quality_min=float(np.median(quality)), cost_per_success_max_usd=float(np.median(cost)))
    both = _row(dv.coherence(posterior, acceptance=at), "model-0", "context-1").draws.mean()
    assert both > 0.33  # independent: .25


def test_without_thresholds_there_is_no_number(posterior):
    for nothing in (None, {}, {"quality_min": None}):
        answer = dv.coherence(posterior, acceptance=nothing)
        assert not answer.identified and "[acceptance]" in answer.reasons[0]
        assert answer.to_frame()["mean"].null_count() == 1


@pytest.mark.parametrize(
    ("bound", "column", "words"),
    [("latency_p95_max_s", "latency_s", "latency_s"), ("cost_per_success_max_usd", "cost_usd", "a cost")],
)
def test_a_bound_whose_data_the_log_lacks_refuses_the_combination(bound, column, words):
    fitted = _fit(timed_and_priced().drop(column))
    answer = dv.coherence(fitted, acceptance={"quality_min": 0.5, bound: 1.0})
    assert not answer.where(statistic=None).identified
    assert all(words in reason for reason in answer.where(statistic=None).reasons)
    assert answer.where(statistic="quality_min").identified  # that side is known all the same


def test_one_replicate_refuses_flips_and_no_bench_refuses_the_gap():
    single = dv.coherence(_fit(timed_and_priced(n_trials=1)), acceptance={"excess_flips_max": 0.1}).where(statistic=None)
    assert not single.identified and "two replicates" in single.reasons[0]
    alone = _fit(timed_and_priced().filter(pl.col("regime") == "deployment"))
    answer = dv.coherence(alone, acceptance={"bench_gap_max": 0.1}).where(statistic=None)
    assert not answer.identified and "no evaluation rows" in answer.reasons[0]
    assert dv.coherence(alone, acceptance={"quality_min": 0.5}).identified


def test_flips_are_those_of_excess_flips(posterior):
    mine = dv.coherence(posterior, acceptance={"excess_flips_max": 0.1}).where(statistic="excess_flips")
    theirs = dv.excess_flips(posterior)
    for context in ("context-1", "context-3"):
        a = mine.where(model="model-1", context=context).draws[:, 0]
        b = theirs.where(model="model-1", context="bench", context_b=context, statistic=None).draws[:, 0]
        # Products of matrices of other sizes are summed in another order on some processors: 80 terms of at most 1.
        np.testing.assert_allclose(np.sort(a), np.sort(b), rtol=0, atol=80 * np.finfo(float).eps)


def test_misspelt_and_meaningless_bounds(posterior):
    with pytest.raises(dv.InputError, match=r"'quality_mim' is no requirement \(did you mean quality_min\?\)"):
        dv.coherence(posterior, acceptance={"quality_mim": 0.5})
    with pytest.raises(dv.InputError, match="quality_min is a number, seen 'high'"):
        dv.best_combination(posterior, acceptance={"quality_min": "high"})
    with pytest.raises(dv.InputError, match="known are " + ", ".join(BOUNDS)):
        dv.coherence(posterior, acceptance={"x": 1})


def test_prices_in_another_currency_do_not_meet_a_bound_in_dollars():
    log = timed_and_priced(n_models=2).drop("cost_usd").with_columns(input_tokens=pl.lit(100), output_tokens=pl.lit(10))
    price = {m: {"input": 1.0, "output": 2.0} for m in ("model-0", "model-1")}
    fitted = _fit(log)
    answer = dv.coherence(fitted, acceptance={"cost_per_success_max_usd": 1.0}, prices=price, currency="EUR")
    answer = answer.where(statistic=None)
    assert not answer.identified and "EUR" in answer.reasons[0]
    found = dv.coherence(fitted, acceptance={"cost_per_success_max_usd": 1.0}, prices=price)
    cost = _row(found, "model-0", "context-1", "cost_per_success").draws[:, 0]
    mu = levels(fitted.fits[0], "deployment").draws[:, 0, 0]
    assert cost * mu == pytest.approx(np.full(len(mu), 120e-6))
