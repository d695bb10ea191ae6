"""What a log measures: paired contrasts keep their precision, levels are not shrunk, copies cancel."""

import numpy as np
import polars as pl
import pytest
import scipy.sparse as sp

import divergence as dv
from divergence.joint.arms import measure_arms
from divergence.joint.held_items import compared, fitted_effects, held_items_check, item_names, of_items, paired_effects
from divergence.joint.link import linearise, start
from divergence.joint.paired import FLIPS, bench_arms, flip_rates, measure
from divergence.simulate import simulate, world


def _log(outcomes):
    """One model, its bench and contexts a, b, ...: a list of item outcomes each."""
    rows = [
        {"regime": "deployment" if k else "evaluation", "model": "m", "context": "bench" if not k else f"c{k}",
         "item": f"i{i}", "score": float(y)}
        for k, values in enumerate(outcomes)
        for i, y in enumerate(values)
    ]  # fmt: skip
    return pl.DataFrame(rows)


def _fit(log, **options):
    return dv.fit(dv.collapse(dv.read(log)), seed=3, **options).fits[0]


def test_flip_rates_are_shares_of_flipped_items():
    bench = np.r_[np.ones(60), np.zeros(40)]
    moved = bench.copy()
    moved[:15] = 0
    arms = measure_arms(dv.collapse(dv.read(_log([bench, bench, moved]))))
    rates = flip_rates(arms.model, arms.deployed, arms.level, arms.covariance_of, arms.clusters)
    # Bessel's 100 / 99 on the spread of the difference about its mean, and one flip more than seen
    assert rates[~arms.deployed] == 0
    assert rates[arms.deployed] == pytest.approx([0.01, 0.15 * 0.85 * 100 / 99 + 0.15**2 + 0.01], rel=1e-6)


@pytest.mark.parametrize("benches", [0, 1, 2])
@pytest.mark.parametrize("uneven", [False, True])
def test_a_sparse_root_says_what_a_dense_one_says(benches, uneven):
    """Rounding alone tells them apart: sums of some thirty numbers near 1, and ratios of them."""
    rng = np.random.default_rng(benches)
    model, context = (k.ravel() for k in np.indices((4, 5)))
    deployed = context >= benches
    root = rng.normal(size=(30, 20)) * (rng.random((30, 20)) < 0.5)
    least, steady = rng.random(20) * (rng.random(20) < 0.7), 10 * rng.random(20)
    clusters = np.where(deployed, 400.0, 50.0) if uneven else None
    given = model, deployed, 2 * context + deployed, least, steady, clusters
    dense, sparse = measure(root, *given), measure(sp.csr_array(root), *given)
    for part in ("own", "anchor", "easy", "moved", "luck"):
        np.testing.assert_allclose(getattr(sparse, part), getattr(dense, part), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(sparse.covariance(), dense.covariance(), rtol=1e-9, atol=1e-12)
    whole = sp.csr_array(sparse.root).toarray()
    np.testing.assert_allclose(whole.T @ whole, dense.root.T @ dense.root, rtol=1e-9, atol=1e-9)
    assert len(dense.root) <= 20 < len(whole)


@pytest.mark.parametrize("benches", [0, 1, 2])
@pytest.mark.parametrize("uneven", [False, True])
@pytest.mark.parametrize("rounding", [0.0, 1e-16])
def test_a_sparse_root_says_what_a_dense_one_says_of_copies(benches, uneven, rounding):
    """Arms whose noise is their bench's, all of one model's, and half of the others': what is left of their contrasts is
    rounding, which correlates at random. Parts that are standard deviations are compared by their squares."""
    for seed in range(8):
        rng = np.random.default_rng(seed)
        model, context = (k.ravel() for k in np.indices((4, 5)))
        deployed = context >= benches
        root = rng.normal(size=(30, 20)) * (rng.random((30, 20)) < 0.5)
        copies = np.flatnonzero((model == 1) | (rng.random(20) < 0.5))
        root[:, copies] = root[:, 5 * model[copies]] * (1 + rounding * rng.normal(size=(30, len(copies))))
        least, steady = rng.random(20) * (rng.random(20) < 0.5), 10 * rng.random(20)
        clusters = np.where(deployed, 400.0, 50.0) if uneven else None
        given = model, deployed, 2 * context + deployed, least, steady, clusters
        dense, sparse = measure(root, *given), measure(sp.csr_array(root), *given)
        np.testing.assert_allclose(sparse.covariance(), dense.covariance(), rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(sparse.own, dense.own, rtol=1e-9, atol=1e-12)
        for part in ("anchor", "easy", "moved", "luck"):
            np.testing.assert_allclose(getattr(sparse, part) ** 2, getattr(dense, part) ** 2, rtol=1e-9, atol=1e-12)


def test_the_noise_of_a_contrast_is_the_paired_one():
    rng = np.random.default_rng(0)
    bench = rng.random(200) < 0.6
    moved = np.where(rng.random(200) < 0.2, rng.random(200) < 0.5, bench)
    arms = measure_arms(dv.collapse(dv.read(_log([bench, moved]))))
    response = linearise(arms, start(arms))
    slope = response.mu * (1 - response.mu)
    noise = response.noise * np.outer(slope, slope)
    a, b = np.flatnonzero(arms.deployed)[0], bench_arms(arms.model, arms.deployed)[0]
    seen = noise[a, a] + noise[b, b] - 2 * noise[a, b]
    expected = np.var(moved.astype(float) - bench, ddof=1) / 200 + FLIPS / 200**2
    assert seen == pytest.approx(expected, rel=0.02)  # the slopes of two levels differ


def test_identical_answers_are_as_sure_as_pairing_makes_them():
    """200 items, no flip: about 1.3 points at 90 %, whatever a broken context beside it does."""
    rng = np.random.default_rng(1)
    bench = rng.random(200) < 0.6
    broken = bench & (rng.random(200) < 0.1)
    fit = _fit(_log([bench, bench, bench, broken]))
    effect = fitted_effects(fit)[0][:, 0]
    low, high = np.quantile(effect, [0.05, 0.95], axis=0)
    assert ((high - low)[:2] / 2 < 1.25 * FLIPS / 200).all()
    assert ((high - low)[:2] / 2 > 0.004).all(), "nothing seen is not nothing"
    assert (low[:2] <= 0).all() and (high[:2] >= 0).all()
    truth = broken.mean() - bench.mean()
    assert low[2] < truth < high[2]
    assert effect[:, 2].mean() == pytest.approx(truth, abs=0.02)


def test_one_broken_context_among_copies_is_as_measured():
    """Six of sixty items lost, beside one copy of the bench or twenty: contexts that flipped nothing say nothing about how
    far flips move a level. Within a quarter of the paired standard error; twenty had taken more than half of the effect."""
    bench = np.r_[np.ones(40), np.zeros(20)]
    broken = np.r_[np.zeros(6), bench[6:]]
    alone, among = (fitted_effects(_fit(_log([bench, broken, *[bench] * k])))[0][:, 0] for k in (1, 20))
    error = np.std(broken - bench, ddof=1) / np.sqrt(60)
    assert among[:, 0].mean() == pytest.approx(alone[:, 0].mean(), abs=error / 4)
    assert among[:, 0].mean() == pytest.approx(-0.1, abs=0.015)
    low, high = np.quantile(among[:, 1], [0.05, 0.95])
    assert high - low > FLIPS / 60, "nothing seen is not nothing"


def test_the_bench_is_as_measured():
    """Contexts that all hurt do not make the bench look lucky: its level lies where its items put it."""
    rng = np.random.default_rng(2)
    bench = rng.random(120) < 0.7
    contexts = [np.where(rng.random(120) < 0.3, rng.random(120) < 0.3, bench) for _ in range(8)]
    fit = _fit(_log([bench, *contexts]))
    level = fitted_effects(fit)[1][:, 0]
    assert level.mean() == pytest.approx(bench.mean(), abs=0.005)
    raw = np.sqrt(bench.mean() * (1 - bench.mean()) / 119)
    assert level.std() == pytest.approx(raw, rel=0.1)


def test_never_worse_than_plain_means_on_held_out_items():
    """Ten worlds whose contexts all hurt, and hurt some models more; sixty items in the fit, a hundred that judge."""
    found = []
    for k in range(10):
        log = simulate(world("moving", n_models=5, n_contexts=6, n_items=160, shift=-0.4), 10 + k)[0]
        cells = dv.collapse(dv.read(log))
        items = item_names(cells)
        kept = np.random.default_rng(k).permutation(items)[:60]
        part, rest = of_items(cells, kept), of_items(cells, np.setdiff1d(items, kept))
        fit = dv.fit(part, seed=k).fits[0]
        found.append(compared(fit, paired_effects(part), paired_effects(rest), k))
    mean = {key: np.mean([one[key] for one in found]) for key in found[0]}
    assert mean["fit"] <= 0.95**2 * min(mean["paired"], mean["additive"])
    assert abs(mean["bench_minus_raw"]) < 0.005
    assert mean["bench"] <= 0.97**2 * mean["bench_raw"]  # the luck of a bench is told by the models beside it
    assert mean["level"] <= 0.95**2 * mean["level_raw"]
    assert mean["deployed"] <= mean["deployed_raw"]
    assert 0.85 < mean["covered"] < 0.98  # 300 effects that share their items and bench within a world: error about .025


def test_contexts_with_items_of_their_own_are_not_held_against_paired_means():
    """c1 replays the bench; c2 has half of its items and as many of its own, whose levels weigh what was logged."""
    log = _log([np.tile([1.0, 0.0], 30)] * 3).with_columns(
        pl.when((pl.col("context") == "c2") & pl.col("item").is_in([f"i{k}" for k in range(30)]))
        .then("own-" + pl.col("item"))
        .otherwise("item")
        .alias("item")
    )
    mean = paired_effects(dv.collapse(dv.read(log))).mean
    np.testing.assert_array_equal(np.isnan(mean), [[False, True]])
    only = dv.fit(dv.collapse(dv.read(log.filter(pl.col("context") != "c1"))), seed=0)
    with pytest.raises(dv.NotIdentifiedError, match="traffic that replays it"):
        held_items_check(only)
