"""Levels of groups: against the estimands that ask the same, against loops, and refusals."""

import numpy as np
import pytest

import divergence as dv
from divergence.errors import InputError
from divergence.joint.predict import levels
from divergence.simulate import simulate, world


@pytest.fixture(scope="module")
def posterior():
    return dv.fit(dv.collapse(dv.read(simulate(world("baseline", n_models=4, n_contexts=7, n_items=60), 3)[0])), seed=0)


@pytest.fixture(scope="module")
def thin():
    """A log in which model-1 was never served at quantization = q4_0, and quantization and kv_cache_dtype move together."""
    log = simulate(world("baseline", n_models=3, n_contexts=7, n_items=60), 5)[0]
    return dv.fit(dv.collapse(dv.read(log.filter(~((log["model"] == "model-1") & (log["quantization"] == "q4_0"))))), seed=0)


def test_by_model_is_the_deployed_level_and_on_the_bench_the_bench_level(posterior):
    # the same draws, summed in another order: machine precision
    for law in (None, "uniform", "own"):
        one, other = dv.predictions(posterior, law=law), dv.deployed_level(posterior, law=law)
        np.testing.assert_allclose(one.draws, other.draws, atol=1e-12)
    one, other = dv.predictions(posterior, regime="evaluation"), dv.bench_level(posterior)
    np.testing.assert_allclose(one.draws, other.draws, atol=1e-12)
    assert one.unit == other.unit == "probability"


def test_groups_are_those_of_a_slow_loop(posterior):
    fit = posterior[None]
    mu = levels(fit, "deployment")
    contexts = fit.design.contexts[:, 0] == 1
    shares = fit.design.mixtures["quantization"][contexts]
    found = dv.predictions(posterior, by=["quantization", "model"])
    for k, row in enumerate(found.rows.iter_rows(named=True)):
        m, level = mu.models.index(row["model"]), fit.design.levels["quantization"].index(row["level"])
        top, bottom = np.zeros(len(mu.draws)), 0.0
        for c in range(len(mu.contexts)):
            weight = mu.law[m, c] * shares[c, level]
            top, bottom = top + weight * mu.draws[:, m, c], bottom + weight
        np.testing.assert_allclose(found.draws[:, k], top / bottom, atol=1e-12)
    whole = dv.predictions(posterior, by=())
    np.testing.assert_allclose(whole.draws[:, 0], mu.mean().mean(1), atol=1e-12)


def test_what_if_serving_at_a_levels_own_mean_is_the_mean_of_what_ifs(posterior):
    """Served at the level that all contexts have already, nothing changes; order of groups does not matter."""
    one = dv.predictions(posterior, by=("model", "context"))
    other = dv.predictions(posterior, by=("context", "model"))
    key = ["model", "context"]
    order = [one.rows.select(key).rows().index(row) for row in other.rows.select(key).iter_rows()]
    np.testing.assert_allclose(one.draws[:, order], other.draws, atol=1e-12)
    fit = posterior[None]
    contexts = [fit.cells.levels["context"][c] for r, c in fit.design.contexts if r == 1]
    at = fit.design.mixtures["quantization"][fit.design.contexts[:, 0] == 1]
    level = fit.design.levels["quantization"][0]
    same = [contexts[k] for k in np.flatnonzero(at[:, 0] == 1)]
    what_if = dv.predictions(posterior, by=("model", "context"), factors={"quantization": level})
    for context in same:
        np.testing.assert_allclose(what_if.where(context=context).draws, one.where(context=context).draws, atol=1e-12)
    moved = next(c for c in contexts if c not in same)
    assert np.abs(what_if.where(context=moved).draws - one.where(context=moved).draws).max() > 0.01


@pytest.mark.parametrize("wrong", [{"by": 3}, {"factors": "quantization"}, {"factors": ["q8_0"]}])
def test_arguments_of_another_kind_are_sentences(posterior, wrong):
    with pytest.raises(dv.ArgumentError, match="such as"):
        dv.predictions(posterior, **wrong)


def test_new_contexts_are_wider_than_logged_ones(posterior):
    logged, new = dv.predictions(posterior).to_frame(), dv.predictions(posterior, contexts="new").to_frame()
    assert (new["sd"] > logged["sd"]).all()


def test_a_level_never_served_is_refused_for_that_model(thin):
    found = dv.predictions(thin, factors={"quantization": "q4_0"}).to_frame()
    refused = found.filter(~found["identified"])
    assert refused["model"].to_list() == ["model-1"] and "no judged rows at quantization = q4_0" in refused["reason"][0]
    assert refused["median"].null_count() == 1
    # a mean over all models that holds an unknown one is unknown
    assert not dv.predictions(thin, by=(), factors={"quantization": "q4_0"}).identified


def test_a_factor_that_moves_with_another_is_refused():
    log = simulate(world("baseline", n_models=2, n_contexts=3, n_items=40), 5)[0]
    log = log.with_columns(engine=log["quantization"].replace({"f16": "a", "q8_0": "b", "q4_0": "c"}))
    fit = dv.fit(dv.collapse(dv.read(log)), seed=0)
    found = dv.predictions(fit, factors={"engine": "b"})
    assert not found.identified and "changes only together with quantization" in found.reasons[0]


def test_a_log_without_the_regime_is_refused():
    log = simulate(world("baseline", n_models=2, n_contexts=2, n_items=30), 5)[0]
    only = dv.fit(dv.collapse(dv.read(log.filter(log["regime"] == "evaluation"))), seed=0)
    assert "0 (and" in dv.predictions(only).reasons[0]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"by": "modle"}, "did you mean model"),
        ({"by": ("model", "model")}, "each group once"),
        ({"regime": "deploymnt"}, "'evaluation' or 'deployment'"),
        ({"factors": {"quantisation": "f16"}}, "quantisation"),
        ({"factors": {"quantization": "q4"}}, "no level 'q4'"),
        ({"contexts": "new", "by": "context"}, "have no label"),
        ({"contexts": "old"}, "contexts='old'"),
        ({"items": "all"}, "items='all'"),
        ({"law": "mine"}, "the law 'mine'"),
        ({"outcome": "speed"}, "no outcome 'speed'"),
    ],
)
def test_what_cannot_be_meant_is_a_sentence(posterior, options, sentence):
    with pytest.raises(InputError, match=sentence):
        dv.predictions(posterior, **options)
