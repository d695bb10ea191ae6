"""Excess flips that are none or few: limits from 0 on, coverage where the truth is 0 or below .005, what never flipped."""

import numpy as np
import pytest

from divergence.estimands.item_weights import ItemWeights, MeanExcess
from divergence.random_streams import stream

WORLDS, DRAWS = 300, 500


def weights(items: int, seed: int) -> ItemWeights:
    """Weights of that many items."""
    return ItemWeights(DRAWS, items, stream(seed, "items of flips"))


def flipped(kind: str, items: int, trials: int, truth: float, rng: np.random.Generator) -> np.ndarray:
    """Unbiased estimates of (p - p')^2 of items whose mean over the population is `truth`, shape (items,)."""
    if kind == "copies":  # greedy answers: an item flips for good
        p = (rng.random(items) < 0.6).astype(float)
        other = np.where(rng.random(items) < truth, 1 - p, p)
    elif kind == "some items move":
        p = 0.5 * rng.beta(0.5, 0.5, items)
        other = np.where(rng.random(items) < truth / 0.25, p + 0.5, p)
    elif kind == "every item moves":
        step = np.sqrt(truth)
        p = rng.uniform(step, 1 - step, items)
        other = p + step * rng.choice([-1, 1], items)
    else:  # nearly greedy
        p = rng.beta(0.2, 0.2, items)
        other = np.where(rng.random(items) < truth / 0.04, p + np.where(p > 0.5, -0.2, 0.2), p)
    seen = [rng.binomial(trials, q) for q in (p, other)]
    square = sum((y * y - y) / (trials * trials - trials) for y in seen)
    return square - 2 * seen[0] * seen[1] / trials**2


def limits(excess: np.ndarray, seed: int) -> np.ndarray:
    """The 90 % interval of the mean over new items."""
    places = np.stack([np.zeros(len(excess), int), np.arange(len(excess))])
    return np.quantile(weights(len(excess), seed).of_excess(excess[None], places).draws[:, 0], [0.05, 0.95])


@pytest.mark.parametrize("truth", [0.0, 0.001, 0.0025, 0.005, 0.03])
@pytest.mark.parametrize(
    ("kind", "items", "trials"),
    [
        ("copies", 200, 2),
        ("some items move", 120, 2),
        ("some items move", 60, 5),
        ("every item moves", 120, 2),
        ("every item moves", 200, 5),
        ("nearly greedy", 200, 2),
        ("nearly greedy", 120, 4),
    ],
)
def test_intervals_hold_small_truths(kind, items, trials, truth):
    """300 worlds of each: 90 % at least, within three Monte Carlo errors (.017 each). Few flips of few items are skewed, and
    two points are left to that."""
    rng, held = np.random.default_rng([15, items, trials, int(1e4 * truth)]), []
    for seed in range(WORLDS):
        low, high = limits(flipped(kind, items, trials, truth, rng), seed)
        assert 0 <= low <= high and high > 0
        held.append(low <= truth <= high)
    assert np.mean(held) >= 0.9 - 3 * np.sqrt(0.09 / WORLDS) - 0.02


def test_what_never_flipped_has_the_rule_of_three_and_may_be_none():
    """0 of n: the lower limit is 0, the upper the 90 % point of Beta(1, n), 1 - .1^(1/n), within four Monte Carlo errors."""
    for items in (20, 80, 400):
        low, high = limits(np.zeros(items), 1)
        assert low == 0
        error = np.sqrt(0.05 * 0.95 / DRAWS) / (items * 0.05)  # density of the upper half there: n (1 - q)^(n - 1) / 2
        assert high == pytest.approx(1 - 0.1 ** (1 / items), abs=4 * error)


def test_the_mean_over_models_is_limited_last():
    """One model's chance below 0 makes up for another's above: the mean of eight that never change covers 0."""
    rng, held = np.random.default_rng(3), 0
    for seed in range(100):
        mean = MeanExcess()
        shared = weights(120, seed)
        for _ in range(8):
            excess = flipped("some items move", 120, 2, 0.0, rng)
            places = np.stack([np.zeros(120, int), np.arange(120)])
            mean.add(shared.of_excess(excess[None], places))
        held += np.quantile(mean.draws, 0.05) == 0
        assert (mean.draws >= 0).all()
    assert held >= 86  # .95 of 100: fewer has probability .0004


def test_rows_at_once_are_rows_one_by_one():
    """The products of all pairs against a loop over them, over tasks of uneven size and pairs that lack items."""
    rng = np.random.default_rng(4)
    values = rng.standard_normal((5, 90))
    values[1, :40], values[3, rng.random(90) < 0.5] = np.nan, np.nan
    items = np.stack([np.repeat([0, 1, 2], [20, 10, 60]), rng.permutation(90)])
    drawn = weights(90, 5)
    assert drawn.raw is not None
    found = drawn.means(values, items)
    for row, mine in zip(values, found.T, strict=True):
        known = np.isfinite(row)
        total = np.zeros(DRAWS)
        for task in range(3):
            here = known & (items[0] == task)
            if here.any():
                weight = drawn.raw[:, items[1, here]]
                total += here.sum() / known.sum() * (weight @ row[here]) / weight.sum(1)
        np.testing.assert_allclose(mine, total, atol=1e-12)
