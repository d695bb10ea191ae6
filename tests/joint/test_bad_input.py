"""What logs do wrong: each is answered with a number that holds, or with a sentence."""

import dataclasses

import numpy as np
import polars as pl
import pytest

import divergence as dv
from divergence.joint import ItemLevel
from divergence.simulate import simulate, world


def _log(**sizes):
    return simulate(world("baseline", **({"n_models": 3, "n_contexts": 3, "n_items": 40} | sizes)), 1)[0]


def _fit(log, **options):
    return dv.fit(dv.collapse(dv.read(log)), seed=1, **options)


def _finite(posterior):
    fit = posterior.fits[0]
    assert np.isfinite(fit.effects).all()
    for question in (dv.bench_level, dv.deployed_level, dv.gap, dv.kappa):
        frame = question(posterior).to_frame().filter(pl.col("identified"))
        assert frame.select("mean", "lower", "upper").null_count().sum_horizontal()[0] == 0, question.__name__
        assert np.isfinite(frame["mean"].to_numpy()).all()
    return posterior


@pytest.mark.parametrize("method", [None, ItemLevel()])
def test_cells_without_a_judged_row_add_nothing(method):
    log = _log()
    unjudged = log.with_columns(trial=pl.col("trial") + 2, score=pl.lit(None, pl.Float64))
    one, two = _fit(log, method=method), _fit(pl.concat([log, unjudged]), method=method)
    np.testing.assert_allclose(two.fits[0].arms.level, one.fits[0].arms.level, atol=1e-12)
    np.testing.assert_allclose(dv.gap(two).draws.mean(0), dv.gap(one).draws.mean(0), atol=1e-9)


def test_a_context_of_one_regime_only():
    log = _log()
    both = log.with_columns(context=pl.when(pl.col("context") == "context-1").then(pl.lit("bench")).otherwise("context"))
    _finite(_fit(both.drop("quantization", "kv_cache_dtype", "concurrency")))  # bench in both, the others in one
    with_one = _fit(log.filter(regime="deployment"))
    assert not dv.gap(with_one).to_frame()["identified"].any()
    assert "0 judged evaluation rows" in dv.gap(with_one).to_frame()["reason"][0]


@pytest.mark.parametrize("method", [None, ItemLevel()])
def test_one_replicate(method):
    _finite(_fit(_log(n_trials=1), method=method))


def test_all_successes_and_no_success():
    for score in (0.0, 1.0):
        _finite(_fit(_log().with_columns(score=pl.lit(score))))


def test_a_factor_with_one_level_has_no_effect():
    posterior = _finite(_fit(_log().with_columns(engine=pl.lit("one"))))
    assert "engine" not in posterior.fits[0].design.mixtures


def test_two_aliased_factors_are_named():
    log = _log().with_columns(engine=pl.col("quantization").replace({"f16": "a", "q8_0": "b", "q4_0": "c"}))
    posterior = _finite(_fit(log))
    assert any("quantization" in note and "engine" in note and "apart" in note for note in posterior.fits[0].cells.notes)
    assert not any("apart" in note for note in _fit(_log()).fits[0].cells.notes)


def test_ten_thousand_contexts_are_a_sentence():
    rng = np.random.default_rng(0)
    log = pl.DataFrame(
        {
            "regime": ["deployment"] * 10_000,
            "model": "m",
            "item": "i",
            "context": [f"c{k}" for k in range(10_000)],
            "score": rng.integers(0, 2, 10_000).astype(float),
        }
    )
    with pytest.raises(dv.InputError, match="10000 combinations"):
        _fit(log)


@pytest.mark.parametrize("seed", [-1, 0.5, "0", True])
def test_a_seed_is_a_whole_number(seed):
    with pytest.raises(dv.InputError, match="whole number"):
        dv.fit(dv.collapse(dv.read(_log())), seed=seed)


def test_a_method_that_is_none_is_a_sentence():
    with pytest.raises(dv.InputError, match="Importance"):
        dv.fit(dv.collapse(dv.read(_log())), method="nuts")
    with pytest.raises(dv.InputError, match="Cells"):
        dv.fit(dv.read(_log()))


@pytest.mark.parametrize("width", [-1.0, float("nan"), float("inf"), "wide"])
def test_a_prior_width_is_a_number_from_0_on(width):
    with pytest.raises(dv.InputError, match="factor"):
        dataclasses.replace(dv.Spec(), factor=width)
    with pytest.raises(dv.InputError, match="ability"):
        dv.Spec(ability=0.0)
