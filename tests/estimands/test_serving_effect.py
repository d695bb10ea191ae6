"""What serving factors do: shares over orders by brute force, contrasts of matched contexts, what may be called a cause."""

import itertools

import numpy as np
import polars as pl
import pytest

import divergence as dv
from divergence.estimands.matched_contexts import contrast, crossed, matched
from divergence.estimands.variance_shares import alone, shares
from divergence.joint import levels
from divergence.simulate import simulate, world

RNG = np.random.default_rng(20260714)
LAW = np.array([0.4, 0.3, 0.2, 0.1])


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


def test_shares_against_all_orders():
    parts = RNG.standard_normal((5, 3, 4))
    level = parts.sum(1) + 7.0
    mean, least, most = shares(parts, level, LAW)
    for s in range(5):

        def variance(chosen, s=s):
            total = sum((parts[s, f] for f in chosen), np.zeros(4))
            return LAW @ (total - LAW @ total) ** 2

        gains = {f: [] for f in range(3)}
        for order in itertools.permutations(range(3)):
            for k, f in enumerate(order):
                gains[f].append((variance(order[: k + 1]) - variance(order[:k])) / variance(range(3)))
        for f, seen in gains.items():
            assert (mean[s, f], least[s, f], most[s, f]) == pytest.approx((np.mean(seen), min(seen), max(seen)))
    np.testing.assert_allclose(mean.sum(1), 1)


def test_what_a_factor_could_account_for_alone_is_an_r_squared():
    level, mixture = RNG.standard_normal((4, 4)), np.eye(3)[[0, 0, 1, 2]]
    for s, found in enumerate(alone(level, LAW, mixture)):
        fitted = np.array([np.average(level[s][mixture[:, k] == 1], weights=LAW[mixture[:, k] == 1]) for k in (0, 1, 2)])
        left = LAW @ (level[s] - mixture @ fitted) ** 2
        assert found == pytest.approx(1 - left / (LAW @ (level[s] - LAW @ level[s]) ** 2))


def test_matched_and_crossed_contexts_of_a_grid():
    engine, cache, other = np.eye(2)[[0, 0, 1, 1, 0]], np.eye(2)[[0, 1, 0, 1, 0]], np.eye(2)[[0, 0, 0, 0, 1]]
    mixtures = {"engine": engine, "cache": cache, "other": other}
    assert matched(mixtures, "engine", 1, 0) == [(2, 0), (3, 1)]
    assert matched(mixtures, "other", 1, 0) == [(4, 0)]
    assert crossed(mixtures, ("engine", "cache"), (1, 1), (0, 0)) == [(3, 2, 1, 0)]
    assert crossed(mixtures, ("engine", "other"), (1, 1), (0, 0)) == []
    level = np.array([[10.0, 13.0, 11.0, 19.0, 0.0]])
    assert contrast(level, matched(mixtures, "engine", 1, 0)) == pytest.approx((1 + 6) / 2)
    assert contrast(level, crossed(mixtures, ("engine", "cache"), (1, 1), (0, 0))) == pytest.approx(5)


def test_contrasts_are_those_of_the_levels(posterior):
    effect = dv.serving_effect(posterior)
    mu = levels(posterior.fits[0], "deployment").draws.mean(1)
    # context-1 .. 6: (f16, f16) (q8_0, f16) (q4_0, f16) (f16, q4_0) (q8_0, q4_0) (q4_0, q4_0)
    found = {
        (r["factor"], r["level"]): k
        for k, r in enumerate(effect.rows.iter_rows(named=True))
        if r["statistic"] in ("matched", "pair")
    }
    exact = {
        ("quantization", "q8_0"): (mu[:, 1] - mu[:, 0] + mu[:, 4] - mu[:, 3]) / 2,
        ("kv_cache_dtype", "q4_0"): (mu[:, 3:] - mu[:, :3]).mean(1),
        ("kv_cache_dtype x quantization", "q4_0 x q8_0"): mu[:, 4] - mu[:, 3] - mu[:, 1] + mu[:, 0],
    }
    for key, draws in exact.items():
        np.testing.assert_allclose(effect.draws[:, found[key]], draws, atol=1e-9, err_msg=str(key))
    assert not effect.where(factor="concurrency", statistic="matched").rows.height  # it is the regime


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
