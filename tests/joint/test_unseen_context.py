"""The law of a context that nobody has seen: Student's t where noise is nothing, one law for three questions, its limits."""

import numpy as np
import polars as pl
import pytest
from scipy import stats

import divergence as dv
from divergence.joint.posterior import Fit
from divergence.joint.predict import levels
from divergence.risk.summaries import summarise
from divergence.simulate import simulate, world


def counted(rates: np.ndarray, n: int = 10**7, bench: bool = True) -> pl.DataFrame:
    """Rates of models (rows) in contexts (columns), each of `n` trials of items of its own."""
    rows = [
        ("deployment", f"m{m}", f"c{c}", f"i{c}", round(float(rates[m, c]) * n) / n, n)
        for m, c in np.ndindex(*rates.shape)
        if rates[m, c] >= 0
    ]
    rows += [("evaluation", f"m{m}", "bench", "bench", 0.6, n) for m in range(len(rates)) if bench]
    return pl.DataFrame(rows, schema=["regime", "model", "context", "item", "score", "score_n"], orient="row")


def fitted(log: pl.DataFrame, seed: int = 0) -> dv.Posterior:
    return dv.fit(dv.collapse(dv.read(log)), seed=seed)


def drawn_levels(fit: Fit, count: int) -> np.ndarray:
    """Draws in new contexts, (S, models, count)."""
    mu = levels(fit, "deployment", contexts="new", count=count)
    assert mu is not None
    return mu.draws


def unseen(fit: Fit, count: int = 20) -> np.ndarray:
    """The same on the link scale."""
    return link(drawn_levels(fit, count))


def link(rates: np.ndarray) -> np.ndarray:
    return np.log(rates / (1 - rates))


@pytest.mark.parametrize(("models", "contexts", "seed"), [(1, 14, 1), (3, 9, 2), (6, 20, 3)])
def test_without_noise_it_is_the_prediction_law_of_students_t(models, contexts, seed):
    """Contexts .2 apart, of which the prior says nothing: quartiles and 90 % limits, each model alone.

    A draw shares its centre and spread with its 20 contexts, so 2,000 draws count: the standard error of the 5 % point of t
    is sqrt(.05 .95 / 2000) / f(t), and four of them are the tolerance.
    """
    rng = np.random.default_rng(seed)
    eta = rng.normal(0.4, 0.5, (models, 1)) + 0.2 * rng.standard_normal((models, contexts))
    drawn = unseen(fitted(counted(1 / (1 + np.exp(-eta)))).fits[0])
    for m in range(models):
        scale = eta[m].std(ddof=1) * np.sqrt(1 + 1 / contexts)
        seen = (drawn[:, m] - eta[m].mean()) / scale
        for q in (0.05, 0.25, 0.5, 0.75, 0.95):
            point = stats.t.ppf(q, contexts - 1)
            error = np.sqrt(q * (1 - q) / 2000) / stats.t.pdf(point, contexts - 1)
            assert np.quantile(seen, q) == pytest.approx(point, abs=4 * error)


def test_models_that_moved_together_do_so_in_the_new_context():
    """Correlations over contexts of .95 and -.6 are those of the draws, within four standard errors of 2,000 draws."""
    rng = np.random.default_rng(4)
    shared, own = rng.standard_normal((2, 12))
    other = rng.standard_normal(12)
    eta = np.stack([shared, 0.95 * shared + 0.31 * own, -0.6 * shared + 0.8 * other]) * 0.3
    drawn = unseen(fitted(counted(1 / (1 + np.exp(-eta)))).fits[0], 1)[:, :, 0]
    rank = np.corrcoef(stats.rankdata(drawn, axis=0).T)
    told = np.corrcoef(eta)
    for i, j in ((0, 1), (0, 2), (1, 2)):
        expected = 6 / np.pi * np.arcsin(told[i, j] / 2)  # Spearman's of a normal law; t with 11 degrees is near it
        assert rank[i, j] == pytest.approx(expected, abs=4 / np.sqrt(2000) + 0.02)


def test_noise_is_no_difference_of_contexts():
    """Twelve equal contexts of 100 trials: what looks like a spread of .2 on the link scale is noise, which t takes for one.

    Over ten worlds the 90 % interval is narrower than that of t, by a tenth at least, and holds the one level there is.
    """
    rng, truth, held, ratio = np.random.default_rng(5), link(np.array(0.6)), [], []
    for seed in range(10):
        seen = rng.binomial(100, 0.6, (4, 12)) / 100
        drawn = unseen(fitted(counted(seen, 100, bench=False), seed).fits[0])
        low, high = np.quantile(drawn, [0.05, 0.95], axis=(0, 2))
        by_t = 2 * stats.t(11).ppf(0.95) * link(seen).std(1, ddof=1) * np.sqrt(13 / 12)
        held.append((low <= truth) & (truth <= high))
        ratio.append((high - low) / by_t)
    assert np.mean(ratio) < 0.9 and np.mean(held) > 0.9


@pytest.mark.prove
def test_coverage_of_contexts_that_were_left_out():
    """30 worlds, 5 models, 7 contexts and one more: 150 levels in 30 contexts. Truth without noise of its own.

    Levels of one context move together, so the worlds count: the standard error over them is at most .055 (all or none).
    """
    held = []
    for seed in range(30):
        rng = np.random.default_rng([6, seed])
        eta = rng.normal(0.5, 0.5, (5, 1)) + 0.4 * rng.standard_normal(8) + 0.2 * rng.standard_normal((5, 8))
        rates = rng.binomial(400, 1 / (1 + np.exp(-eta[:, :7]))) / 400
        drawn = unseen(fitted(counted(rates, 400), seed).fits[0])
        low, high = np.quantile(drawn, [0.05, 0.95], axis=(0, 2))
        held.append(((low <= eta[:, 7]) & (eta[:, 7] <= high)).mean())
    assert np.mean(held) == pytest.approx(0.9, abs=3 * max(np.std(held) / np.sqrt(30), 0.01))


LOGS = {
    "serving factors": lambda: simulate(world("baseline", n_models=4, n_contexts=6, n_items=80), 3)[0],
    "labels only": lambda: simulate(world("moving", n_models=4, n_contexts=6, n_items=80), 4)[0].drop(
        "quantization", "kv_cache_dtype", "concurrency"
    ),
    "a broken combination": lambda: simulate(world("broken", n_models=4, n_contexts=6, n_items=80), 5)[0],
    "one model": lambda: simulate(world("baseline", n_models=1, n_contexts=5, n_items=80), 6)[0],
    "one deployment context": lambda: simulate(world("baseline", n_models=3, n_contexts=1, n_items=80), 7)[0],
    "rates of items of their own": lambda: counted(np.random.default_rng(8).uniform(0.3, 0.9, (5, 4)), 500),
    "models in contexts of their own": lambda: counted(
        np.where(np.tri(4, 6, 2) > 0, np.random.default_rng(9).uniform(0.3, 0.9, (4, 6)), -1.0), 500
    ),
}


@pytest.mark.parametrize("name", LOGS)
def test_levels_risks_and_predictions_are_one_law(name):
    """Limits and medians of three questions agree: two draw the same contexts, the third as many of its own."""
    posterior = fitted(LOGS[name]())
    fit = posterior.fits[0]
    mine = np.quantile(drawn_levels(fit, 1)[:, :, 0], [0.05, 0.5, 0.95], axis=0)
    rows = dv.predictions(posterior, contexts="new").to_frame()
    told = rows.sort("model").select("lower", "median", "upper").to_numpy().T
    np.testing.assert_allclose(told, mine, atol=1e-12)
    found = summarise(posterior)
    risks = np.stack([1 - found.upper[:-1, -1, -1], 1 - found.lower[:-1, -1, -1]])
    strata = found.risk.shape[2] > 1  # then a stratum that was never seen adds its own spread
    if not strata:
        np.testing.assert_allclose(risks, mine[[0, 2]], atol=1e-5)  # points between draws are taken on other scales
    else:
        assert (risks[0] <= mine[0] + 1e-9).all() and (risks[1] >= mine[2] - 1e-9).all()
    more = np.quantile(drawn_levels(fit, 20), [0.05, 0.5, 0.95], axis=(0, 2))
    spread = mine[2] - mine[0]
    assert (np.abs(more - mine) < 0.15 * spread).all()  # 2,000 draws: the 5 % point errs by 3 % of the width


def test_one_context_leaves_the_prior_and_all_else_is_finite():
    """With one context the half-normal prior is all that is known: wide, but no certainty of 0 or 1."""
    for name in ("one deployment context", "models in contexts of their own"):
        drawn = unseen(fitted(LOGS[name]()).fits[0])
        assert np.isfinite(drawn).all()
        if name == "one deployment context":
            low, high = np.quantile(drawn, [0.05, 0.95], axis=(0, 2))
            assert (high - low > 2).all() and (high - low < 8).all()


def test_two_contexts_far_apart_are_held_by_the_prior():
    """One degree of freedom: t would reach 6.3 sd, and 1.8 x 4 on the link scale is as good as certain of 0 or 1."""
    rates = np.array([[0.2, 0.8], [0.3, 0.85]])
    low, high = np.quantile(unseen(fitted(counted(rates)).fits[0]), [0.05, 0.95], axis=(0, 2))
    by_t = 2 * stats.t(1).ppf(0.95) * link(rates).std(1, ddof=1) * np.sqrt(1.5)
    assert (high - low < by_t / 2).all() and (high - low > np.abs(np.diff(link(rates)))[:, 0]).all()
