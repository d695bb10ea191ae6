"""What serving factors do: shares over orders by brute force, contrasts of matched contexts, what may be called a cause."""

import sys

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


def _posterior_of(log, **options):
    return dv.fit(dv.collapse(dv.read(log, **options)), seed=0)


def _small_log(kind="baseline", **sizes):
    return simulate(world(kind, **({"n_models": 3, "n_contexts": 2, "n_items": 40} | sizes)), 2)[0]


def test_interactions_are_what_is_left_of_the_mean(posterior):
    effect = dv.serving_effect(posterior).where(factor="quantization", level="q4_0")
    over = effect.where(model=None, statistic=None).draws[:, 0]
    for model in ("model-0", "model-2"):
        own = effect.where(model=model, statistic=None).draws[:, 0]
        np.testing.assert_allclose(effect.where(model=model, statistic="interaction").draws[:, 0], own - over, atol=1e-12)
    inter = effect.where(statistic="interaction").draws
    np.testing.assert_allclose(inter.sum(1), 0, atol=1e-12)


def test_shares_and_the_rest_add_up_and_lie_in_their_range(posterior):
    effect = dv.serving_effect(posterior)
    share = effect.where(statistic="variance_share").draws
    left = effect.where(statistic="variance_share_left").draws[:, 0]
    np.testing.assert_allclose(share.sum(1) + left, 1, atol=1e-9)
    assert (effect.where(statistic="variance_share_lowest").draws <= share + 1e-12).all()
    assert (effect.where(statistic="variance_share_highest").draws >= share - 1e-12).all()
    assert set(effect.where(statistic="variance_share").rows["factor"]) == {"quantization", "kv_cache_dtype"}


def test_aliased_factors_have_a_range_and_no_number(log):
    twin = log.with_columns(engine=pl.concat_str(pl.lit("e-"), "quantization"))
    effect = dv.serving_effect(_posterior(twin))
    for factor in ("engine", "quantization"):
        table = effect.where(factor=factor).to_frame()
        share = table.filter(statistic="variance_share")
        assert share["mean"].null_count() == 1 and not share["identified"][0]
        limits = [table.filter(statistic=f"variance_share_{end}").row(0, named=True) for end in ("lowest", "highest")]
        assert limits[0]["mean"] == 0 and 0 < limits[1]["mean"] <= 1 and not limits[1]["identified"]
    both = effect.where(factor="engine + quantization", statistic=None, model=None)
    assert set(both.rows["level"]) == {"e-q8_0 + q8_0", "e-q4_0 + q4_0"}
    assert both.rows["axis"][0] == "against e-f16 + f16"
    assert effect.where(factor="engine + quantization", statistic="variance_share").identified


def test_asked_pairs(posterior):
    asked = dv.serving_effect(posterior, pairs=[("kv_cache_dtype", "quantization")])
    assert asked.where(statistic="pair").rows.height == 2
    with pytest.raises(dv.InputError, match=r"'engine', which does not vary in this log; choose from .*quantization"):
        dv.serving_effect(posterior, pairs=[("engine", "quantization")])
    uncrossed = dv.serving_effect(posterior, pairs=[("concurrency", "quantization")]).where(statistic="pair")
    assert not uncrossed.identified and "no four comparable contexts cross" in uncrossed.reasons[0]


def test_one_factor_at_a_time_is_said_to_be_wide():
    """Every context changes one factor of the bench: the effect shares with the residual, the contrast does not."""
    log = _log(n_contexts=4, n_items=80).filter(pl.col("context").is_in(["bench", "context-1", "context-2", "context-4"]))
    log = log.with_columns(concurrency=pl.when(pl.col("context") == "context-1").then(pl.lit("8")).otherwise(pl.lit("1")))
    effect = dv.serving_effect(_posterior(log))
    assert "as many effects as contexts" in effect.text and "matched contrasts" in effect.text
    for factor in ("quantization", "kv_cache_dtype"):
        parts = [effect.where(factor=factor, model=None, statistic=s) for s in (None, "matched")]
        wide, narrow = (np.ptp(part.interval()[0]) for part in parts)
        assert narrow < 0.8 * wide, factor


def test_shape_as_well_as_accuracy(log):
    """The same question about latency, in seconds: a cache type that takes half as long again."""
    slow = log.with_columns(
        latency_s=pl.when(pl.col("kv_cache_dtype") == "q4_0").then(3.0).otherwise(2.0) * (1 + 0.2 * pl.col("score"))
    )
    read = dv.read(slow)
    posterior = dv.fit([dv.collapse(read), dv.collapse(read, outcome="latency_s")], seed=0)
    answer = dv.serving_effect(posterior, outcome="latency_s")
    effect = answer.where(factor="kv_cache_dtype", level="q4_0", model=None, statistic=None)
    assert effect.rows["unit"][0] == "s"
    lower, upper = effect.interval(0.99)[0]
    assert 0.5 < lower <= 1 + 0.2 * slow["score"].mean() <= upper


def test_a_model_that_was_not_served_has_no_effect_of_its_own(log):
    """Its own effect would be the joint model's prior around the others'."""
    bench_only = log.filter(~((pl.col("model") == "model-1") & (pl.col("regime") == "deployment")))
    answer = dv.serving_effect(_posterior(bench_only))
    for statistic in (None, "interaction"):
        own = answer.where(factor="quantization", model="model-1", statistic=statistic)
        assert len(own.reasons) and not np.isfinite(own.draws).any() and all("no judged rows" in r for r in own.reason)
        assert np.isfinite(answer.where(factor="quantization", model="model-0", statistic=statistic).draws).all()


def test_aliased_factors():
    log = (
        _small_log()
        .drop("kv_cache_dtype", "concurrency", "quantization")
        .with_columns(engine=pl.col("context"), sampler=pl.concat_str(pl.lit("s"), pl.col("context")))
    )
    effect = dv.serving_effect(_posterior_of(log))
    for factor in ("engine", "sampler"):
        assert not effect.where(factor=factor, statistic=None).identified
        assert not effect.where(factor=factor, statistic="variance_share").identified
    assert "only together with" in effect.reasons[0]
    together = effect.where(factor="engine + sampler", model=None, statistic=None)
    assert together.identified and set(together.rows["level"]) == {"context-1 + scontext-1", "context-2 + scontext-2"}


def test_a_factor_that_is_the_regime():
    log = (
        _small_log()
        .drop("kv_cache_dtype", "concurrency", "quantization", "context")
        .with_columns(engine=pl.col("regime"), sampler=pl.concat_str(pl.lit("s"), (pl.col("trial") % 2).cast(pl.String)))
    )
    effect = dv.serving_effect(_posterior_of(log))
    assert not effect.where(factor="engine", statistic=None).identified
    assert effect.where(factor="sampler", statistic=None).identified


def test_a_models_own_effect_of_a_context():
    """With the label alone known, a model's serving effect is its context effect, draw by draw."""
    log = _small_log().select("regime", "model", "item", "context", "trial", "score")
    posterior = _posterior_of(log)
    own = dv.serving_effect(posterior).where(model="model-1", level="context-2", statistic=None).draws
    effect = dv.context_effect(posterior).where(model="model-1", context="context-2", statistic=None).draws
    assert abs(own - effect).max() < 1e-9


def test_levels_that_a_model_was_not_tried_at_are_one_row_where_there_are_many(monkeypatch):
    """Three models, each in two of six labels: one refused row a model and statistic, and the same numbers."""
    log = _log(n_models=3, n_contexts=6)
    kept = pl.col("context").is_in([f"context-{k}" for k in (1, 2)]) & (pl.col("model") == "model-0")
    kept |= pl.col("context").is_in([f"context-{k}" for k in (2, 3)]) & (pl.col("model") != "model-0")
    few = log.filter(kept | (pl.col("regime") == "evaluation")).select("regime", "model", "context", "item", "score")
    posterior = _posterior(few)
    each = dv.serving_effect(posterior).to_frame()
    monkeypatch.setattr(sys.modules["divergence.estimands.serving_effect"], "UNTRIED_MAX", 0)
    folded = dv.serving_effect(posterior).to_frame()
    assert folded.filter("identified").equals(each.filter("identified"))
    untried = each.filter(~pl.col("identified"), pl.col("model").is_not_null())
    rest = folded.filter(~pl.col("identified"), pl.col("model").is_not_null())
    assert untried.height == 6 and rest.height == 6 and rest["level"].null_count() == 6
    assert all("at 1 of the 3 levels of context" in reason for reason in rest["reason"])
