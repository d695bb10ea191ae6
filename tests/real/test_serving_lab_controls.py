"""Does the main job find every control of the embedded data set's card, and the A/A to be nothing?"""

from pathlib import Path

import polars as pl
import pytest

import divergence as dv
from divergence import results

FOLDER = Path(__file__).parents[2] / "datasets" / "serving-lab"
BROKEN = "smollm2-135m-q4_1"


@pytest.fixture(scope="module")
def posterior():
    return dv.fit(dv.collapse(dv.read(FOLDER)), seed=0)


@pytest.fixture(scope="module")
def effects(posterior):
    rows = dv.context_effect(posterior).to_frame().filter(pl.col("statistic").is_null())
    return {(r["model"], r["context"]): (r["lower"], r["median"], r["upper"]) for r in rows.iter_rows(named=True)}


@pytest.fixture(scope="module")
def flips(posterior):
    rows = dv.excess_flips(posterior).to_frame().filter(pl.col("statistic").is_null() & (pl.col("context") == "bench"))
    return {(r["model"], r["context_b"]): r for r in rows.iter_rows(named=True)}


def test_the_default_method_holds_without_handing_over(posterior):
    assert posterior.fits[0].method == "arm-level, importance sampling"
    assert all(d.passed for d in posterior.diagnostics)


def test_nothing_is_nothing(posterior, effects):
    """Load, and the two waves, change nothing."""
    wave = dv.instrument(posterior).to_frame().filter(pl.col("statistic").is_null())
    assert (wave["lower"] < 0).all() and (wave["upper"] > 0).all() and (wave["median"].abs() < 0.005).all()
    assert all(low < 0 < high for (_, context), (low, _, high) in effects.items() if context == "load")


def test_the_wrong_template_is_the_largest_single_loss_everywhere(effects):
    models = {m for m, _ in effects if m is not None}
    for m in models:
        assert effects[m, "chatml"][2] < -0.1
        single = {c: effects[m, c][1] for c in ("load", "flash", "flash-kv4", "sampled", "cut", "chatml", "mix")}
        assert min(single, key=single.get) == "chatml"


def test_the_broken_kernel_is_found_where_it_is_and_nowhere_else(posterior, effects):
    fit = posterior.fits[0]
    names = fit.cells.levels
    assert [(names["model"][m], names["context"][c]) for m, c, _ in fit.design.apart] == [(BROKEN, "second-engine-large")]
    level = {
        (names["model"][m], names["context"][c]): value
        for m, c, value in zip(fit.arms.model, fit.arms.context, fit.arms.level, strict=True)
    }
    raw = level[BROKEN, "second-engine-large"] - level[BROKEN, "bench"]
    low, _, high = effects[BROKEN, "second-engine-large"]
    assert low < raw < high < -0.3
    assert any("stands apart" in caution for caution in results._cautions(fit))
    for m in {m for m, _ in effects if m is not None} - {BROKEN}:
        low, _, high = effects[m, "second-engine-large"]
        assert low < 0 < high


def test_the_cache_loses_and_flash_attention_does_not(posterior):
    rows = dv.serving_effect(posterior).to_frame().filter(pl.col("statistic").is_null() & pl.col("model").is_null())
    found = {r["factor"]: r for r in rows.iter_rows(named=True)}
    # What the broken kernel loses is no effect of its engine or batch size on all models.
    for factor in ("batch_policy", "engine + engine_version"):
        assert found[factor]["lower"] < 0 < found[factor]["upper"]
    assert found["kv_cache_dtype"]["upper"] < 0 and found["kv_cache_dtype"]["level"] == "q4_0"
    assert found["attention"]["lower"] < 0 < found["attention"]["upper"]
    assert found["sampler"]["upper"] < 0 and found["scaffold"]["upper"] < 0
    # The router is what swaps the weights, of a part of its rows: they are held against its other rows.
    assert found["router"]["reason"] and found["quantization"]["level"] == "swapped_q4_0"
    assert found["quantization"]["upper"] < -0.1


def test_the_mix_is_a_mixture(effects):
    """Systems with other weights lose what their share of q4_0 answers costs; q4_0 systems get their own weights back."""
    rows = pl.read_parquet(FOLDER / "data.parquet").filter(context="bench")
    level = dict(rows.group_by("model").agg(pl.col("score").mean()).rows())
    for m in level:
        # 2 points either way: which items the router swapped
        expected = 0.3 * (level[f"{m.split('-q')[0]}-q4_0"] - level[m])
        assert effects[m, "mix"][0] - 0.02 < expected < effects[m, "mix"][2] + 0.02


def test_silent_drift_is_flagged(effects, flips):
    """Answers move where the level does not: flash attention, and the second engine."""
    for context in ("flash", "second-engine"):
        assert flips[None, context]["lower"] > 0.01 > flips[None, context]["noise_floor"]
        assert abs(effects[None, context][1]) < 0.01
    assert flips[None, "flash-kv4"]["lower"] > 0.1
    assert flips[None, "load"]["upper"] < 0.01
