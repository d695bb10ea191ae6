"""Orders of models in two contexts: raw ones are the tables' own, the others know their noise."""

import numpy as np
import polars as pl
import pytest
from scipy.stats import kendalltau, spearmanr

import divergence as dv
from divergence.estimands.context_orders import _kendall


def posterior(levels, n=400, regime="deployment", seed=0):
    """`levels`: (models, contexts) of true rates."""
    random = np.random.default_rng(seed)
    rows = [
        {
            "regime": "evaluation" if regime == "both" and c == 0 else "deployment",
            "model": f"m{m}",
            "context": f"c{c}",
            "item": "all",
            "score": random.binomial(n, p) / n,
            "score_n": n,
        }
        for m, each in enumerate(levels)
        for c, p in enumerate(each)
    ]
    frame = pl.DataFrame(rows)
    return frame, dv.fit(dv.collapse(dv.read(frame)), seed=0)


def orders(fitted):
    return dv.coupling(fitted).to_frame().filter(pl.col("context_b").is_not_null())


@pytest.mark.parametrize("regime", ["deployment", "both"])
def test_raw_orders_are_those_of_the_table(regime):
    levels = np.random.default_rng(1).uniform(0.3, 0.9, (12, 1)) + np.random.default_rng(2).normal(0, 0.1, (12, 3))
    frame, fitted = posterior(np.clip(levels, 0.05, 0.95), regime=regime)
    wide = frame.pivot(on="context", index="model", values="score")
    found = orders(fitted)
    assert found.height == 9
    for row in found.iter_rows(named=True):
        one, two = wide[row["context"]], wide[row["context_b"]]
        expected = {"spearman_raw": spearmanr(one, two)[0], "kendall_raw": kendalltau(one, two)[0]}
        if row["statistic"] in expected:
            assert row["mean"] == pytest.approx(expected[row["statistic"]], abs=1e-9)


def test_noise_lowers_the_raw_order_and_not_the_interval():
    """Twenty models in one true order everywhere, few trials: the raw correlation falls short of 1, the interval less."""
    levels = np.repeat(np.linspace(0.45, 0.65, 20)[:, None], 2, 1)
    _, fitted = posterior(levels, n=150)
    found = {row["statistic"]: row for row in orders(fitted).iter_rows(named=True)}
    assert found["spearman_raw"]["mean"] < 0.9 and found["spearman"]["upper"] > found["spearman_raw"]["mean"]


def test_turned_orders_are_negative_and_names_do_not_matter():
    levels = np.linspace(0.3, 0.9, 8)
    _, fitted = posterior(np.stack([levels, levels[::-1]], 1))
    found = orders(fitted)
    assert (found["mean"] < -0.9).all()


def test_two_models_give_none():
    _, fitted = posterior([[0.5, 0.6], [0.7, 0.4]])
    assert not orders(fitted).height


def test_kendall_is_that_of_scipy():
    rng = np.random.default_rng(1)
    for size in (2, 3, 8, 40):
        apart, tied, level = rng.standard_normal(size), rng.integers(0, 3, size) / 3, np.zeros(size)
        for one, two in ((apart, tied), (tied, apart), (tied, tied[::-1]), (apart, -apart), (apart, level)):
            assert np.array_equal(_kendall(one, two), np.asarray(kendalltau(one, two))[0], equal_nan=True)
