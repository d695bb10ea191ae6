"""Items and their factors: against integration on a grid, against the truth of the data, and what must not matter."""

import numpy as np
import pytest
from scipy.special import ndtr, ndtri

from divergence.risk.item_factors import (
    UNIQUE,
    Factors,
    ItemCells,
    Sites,
    choose_factors,
    converged,
    fit_factors,
    matched_moments,
    strata_density,
    tied,
)


def some_cells(seed, items=60, arms=6, rank=1, loading=1.2, unique=0.5, trials=1):
    """Cells drawn from known factors, every item in every arm."""
    random = np.random.default_rng(seed)
    truth = Factors(loading * (1 + 0.2 * random.standard_normal((arms, rank))), np.full(arms, unique))
    item, arm = (v.ravel() for v in np.indices((items, arms)))
    middle = np.linspace(-0.7, 0.7, arms)[arm]
    z, w = random.standard_normal((items, rank)), np.sqrt(unique) * random.standard_normal(len(item))
    f = middle * np.sqrt(1 + truth.variance[arm]) + (truth.loadings[arm] * z[item]).sum(1) + w
    n = np.full(len(item), float(trials))
    return ItemCells(item, arm, n, random.binomial(trials, ndtr(f)).astype(float), middle), truth, f


def latent(cells, items, factors):
    """Mean and variance of f in every arm, the level taken off."""
    sites = converged(cells, items, factors)
    return sites.in_arms(factors, *sites.posterior(factors))


@pytest.mark.parametrize(("n", "y"), [(1, 0), (1, 1), (4, 4), (5, 2), (300, 7), (2, 0.7)])
@pytest.mark.parametrize(("mean", "variance"), [(0.0, 1.0), (-2.5, 0.3), (3.0, 60.0)])
def test_moments_are_those_of_a_fine_grid(n, y, mean, variance):
    from scipy.special import log_ndtr

    f = np.linspace(mean - 14 * np.sqrt(variance), mean + 14 * np.sqrt(variance), 400_001)
    mass = y * log_ndtr(f) + (n - y) * log_ndtr(-f) - 0.5 * (f - mean) ** 2 / variance
    top = mass.max()
    mass = np.exp(mass - top)
    first = (mass * f).sum() / mass.sum()
    second = (mass * (f - first) ** 2).sum() / mass.sum()
    total = np.log(mass.sum() * (f[1] - f[0])) + top - 0.5 * np.log(2 * np.pi * variance)
    found = matched_moments(*(np.array([float(v)]) for v in (y, n, mean, variance)))
    # 15 nodes around the mode: exact where the law is nearly normal; four of four under a wide prior is half of one, and off
    # by a twentieth of its standard deviation.
    skewed = 0.05 if n > 1 and y == n and variance > 10 else 2e-3
    assert abs(found[0][0] - first) < skewed * np.sqrt(second) and found[1][0] == pytest.approx(second, rel=5 * skewed)
    assert found[2][0] == pytest.approx(total, abs=2 * skewed)


def test_posteriors_of_items_are_those_of_a_grid():
    cells, factors, _ = some_cells(1, items=20)
    sites = converged(cells, 20, factors)
    mean, covariance = sites.posterior(factors)
    z = np.linspace(-6, 6, 2001)
    scale = np.sqrt(1 + factors.unique)
    for item in range(20):
        mine = cells.item == item
        arm = cells.arm[mine]
        centre = cells.middle[mine] * np.sqrt(1 + factors.variance[arm])
        p = ndtr((centre[:, None] + factors.loadings[arm] * z) / scale[arm][:, None])
        mass = np.where(cells.y[mine][:, None] == 1, p, 1 - p).prod(0) * np.exp(-0.5 * z * z)
        first = (mass * z).sum() / mass.sum()
        spread = (mass * (z - first) ** 2).sum() / mass.sum()
        # Expectation propagation of probit models is off by some per cent of a standard deviation (Kuss and Rasmussen 2005).
        assert mean[item, 0] == pytest.approx(first, abs=0.03) and covariance[item, 0, 0] == pytest.approx(spread, rel=0.06)


def test_leaving_a_cell_out_is_fitting_without_it():
    cells, factors, _ = some_cells(2, items=12)
    sites = converged(cells, 12, factors)
    for place in (0, 17, 40):
        keep = np.arange(len(cells.item)) != place
        rest = converged(ItemCells(*(getattr(cells, k)[keep] for k in ("item", "arm", "n", "y", "middle"))), 12, factors)
        mean, covariance = rest.posterior(factors)
        item, arm = cells.item[place], cells.arm[place]
        loading = factors.loadings[arm]
        centre = cells.middle[place] * np.sqrt(1 + factors.variance[arm]) + loading @ mean[item]
        spread = loading @ covariance[item] @ loading + factors.unique[arm]
        p = ndtr(centre / np.sqrt(1 + spread))
        mine = (sites.cells.item == item) & (sites.cells.arm == arm)
        assert sites.held_out[mine][0] == pytest.approx(np.log(p if cells.y[place] else 1 - p), abs=0.02)


def test_the_truth_is_found_and_the_strata_are_beaten():
    cells, truth, _ = some_cells(3, items=400, arms=8, rank=1, loading=1.5)
    found = fit_factors(cells, 400, 8, 1)
    # Share of the latent variance that repeats: 400 items give each arm's correlation a standard error of about .05.
    share = (found.loadings**2).sum(1) / (1 + found.variance)
    right = (truth.loadings**2).sum(1) / (1 + truth.variance)
    assert np.abs(share - right).max() < 4 * 0.06
    chosen = choose_factors(cells, 400, 8)
    assert chosen.factors is not None and max(chosen.gains.values()) > 5 * chosen.error


def test_items_that_are_all_alike_are_not_kept():
    """Answers that depend on the stratum only: nothing is gained by knowing an item, and no factor is kept."""
    left_out = 0
    for seed in range(6):
        random = np.random.default_rng(seed)
        item, arm = (v.ravel() for v in np.indices((120, 4)))
        middle = np.array([-0.5, 0.0, 0.3, 0.8])[arm]
        y = (random.random(len(item)) < ndtr(middle)).astype(float)
        chosen = choose_factors(ItemCells(item, arm, np.ones(len(item)), y, middle), 120, 4, seed)
        left_out += chosen.factors is None
    assert left_out >= 5  # kept by chance where the gain exceeds one standard error: one in six


@pytest.mark.parametrize(("variance", "least", "most"), [(0.0, 0, 3), (1.0, 7, 12), (2.0, 10, 12)])
def test_few_items_that_were_repeated_are_kept_where_they_differ(variance, least, most):
    """Fifty items, two trials each, one arm: what repeats say is taken unless the strata predict better."""
    kept, gained = 0, []
    for seed in range(12):
        random = np.random.default_rng(seed)
        items = np.arange(50)
        truth = ndtr(0.2 * np.sqrt(1 + variance) + np.sqrt(variance) * random.standard_normal(50))
        y = random.binomial(2, truth).astype(float)
        level = ndtri((y.sum() + 0.5) / 101)
        cells = ItemCells(items, np.zeros(50, int), np.full(50, 2.0), y, np.full(50, level))
        chosen = choose_factors(cells, 50, 1, seed)
        kept += chosen.factors is not None
        risk = np.full(50, ndtr(level))
        if chosen.factors is not None:
            mean, spread = latent(cells, 50, chosen.factors)
            risk = ndtr((mean + level * np.sqrt(1 + chosen.factors.variance)) / np.sqrt(1 + spread))[:, 0]
        gained.append((((ndtr(level) - truth) ** 2) - (risk - truth) ** 2).mean())
    # By 40 further worlds of each kind: kept .03, .82 and .97 of the time; chance moves the mean gain by .003.
    assert least <= kept <= most and np.mean(gained) > (-0.003, 0.02)[variance > 0]


def test_one_odd_part_of_few_items_does_not_decide():
    """Items that are all right or all wrong in both trials, but for ten in the middle: whatever the order, they are kept."""
    y = np.repeat([0.0, 1.0, 2.0], [20, 10, 20])
    for seed in range(5):
        mixed = np.random.default_rng(seed).permutation(y)
        cells = ItemCells(np.arange(50), np.zeros(50, int), np.full(50, 2.0), mixed, np.zeros(50))
        assert all(choose_factors(cells, 50, 1, draw).factors is not None for draw in range(5))


def test_order_of_cells_does_not_matter():
    cells, factors, _ = some_cells(4, items=30)
    mixed = np.random.default_rng(0).permutation(len(cells.item))
    other = ItemCells(*(getattr(cells, k)[mixed] for k in ("item", "arm", "n", "y", "middle")))
    found = (converged(some, 30, factors).posterior(factors) for some in (cells, other))
    for one, two in zip(*found, strict=True):
        np.testing.assert_allclose(one, two, atol=5e-3)


def test_an_item_without_cells_has_the_level_of_its_stratum():
    cells, factors, _ = some_cells(5, items=10)
    mean, covariance = Sites(cells, 11).posterior(factors)
    assert abs(mean[10]).max() == 0 and np.array_equal(covariance[10], np.eye(1))
    level = 0.4 * np.sqrt(1 + factors.variance)
    np.testing.assert_allclose(ndtr(level / np.sqrt(1 + factors.variance)), ndtr(0.4))
    p = ndtr(cells.middle)
    np.testing.assert_allclose(strata_density(cells), np.log(np.where(cells.y == 1, p, 1 - p)))
    assert ndtri(0.5) == 0


def sparse_arms(seed, each, items, trials=1, models=10, contexts=12):
    """Many arms with few items each; what an item does moves little with model and context. The true success rates, too."""
    random = np.random.default_rng(seed)
    model, context = (v.ravel() for v in np.indices((models, contexts)))
    arms = models * contexts
    f = 1.2 * random.standard_normal(items) + 0.4 * random.standard_normal((arms, 1))
    f = f + 0.2 * random.standard_normal((models, items))[model] + 0.2 * random.standard_normal((contexts, items))[context]
    f = f + 0.22 * random.standard_normal(f.shape)
    arm = np.repeat(np.arange(arms), each)
    item = np.concatenate([random.permutation(items)[:each] for _ in range(arms)])
    level = ndtri(ndtr(f).mean(1))  # levels of arms are known here: the question is what items add
    n, truth = np.full(len(item), float(trials)), ndtr(f)
    y = random.binomial(trials, truth[arm, item]).astype(float)
    return ItemCells(item, arm, n, y, level[arm]), truth.T, level, (model, context)


@pytest.mark.parametrize(("seed", "each", "items", "trials"), [(3, 10, 60, 1), (4, 10, 60, 1), (5, 5, 40, 1), (3, 5, 40, 4)])
def test_many_arms_with_few_items_share_what_their_models_and_contexts_say(seed, each, items, trials):
    cells, truth, level, ties = sparse_arms(seed, each, items, trials)
    chosen = choose_factors(cells, items, len(level), 0, ties)
    assert chosen.factors is not None
    mean, variance = latent(cells, items, chosen.factors)
    risk = ndtr((mean + level * np.sqrt(1 + chosen.factors.variance)) / np.sqrt(1 + variance))
    rate = np.bincount(cells.item, cells.y, items) / np.bincount(cells.item, cells.n, items)
    tried = np.zeros(truth.shape, bool)
    tried[cells.item, cells.arm] = True
    # Arms where the item was not tried ask what arms have in common; one trial says nothing of what an own answer is worth.
    for mine in (~tried, tried) if trials > 1 else (~tried,):
        off, plain = (np.sqrt(((one - truth)[mine] ** 2).mean()) for one in (risk, rate[:, None] + 0 * truth))
        assert off < plain


@pytest.mark.parametrize("seed", [3, 4, 5])
def test_without_repeats_what_only_an_arm_makes_of_an_item_stays_at_its_prior(seed):
    """Single trials say nothing of psi: rounds of fitting must not carry it away, and own answers be believed too much."""
    cells, _, level, ties = sparse_arms(seed, 10, 60)
    found = [fit_factors(cells, 60, len(level), rank, 0, ties).unique for rank in (1, 3)]
    repeated = fit_factors(sparse_arms(seed, 10, 60, 6)[0], 60, len(level), 1, 0, ties).unique
    for unique in found:  # loadings are in probits of the whole, which move by some hundredths
        assert np.median(unique) == pytest.approx(UNIQUE, rel=0.1)
    # Six trials a cell say that it is .22 squared, .05; what is fitted to 10 items an arm is still partly the prior.
    assert np.median(repeated) < 0.5


def test_ties_are_means_that_are_shrunk():
    random = np.random.default_rng(0)
    loadings = random.standard_normal((6, 2))
    model, context = np.array([0, 0, 0, 1, 1, 1]), np.array([0, 1, 2, 0, 1, 2])
    found, middle = tied(loadings, (model, context)), loadings.mean(0)
    assert np.array_equal(tied(loadings, ()), np.tile(middle, (6, 1)))
    for a in range(6):
        mine = [(loadings[b] - middle) for b in range(6) if model[b] == model[a]]
        right = middle + sum(mine) / (len(mine) + 1)
        rest = [
            loadings[b] - middle - sum(loadings[k] - middle for k in range(6) if model[k] == model[b]) / 4
            for b in range(6)
            if context[b] == context[a]
        ]
        np.testing.assert_allclose(found[a], right + sum(rest) / (len(rest) + 1))
