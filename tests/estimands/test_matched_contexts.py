"""Which contexts differ in one factor alone, and the contrasts between them."""

import numpy as np
import pytest

import divergence as dv
from divergence.estimands.matched_contexts import contrast, crossed, matched
from divergence.joint import levels
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
