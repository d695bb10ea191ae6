"""Comparisons: against the estimands that ask the same, against loops, a known truth, and refusals."""

import itertools

import numpy as np
import pytest

import divergence as dv
from divergence.errors import InputError
from divergence.simulate import simulate, world


@pytest.fixture(scope="module")
def log():
    return simulate(world("baseline", n_models=4, n_contexts=7, n_items=60), 3)[0]


@pytest.fixture(scope="module")
def posterior(log):
    return dv.fit(dv.collapse(dv.read(log)), seed=0)


def test_a_factor_is_its_serving_effect(posterior):
    for factor in ("kv_cache_dtype", "quantization", "concurrency"):
        asked = dv.serving_effect(posterior).where(factor=factor, statistic=None)
        over = asked.where(model=None)
        np.testing.assert_allclose(dv.comparisons(posterior, factor).draws, over.draws, atol=1e-12)
        mine = dv.comparisons(posterior, factor, by="model")
        for row in mine.rows.iter_rows(named=True):
            place = {"model": row["model"], "level": row["level"]}
            np.testing.assert_allclose(mine.where(**place).draws, asked.where(**place).draws, atol=1e-12)


def test_regimes_models_and_contexts_are_what_other_questions_say(posterior):
    gap = dv.gap(posterior).where(statistic=None)
    np.testing.assert_allclose(dv.comparisons(posterior, "regime", by="model").draws, gap.draws, atol=1e-12)
    level = dv.deployed_level(posterior)
    models = dv.comparisons(posterior, "model")
    for k, (i, j) in enumerate(itertools.combinations(range(4), 2)):
        np.testing.assert_allclose(models.draws[:, k], level.contrast(i, j), atol=1e-12)
    contrast = dv.context_effect(posterior).where(statistic="contrast")
    np.testing.assert_allclose(dv.comparisons(posterior, "context").draws, contrast.draws, atol=1e-12)


def test_turned_around_it_changes_its_sign(posterior):
    one = dv.comparisons(posterior, "quantization", pair=("q8_0", "q4_0"))
    other = dv.comparisons(posterior, "quantization", pair=("q4_0", "q8_0"))
    np.testing.assert_allclose(one.draws, -other.draws, atol=1e-12)
    for comparison, whole in (("ratio", 1.0), ("log odds ratio", 0.0)):
        a = dv.comparisons(posterior, "model", comparison=comparison, pair=("model-0", "model-1")).draws
        b = dv.comparisons(posterior, "model", comparison=comparison, pair=("model-1", "model-0")).draws
        np.testing.assert_allclose(a * b if whole else a + b, whole, atol=1e-9)


def test_ratios_are_those_of_a_loop(posterior):
    level = dv.deployed_level(posterior).draws
    found = dv.comparisons(posterior, "model", comparison="log odds ratio", pair=("model-2", "model-0")).draws[:, 0]
    for s in range(0, len(level), 200):
        p, q = level[s, 2], level[s, 0]
        assert found[s] == pytest.approx(np.log(p / (1 - p) / (q / (1 - q))), abs=1e-9)
    ratio = dv.comparisons(posterior, "model", comparison="ratio")
    assert ratio.unit == "ratio" and set(ratio.to_frame()["unit"]) == {"ratio"}


def test_known_truth_lies_in_most_intervals():
    """90 % intervals of factor effects on new items hold the truth in at least 16 of 24; fewer has a chance of 1e-4."""
    held = 0
    for seed in range(6):
        world_ = world("baseline", n_models=4, n_contexts=7, n_items=80)
        log, truth = simulate(world_, seed)
        fit = dv.fit(dv.collapse(dv.read(log)), seed=0)
        names = dv.deployed_level(fit).rows["model"].to_list()
        limits = dv.comparisons(fit, "regime", by="model").interval()
        true = truth["level"][:, 1:].mean(1) - truth["level"][:, 0]
        held += sum(low <= true[m] <= high for m, (low, high) in enumerate(limits[: len(names)]))
    assert held >= 16


def test_what_is_not_identified_is_refused(log):
    tied = log.with_columns(engine=log["kv_cache_dtype"].replace({"f16": "a", "q4_0": "b"}))
    fit = dv.fit(dv.collapse(dv.read(tied)), seed=0)
    assert "changes only together with kv_cache_dtype" in dv.comparisons(fit, "engine").reasons[0]
    bench = dv.fit(dv.collapse(dv.read(log.filter(log["regime"] == "evaluation"))), seed=0)
    for of in ("model", "regime", "context"):
        found = dv.comparisons(bench, of)
        assert not found.identified and "It needs" in found.reasons[0]
    lost = log.filter(~((log["model"] == "model-1") & (log["quantization"] == "q4_0")))
    mine = dv.comparisons(dv.fit(dv.collapse(dv.read(lost)), seed=0), "quantization", by="model").to_frame()
    assert mine.filter(~mine["identified"]).select("model", "level").rows() == [("model-1", "q4_0")]
    one_model = dv.fit(dv.collapse(dv.read(log.filter(log["model"] == "model-0"))), seed=0)
    assert "two models" in dv.comparisons(one_model, "model").reasons[0]


def test_other_judges_are_refused(log):
    judged = log.with_columns(scorer=log["regime"].replace({"evaluation": "exact", "deployment": "judge"}))
    fit = dv.fit(dv.collapse(dv.read(judged)), seed=0)
    assert not dv.comparisons(fit, "regime").identified


@pytest.mark.parametrize(
    ("of", "options", "sentence"),
    [
        ("kv_cache", {}, "did you mean kv_cache_dtype"),
        ("sampler", {}, "nothing that varies"),
        ("model", {"by": "model"}, "models are compared already"),
        ("quantization", {"by": "context"}, "by is None or 'model'"),
        ("quantization", {"comparison": "lift"}, "difference, ratio, log odds ratio"),
        ("quantization", {"pair": ("q8_0", "q5")}, "no level 'q5'"),
        ("quantization", {"pair": "q8_0"}, "two different levels"),
        ("model", {"pair": ("model-0", "model-0")}, "two different levels"),
        ("regime", {"pair": ("evaluation", "deployment")}, "compared as"),
    ],
)
def test_what_cannot_be_meant_is_a_sentence(posterior, of, options, sentence):
    with pytest.raises(InputError, match=sentence):
        dv.comparisons(posterior, of, **options)


def test_a_log_of_times_has_no_odds(log):
    slow = log.with_columns(latency_s=1.0 + (log["score"] + 0.1))
    fit = dv.fit(dv.collapse(dv.read(slow), outcome="latency_s"), seed=0)
    with pytest.raises(InputError, match="ask the ratio"):
        dv.comparisons(fit, "quantization", comparison="log odds ratio")
    assert dv.comparisons(fit, "quantization").unit == "s"
