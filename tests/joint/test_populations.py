"""Levels of the observed items, and of contexts that the log never saw."""

import numpy as np
import polars as pl
import pytest
from scipy.special import expit

import divergence as dv
from divergence.joint import levels
from divergence.simulate import simulate, world


def _fit(log):
    return dv.fit(dv.collapse(dv.read(log)), seed=1).fits[0]


def _width(mu):
    return np.ptp(np.quantile(mu.draws, [0.05, 0.95], axis=0), axis=0)


def test_copies_leave_no_doubt_about_the_observed_items():
    log, _ = simulate(world("copies", n_models=3, n_contexts=3, n_items=80), 1)
    observed = levels(_fit(log), "deployment", items="observed")
    seen = log.filter(regime="deployment").group_by("model", "context").agg(pl.col("score").mean()).sort("model", "context")
    np.testing.assert_allclose(
        observed.draws, np.broadcast_to(seen["score"].to_numpy().reshape(3, 3), observed.draws.shape), atol=1e-6
    )


@pytest.mark.parametrize("trials", [1, 3])
def test_observed_items_cover_and_are_narrower(trials):
    """The truth is the mean probability of the drawn items: 6 worlds of 9 levels, which share little noise."""
    covered, ratios = [], []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        p = expit(rng.normal(0.3, 0.5, (3, 4, 1)) + rng.normal(0, 1.5, 80) + rng.normal(0, 0.3, (3, 4, 80)))
        y = rng.random((3, 4, 80, trials)) < p[..., None]
        m, c, i, t = np.indices(y.shape).reshape(4, -1)
        log = pl.DataFrame(
            {
                "regime": np.where(c == 0, "evaluation", "deployment"),
                "model": m.astype(str),
                "context": c.astype(str),
                "item": i.astype(str),
                "trial": t,
                "score": y.ravel().astype(float),
            }
        )
        fit = _fit(log)
        observed = levels(fit, "deployment", items="observed")
        lower, upper = np.quantile(observed.draws, [0.05, 0.95], axis=0)
        truth = p.mean(2)[:, 1:]
        covered.append((lower <= truth) & (truth <= upper))
        ratios.append(_width(observed) / _width(levels(fit, "deployment")))
    # 54 intervals at .9: fewer than 43 of independent ones has probability .007
    assert np.sum(covered) >= 43
    assert np.mean(ratios) < (0.85 if trials == 3 else 1.02)


def test_a_new_context_is_wider_than_the_logged_ones():
    log, _ = simulate(world("baseline", n_models=4, n_contexts=6, n_items=80), 4)
    only_label = log.drop("quantization", "kv_cache_dtype", "concurrency")
    for rows in (log, only_label):
        fit = _fit(rows)
        assert (_width(levels(fit, "deployment", contexts="new"))[:, 0] > _width(levels(fit, "deployment")).mean(1)).all()


@pytest.mark.parametrize(
    "population",
    [{"items": "old"}, {"contexts": "all"}, {"items": "observed", "contexts": "new"}, {"contexts": "new", "count": 0}],
)
def test_other_populations_are_sentences(population):
    fit = _fit(simulate(world("baseline", n_models=2, n_contexts=2, n_items=30), 5)[0])
    with pytest.raises(dv.InputError, match=r"population|count"):
        levels(fit, "deployment", **population)
    with pytest.raises(dv.InputError, match="deployment"):
        levels(fit, "evaluation", contexts="new")
