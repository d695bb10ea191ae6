"""A bench that was lucky is told from the models beside it: by one model's contrasts, never by what all contrasts share."""

import numpy as np
import polars as pl
import pytest
import scipy.sparse as sp

import divergence as dv
from divergence.joint.held_items import fitted_effects
from divergence.joint.paired import ALIKE, SHARED_MAX, bench_luck, measure

ROWS = 40_000  # of a root: correlations within .005 each, their means over models within .003


def drawn(models, contexts, turned, easy, seed=0):
    """A root whose bench has the sd 1, `easy` of its variance common to all; contrasts the sd .5 and the correlation
    `-turned` with the own noise of their bench."""
    rng = np.random.default_rng(seed)
    mine, common = rng.standard_normal((ROWS, models)), rng.standard_normal((ROWS, 1))
    bench = np.sqrt(easy) * common + np.sqrt(1 - easy) * mine
    left = rng.standard_normal((ROWS, models, contexts))
    contrast = 0.5 * (np.sqrt(1 - turned**2) * left - turned * mine[:, :, None])
    levels = np.concatenate([bench[:, :, None], bench[:, :, None] + contrast], 2)
    model, context = (k.ravel() for k in np.indices((models, contexts + 1)))
    return levels.reshape(ROWS, -1) / np.sqrt(ROWS), model, context


def measured(root, model, context, steady=0.0):
    zero = np.zeros(len(model))
    return measure(root, model, context > 0, 2 * context + (context > 0), zero, zero + steady)


def contrasts(found, model, context):
    """Covariance of the contrasts with the benches, (arms, models), and the contrasts' variances."""
    whole, bench = found.covariance(), np.flatnonzero(context == 0)
    across = whole[:, bench] - whole[bench[model]][:, bench]
    own = np.diag(whole) - 2 * whole[np.arange(len(model)), bench[model]] + np.diag(whole)[bench[model]]
    return across[context > 0], own[context > 0]


@pytest.mark.parametrize("turned", [0.0, 0.4, 0.8])
@pytest.mark.parametrize("easy", [0.3, 0.7])
def test_a_contrast_says_how_lucky_its_own_bench_was(turned, easy):
    """Less the mean over models, as deviations are all that tells of a bench: -turned sd of each, within 4 errors."""
    root, model, context = drawn(6, 4, turned, easy)
    across, own = contrasts(measured(root, model, context), model, context)
    of = model[context > 0]
    inside = across[np.arange(len(of)), of] - across.mean(1)
    expected = -turned * 0.5 * np.sqrt(1 - easy) * (1 - 1 / 6)
    assert inside.mean() == pytest.approx(expected, abs=4 * 0.5 / np.sqrt(ROWS * 24) + 0.02 * abs(expected))
    np.testing.assert_allclose(own, 0.25, rtol=0.04)  # a variance of 40,000 rows is within .7 %: its law stays as it is


@pytest.mark.parametrize(("models", "easy"), [(6, 0.4), (6, 0.8), (3, 0.7), (20, 0.3)])
def test_what_all_contrasts_share_moves_no_bench(models, easy):
    """Benches share enough here: the mean of all benches has no covariance with any contrast, but for rounding."""
    assert (1 - easy) / (easy * models) < ALIKE**2 * 0.9
    root, model, context = drawn(models, 3, 0.7, easy)
    across, _ = contrasts(measured(root, model, context), model, context)
    assert np.abs(across).max() > 0.05
    # `between` and the sds of the benches are estimates, alike for all models: .7 % of covariances of .2
    assert np.abs(across.mean(1)).max() < 0.01 * np.abs(across).max()


def test_one_model_tells_nothing_of_its_bench():
    root, model, context = drawn(1, 4, 0.8, 0.4)
    across, _ = contrasts(measured(root, model, context), model, context)
    np.testing.assert_allclose(across, 0, atol=1e-12)
    assert bench_luck(0.9, 0.2, 1) == (0.0, 0.0)


def test_bench_noise_that_was_not_seen_is_in_no_contrast():
    """A steadied variance lifts the bench and all of its arms alike: contrasts and their covariances stay."""
    root, model, context = drawn(6, 4, 0.6, 0.4)
    plain, lifted = (contrasts(measured(root, model, context, steady), model, context) for steady in (0.0, 5.0))
    np.testing.assert_allclose(lifted[1], plain[1], rtol=1e-9)
    np.testing.assert_allclose(lifted[0], plain[0], rtol=0.02, atol=2e-3)


@pytest.mark.parametrize("turned", [-1.5, -0.3, 0.0, 0.5, 2.0])
@pytest.mark.parametrize("between", [0.0, 1e-9, 0.2, 0.9])
@pytest.mark.parametrize("models", [2, 3, 50, 4000])
def test_every_contrast_keeps_noise_of_its_own(turned, between, models):
    luck, alike = bench_luck(turned, between, models)
    assert luck**2 * (1 + alike**2) <= SHARED_MAX * (1 + 1e-12)
    assert 0 <= alike <= ALIKE / np.sqrt(models) * (1 + 1e-12)
    assert luck * turned >= 0


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("sparse", [False, True])
def test_any_root_makes_a_covariance(seed, sparse):
    """Few rows, wild sds, uneven items, models with a bench, without and with several: no variance below 0, nothing that is
    no number."""
    rng = np.random.default_rng(seed)
    model, context = (k.ravel() for k in np.indices((6, 5)))
    kept = rng.random(30) < 0.8
    kept[[0, 5]] = True  # two models with a bench at least
    model, context = np.unique(model[kept], return_inverse=True)[1], context[kept]
    benches = np.where(model == model.max(), 2, 1)
    size = kept.sum()
    root = rng.standard_normal((6, size)) * np.exp(2 * rng.standard_normal(size))
    deployed, least = context >= benches, rng.random(size) * (rng.random(size) < 0.3)
    clusters = np.where(deployed, 300.0, 60.0) if seed % 2 else None
    given = model, deployed, 2 * context + deployed, least, rng.random(size), clusters
    found = measure(sp.csr_array(root) if sparse else root, *given)
    assert (found.own >= 0).all()
    assert np.linalg.eigvalsh(found.covariance()).min() > -1e-9 * found.variance.max()


@pytest.mark.parametrize("models", [2, 3, 6])
@pytest.mark.parametrize("seed", range(10))
def test_contrasts_that_are_nothing_but_their_bench(models, seed):
    """Luck is at its limit: what is left for the other parts of the noise is 0, and not below it by rounding."""
    rng = np.random.default_rng(seed)
    bench, left = rng.standard_normal((200, models, 1)), 0.1 * rng.standard_normal((200, models, 3))
    root = np.concatenate([bench, left], 2).reshape(200, -1) / np.sqrt(200)
    model, context = (k.ravel() for k in np.indices((models, 4)))
    found = measured(root, model, context)
    assert np.isfinite(found.covariance()).all() and (found.own >= 0).all()
    _, own = contrasts(found, model, context)
    assert (found.own[context > 0] >= (1 - SHARED_MAX - 1e-9) * own).all()


@pytest.mark.parametrize("models", [2, 3, 6])
def test_a_bench_tried_once_and_deployment_many_times(models):
    """The noise of every contrast is that of its bench: the fit ends, and its gates say so."""
    rng, items, trials = np.random.default_rng(models), 60, 20
    model, context, item, trial = (k.ravel() for k in np.indices((models, 4, items, trials)))
    difficulty = rng.normal(0, 0.7, items)
    frame = pl.DataFrame(
        {
            "regime": np.where(context == 0, "evaluation", "deployment"),
            **{name: value.astype(str) for name, value in (("model", model), ("context", context), ("item", item))},
            "trial": trial,
            "score": (rng.random(len(item)) < 1 / (1 + np.exp(difficulty[item] - 0.4))).astype(float),
        }
    ).filter((pl.col("regime") == "deployment") | (pl.col("trial") == 0))
    posterior = dv.fit(dv.collapse(dv.read(frame)), seed=0)
    assert np.isfinite(posterior.fits[0].effects).all() and posterior.passed


@pytest.mark.parametrize("factors", [False, True])
def test_traffic_on_items_of_its_own_draws_no_bench(factors):
    """Four models; two contexts replay the bench, a third has easier items of its own (2 logits, in all models), which say
    nothing of the bench. Mean distance of bench levels from the raw ones, of eight logs of 48 items."""
    far = []
    for seed in range(8):
        random, frames = np.random.default_rng(seed), []
        ability = random.normal(-0.5, 0.5, 4)
        difficulty = random.normal(0, 1.5, 150)
        for context, items, moved in (("bench", range(48), 0.0), ("cut", range(48), 0.0), ("sampled", range(48), -0.5)):
            frames.append((context, np.array(items), moved))
        frames.append(("chat", np.arange(48, 150), 2.0))
        rows = []
        for context, items, moved in frames:
            logit = ability[:, None] + moved - difficulty[items]
            score = random.random(logit.shape) < 1 / (1 + np.exp(-logit))
            for m, k in np.ndindex(score.shape):
                row = {"model": f"m{m}", "context": context, "item": str(items[k]), "score": float(score[m, k])}
                more = {"scaffold": "chat" if context == "chat" else "agent", "sampler": str(context == "sampled")}
                rows.append(row | {"regime": "evaluation" if context == "bench" else "deployment"} | more)
        frame = pl.DataFrame(rows)
        cells = dv.collapse(dv.read(frame if factors else frame.drop("scaffold", "sampler")))
        bench = fitted_effects(dv.fit(cells, seed=seed).fits[0])[1].mean(0)
        raw = frame.filter(pl.col("context") == "bench").group_by("model").agg(pl.col("score").mean()).sort("model")
        far.append((bench - raw["score"].to_numpy()).mean())
    # Drawn by the easier items benches lay 1.2 and 2.0 points higher.
    assert abs(np.mean(far)) < 0.006
