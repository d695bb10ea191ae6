"""Items under a model that was never seen: against draws of such models, turned factors, and worlds with one left out."""

import numpy as np
import polars as pl
import pytest
from item_worlds import made, scored, world
from sklearn.linear_model import LogisticRegression

from divergence.risk.item_factors import Factors
from divergence.risk.new_models import another_model


def some_items(seed, items=4, rank=3, models=4):
    """Posteriors of items, factors and levels of one arm a model."""
    random = np.random.default_rng(seed)
    root = 0.4 * random.standard_normal((items, rank, rank))
    factors = Factors(1 + 0.5 * random.standard_normal((models, rank)), random.uniform(0.2, 0.9, models))
    level = 0.6 * random.standard_normal((items, models))
    return random.standard_normal((items, rank)), root @ root.transpose(0, 2, 1), factors, level


@pytest.mark.parametrize("models", [2, 3, 6])
def test_moments_are_those_of_drawn_models(models):
    z, covariance, factors, level = some_items(models, models=models)
    arms = np.arange(models)
    mean, variance = another_model(z, covariance, factors, level, arms, arms)
    random, draws = np.random.default_rng(0), 200_000
    loading = factors.loadings
    further = 0.5 * (loading**2).sum(1).mean() / 3 * np.eye(3)  # the one that shares half
    apart = ((loading - loading.mean(0))[:, :, None] * (loading - loading.mean(0))[:, None, :]).sum(0)
    lambdas = random.multivariate_normal(loading.mean(0), (1 + 1 / models) * (apart + further) / models, draws)
    for item in range(len(z)):
        f = (lambdas * random.multivariate_normal(z[item], covariance[item], draws)).sum(1)
        f += random.normal(level[item].mean(), level[item].std(ddof=1), draws)
        f += random.normal(0, np.sqrt(factors.unique.mean()), draws)
        # Five standard errors of 200,000 draws; a product's tails make its variance's error twice a normal's.
        assert mean[item] == pytest.approx(f.mean(), abs=5 * f.std() / np.sqrt(draws))
        assert variance[item] == pytest.approx(f.var(), rel=5 * 2 * np.sqrt(2 / draws))


def test_turned_factors_say_the_same():
    z, covariance, factors, level = some_items(9)
    turn = np.linalg.qr(np.random.default_rng(1).standard_normal((3, 3)))[0]
    turned = Factors(factors.loadings @ turn, factors.unique)
    one = another_model(z, covariance, factors, level, np.arange(4), np.arange(4))
    two = another_model(z @ turn, turn.T @ covariance @ turn, turned, level, np.arange(4), np.arange(4))
    np.testing.assert_allclose(one, two, rtol=1e-12)


def test_arms_of_one_model_are_no_further_models():
    """Twice the same arms, as two contexts of each model would be: as sure as of these models, not of twice as many."""
    z, covariance, factors, level = some_items(11)
    twice = np.tile(np.arange(4), 2)
    one = another_model(z, covariance, factors, level, np.arange(4), np.arange(4))
    two = another_model(z, covariance, factors, level, twice, twice)
    np.testing.assert_allclose(one, two, rtol=1e-12)
    often = np.r_[np.zeros(9, int), np.arange(4)]  # one of them in ten contexts
    np.testing.assert_allclose(one, another_model(z, covariance, factors, level, often, often), rtol=1e-12)


def test_a_model_that_was_left_out_is_as_risky_as_said():
    """Three models of six worlds score a fourth: calibrated in the middle, and true risks in their intervals."""
    risks, rates, truths, inside, slopes = [], [], [], [], []
    for seed in range(100, 106):
        frame = world(seed, models=4)
        learnt, deployed = frame.filter(pl.col("model") != "m0"), pl.col("regime") == "deployment"
        ask = frame.filter((pl.col("model") == "m0") & deployed)
        found, truth = scored(made(learnt), ask), ask["truth"].to_numpy()
        rate = learnt.filter(deployed).group_by("item").agg(rate=1 - pl.col("score").mean())
        rates.append(ask.join(rate, on="item", how="left", maintain_order="left")["rate"].to_numpy())
        risks.append(found["risk"].to_numpy())
        truths.append(truth)
        x = np.tile(np.log(risks[-1] / (1 - risks[-1])), 2)[:, None]
        line = LogisticRegression(C=1e6).fit(x, np.arange(len(x)) < len(truth), sample_weight=np.r_[truth, 1 - truth])
        slopes.append(line.coef_[0, 0])
        inside.append(((found["lower"].to_numpy() <= truth) & (truth <= found["upper"].to_numpy())).mean())
    risk, rate, truth = (np.concatenate(parts) for parts in (risks, rates, truths))
    assert ((risk - truth) ** 2).mean() < 0.97 * ((rate - truth) ** 2).mean()
    # Worlds' slopes differ by .1, and levels of three strata that are off flatten each: the mean over the seen models' own
    # risks has .73 here.
    assert 0.8 < np.mean(slopes) < 1.2
    assert 0.86 < np.mean(inside) < 0.99
