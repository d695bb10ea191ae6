"""Regression of displacements: known moves covered, simulation-based calibration, nothing moves, aliases, refusals."""

import dataclasses

import numpy as np
import polars as pl
import pytest
from scipy import stats

from divergence.errors import InputError
from divergence.geometry import displacement_regression
from divergence.geometry.matrix_normal import COMMON, SCALE_SD, Group, Regression, drawn

DESIGN = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [0, 1, 1], [1, 0, 1]], float)
FACTORS = pl.DataFrame(
    {
        "context": ["bench", *[f"context {k}" for k in range(1, 7)]],
        "cache": ["f16", *["q4" if row[0] else "f16" for row in DESIGN]],
        "template": ["plain", *["chat" if row[1] else "plain" for row in DESIGN]],
        "router": ["one", *["mix" if row[2] else "one" for row in DESIGN]],
    }
)
MOVES = np.array([0.8, 0.4, 0.2])  # root of the mean squared move of each factor


def world(places, seed, moves=MOVES, items=80, models=2, d=6, noise=0.1, jump=False):
    """Items move by the sum of what the context's factors do to them; with `jump` a fifth of the items takes all of it."""
    generator = np.random.default_rng(seed)
    step = generator.standard_normal((models, 3, items, d)) * moves[:, None, None] / np.sqrt(d)
    if jump:
        step *= np.sqrt(5) * (generator.random((models, 3, items, 1)) < 0.2)
    start = generator.standard_normal((items, d))
    means = start + np.concatenate([np.zeros((models, 1, items, d)), np.einsum("cf,mfid->mcid", DESIGN, step)], 1)
    return places.state(means, noise, seed=seed + 1000)


def sizes(answer, state):
    part = answer.where(statistic=None)
    return part.draws * state.noise.mean(), list(part.rows["factor"])


@pytest.mark.prove
@pytest.mark.parametrize("jump", [False, True], ids=["normal", "a fifth of the items"])
def test_known_moves_are_covered(places, jump):
    covered = []
    for seed in range(25):
        state = world(places, seed, jump=jump)
        squared, factors = sizes(displacement_regression(state, FACTORS, draws=500), state)
        truth = dict(zip(("cache", "template", "router"), MOVES**2, strict=True))
        low, high = np.quantile(squared, [0.05, 0.95], axis=0)
        covered += [lower <= truth[f] <= upper for f, lower, upper in zip(factors, low, high, strict=True)]
    assert np.mean(covered) >= 0.78  # nominal .9, 75 intervals, 25 worlds: 3 standard errors below


def test_shares_are_those_of_the_moves(places):
    state = world(places, 3, items=200)
    answer = displacement_regression(state, FACTORS)
    truth = MOVES**2 / (MOVES**2).sum()  # each factor is in three of six contexts
    for factor, share in zip(("cache", "template", "router"), truth, strict=True):
        row = answer.where(statistic="share", factor=factor).to_frame().row(0, named=True)
        assert row["lower"] - 0.02 <= share <= row["upper"] + 0.02
    whole = answer.where(statistic="share").draws.sum(1)
    np.testing.assert_allclose(whole, 1)
    assert answer.where(statistic="common").draws.max() < 0.2  # every item moves its own way


def test_a_move_of_all_items_alike_is_common(places):
    generator = np.random.default_rng(5)
    step = generator.standard_normal((3, 1, 6)) * 0.5
    moved = np.concatenate([np.zeros((1, 1, 6)), np.einsum("cf,fid->cid", DESIGN, step)])
    means = generator.standard_normal((60, 6)) + moved
    answer = displacement_regression(places.state(np.repeat(means[None], 2, 0), 0.05), FACTORS)
    assert np.median(answer.where(statistic="common").draws, 0).min() > 0.6


def test_where_nothing_moves_no_factor_leads(places):
    claims, above = [], []
    for seed in range(4):
        state = world(places, seed, moves=np.zeros(3), noise=0.3)
        answer = displacement_regression(state, FACTORS, draws=400)
        headline, share = answer.where(statistic=None).to_frame(), answer.where(statistic="share").to_frame()
        above += (headline["lower"] > headline["noise_floor"]).to_list()
        claims += ((share["lower"] > 1 / 4) & (share["factor"] != "rest")).to_list()
    assert not any(above)
    assert np.mean(claims) <= 0.25  # 12 shares at 5 % a side: more than 3 has a chance of 0.2 %


def prior_world(generator, units=40, q=2):
    """A regression whose parameters come from its prior; the likelihood is not stretched, as the world is normal."""
    p = DESIGN.shape[1]
    centre, scale = 0.0, np.array([0.6, 0.4])
    middle = centre + 2.0 * generator.standard_normal()
    theta = np.array(
        [
            *(middle + SCALE_SD * generator.standard_normal(p)),
            COMMON[0] + COMMON[1] * generator.standard_normal(),
            middle,
            middle - 1 + SCALE_SD * generator.standard_normal(),
        ]
    )
    error = np.stack([0.05 * np.eye(6) + 0.05] * q)
    group = Group(DESIGN, error, np.zeros((units, 6, q)), np.arange(units))
    data = Regression((group,), scale, centre, True)
    gamma = np.exp(theta[:p] + theta[p])[:, None] * np.sqrt(scale) * generator.standard_normal((p, q))
    root = np.linalg.cholesky(data.covariance(theta[None], group)[0])
    noise = np.einsum("jcd,udj->ucj", root, generator.standard_normal((units, 6, q)))
    return dataclasses.replace(data, groups=(dataclasses.replace(group, moves=DESIGN @ gamma + noise),)), theta


@pytest.mark.parametrize("rest", [True, False])
def test_the_slope_is_that_of_differences(rest):
    """Of the posterior as it is, stretched, and beyond where parameters are held."""
    generator = np.random.default_rng(3)
    data, theta = prior_world(generator)[0], np.array([0.2, -0.3, 0.1, -0.7, 0.3, -0.5])  # where differences keep digits
    other = dataclasses.replace(data.groups[0], design=DESIGN[:4], error=data.groups[0].error[:, :4, :4])
    other = dataclasses.replace(other, moves=generator.standard_normal((9, 4, 2)), cluster=np.arange(9))
    data = dataclasses.replace(data, groups=(*data.groups, other), rest=rest)
    turned = np.eye(data.size) + 0.1 * generator.standard_normal((data.size, data.size))
    stretched = dataclasses.replace(data, mode=np.zeros(data.size), stretch=turned)
    for one in (data, stretched):
        for at in (theta[: data.size], np.r_[-12.0, theta[1 : data.size]]):
            steps = 1e-5 * np.eye(data.size)
            expected = (one.log_posterior(at + steps) - one.log_posterior(at - steps)) / 2e-5
            value, slope = one.climbed(at)
            assert value == pytest.approx(one.log_posterior(at[None])[0], rel=1e-12)
            np.testing.assert_allclose(slope, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


@pytest.mark.prove
def test_simulation_based_calibration():
    """Ranks of the true parameters among their draws are uniform (Talts et al. 2018)."""
    generator, ranks = np.random.default_rng(0), []
    for seed in range(100):
        data, theta = prior_world(generator)
        draws, _, _ = drawn(data, 199, seed, stretched=False)
        ranks.append((draws < theta).mean(0))
    p_values = [stats.kstest(np.array(ranks)[:, k] + 1e-3, "uniform").pvalue for k in range(len(theta))]
    assert min(p_values) > 0.01 / len(p_values)  # a false alarm in 100 runs


def test_levels_that_never_part_are_one_column(places):
    state = world(places, 1)
    twin = FACTORS.with_columns(slots=pl.col("cache").replace({"f16": "1", "q4": "8"}))
    answer = displacement_regression(state, twin, draws=200)
    assert "cache and slots" in answer.rows["factor"].to_list() and "q4 and 8" in answer.rows["level"].to_list()
    every = FACTORS.with_columns(label=pl.col("context"))
    assert "not told apart" in displacement_regression(state, every, draws=200).method


def test_refusals(places):
    state = world(places, 1)
    few = world(places, 1, items=6)
    assert "fewer than 10 items of a model" in displacement_regression(few, FACTORS).reasons[0]
    alike = FACTORS.select("context", cache=pl.lit("f16"))
    assert "no serving factor has another level" in displacement_regression(state, alike).reasons[0]
    with pytest.raises(InputError, match="no row for the context bench"):
        displacement_regression(state, FACTORS.filter(pl.col("context") != "bench"))
    with pytest.raises(InputError, match="no column context"):
        displacement_regression(state, FACTORS.drop("context"))
    with pytest.raises(InputError, match="2 rows for the context bench"):
        displacement_regression(state, pl.concat([FACTORS, FACTORS[:1]]))
    still = dataclasses.replace(state, noise=np.zeros(2), noise_high=np.zeros(2))
    assert "no noise floor to measure a move in" in displacement_regression(still, FACTORS).reasons[0]


def test_numeric_levels_are_texts(places):
    numbers = FACTORS.select("context", cache=pl.when(pl.col("cache") == "q4").then(4).otherwise(16))
    assert displacement_regression(world(places, 1), numbers, draws=100).rows["level"][0] == "4"
