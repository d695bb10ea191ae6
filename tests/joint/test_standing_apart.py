"""Combinations that stand apart: the residual against conditioning by hand; a broken one is found, none elsewhere."""

import importlib
import itertools

import numpy as np
import polars as pl
import pytest

import divergence as dv
from divergence.joint import levels
from divergence.joint.posterior import hierarchy_of
from divergence.joint.saved import load
from divergence.joint.standing_apart import deleted_residuals
from divergence.simulate import simulate, world

new_context_check = importlib.import_module("divergence.joint.new_context_check")  # its function has its name

SMALL = {"n_models": 6, "n_contexts": 5, "n_items": 100}


def fitted(kind: str, seed: int, **spec) -> tuple[dv.Posterior, dict]:
    # A loss of three logits, of which all logs of this size tell; of two, `benchmarks/coverage.md` has the share.
    log, truth = simulate(world(kind, **SMALL, **({"broken": 3.0} if kind == "broken" else {})), seed)
    return dv.fit(dv.collapse(dv.read(log)), spec=dv.Spec(**spec), seed=seed), truth


def apart(posterior) -> list[tuple[str, str]]:
    fit = posterior.fits[0]
    names = fit.cells.levels
    return [(names["model"][m], names["context"][c]) for m, c, _ in fit.design.apart]


@pytest.fixture(scope="module")
def broken():
    return fitted("broken", 3)


def test_a_deleted_residual_is_that_of_the_prediction_by_all_others(broken):
    fit = broken[0].fits[0]
    target, x = hierarchy_of(fit), fit.x[0]
    total = target.covariances(x[None])[0]
    z = deleted_residuals(target, x, [[a] for a in range(len(target.value))])
    for a in (0, 7, len(z) - 1):
        rest = np.delete(np.arange(len(z)), a)
        pull = np.linalg.solve(total[np.ix_(rest, rest)], total[rest, a])
        expected = (target.value[a] - pull @ target.value[rest]) / np.sqrt(total[a, a] - pull @ total[rest, a])
        assert z[a] == pytest.approx(expected, rel=1e-8)


def test_the_broken_combination_is_found_and_only_it(broken):
    posterior, truth = broken
    assert apart(posterior) == [("model-0", "context-1")]
    assert any("model-0 in context-1 stands apart" in note and "below" in note for note in posterior.fits[0].cells.notes)
    deployed, bench = levels(posterior.fits[0], "deployment"), levels(posterior.fits[0], "evaluation")
    effect = deployed.draws[:, 0, deployed.contexts.index("context-1")] - bench.draws[:, 0, 0]
    low, high = np.quantile(effect, [0.005, 0.995])
    assert low < truth["context_effect"][0, 0] < high
    # Without a scale of its own it is drawn towards the others, and takes their scales with it.
    plain = fitted("broken", 3, apart=0.0)[0].fits[0]
    pulled = levels(plain, "deployment").draws[:, 0, deployed.contexts.index("context-1")].mean()
    assert pulled > deployed.draws[:, 0, deployed.contexts.index("context-1")].mean() + 0.01
    scales = posterior.fits[0].scales
    assert scales["apart:0"].mean() > 2 * scales["delta"].mean()


def test_a_saved_posterior_keeps_it(broken, tmp_path):
    posterior = broken[0]
    posterior.save(tmp_path / "posterior")
    back = load(tmp_path / "posterior")
    assert apart(back) == apart(posterior)
    assert np.array_equal(levels(back.fits[0], "deployment").draws, levels(posterior.fits[0], "deployment").draws)
    assert "epsilon[k] ~ N(0, a[k]) in the 1 combinations" in (tmp_path / "posterior" / "posterior.json").read_text()


def test_where_none_stands_apart_none_is_found():
    # Each log has one with probability .01 at most: two of twenty would be a chance of .017.
    assert sum(len(apart(fitted(kind, seed)[0])) > 0 for kind in ("null", "moving") for seed in range(10)) <= 1


def test_of_two_models_none_is_told_apart():
    log, _ = simulate(world("broken", n_models=2, n_contexts=5, n_items=100), 1)
    assert apart(dv.fit(dv.collapse(dv.read(log)), seed=1)) == []


def both_regimes(seed: int, loss: float, regimes: tuple[str, ...]) -> pl.DataFrame:
    """Five contexts that occur in both regimes; model m0 loses in one of them, in the regimes named."""
    rng = np.random.default_rng(seed)
    ability = 0.7 * rng.standard_normal(6)
    abilities = {"evaluation": ability, "deployment": ability - 0.2 + 0.15 * rng.standard_normal(6)}
    difficulty, context = 1.2 * rng.standard_normal(100), 0.2 * rng.standard_normal(5)
    moved, rows = 0.15 * rng.standard_normal((6, 5)), []
    for regime, m, c in itertools.product(abilities, range(6), range(5)):
        lost = loss if (m, c) == (0, 1) and regime in regimes else 0.0
        eta = 0.6 + abilities[regime][m] + context[c] + moved[m, c] - lost - difficulty
        score = rng.binomial(2, 1 / (1 + np.exp(-eta)))
        rows.append(
            pl.DataFrame(
                {
                    "regime": regime,
                    "model": f"m{m}",
                    "context": f"c{c}",
                    "score_n": 2,
                    "item": [f"i{k}" for k in range(100)],
                    "score": score / 2,
                }
            )
        )
    return pl.concat(rows)


@pytest.mark.parametrize("seed", range(3))
def test_where_a_context_occurs_in_both_regimes_one_of_them_may_be_broken(seed):
    posterior = dv.fit(dv.collapse(dv.read(both_regimes(seed, 3.0, ("deployment",)))), seed=1)
    fit = posterior.fits[0]
    assert [(m, c, r) for m, c, r in fit.design.apart] == [(0, 1, 1)]
    assert any("(deployment only) stands apart" in note for note in fit.cells.notes)
    for regime in ("evaluation", "deployment"):
        of = levels(fit, regime)
        mine = (fit.arms.model == 0) & (fit.arms.deployed == (regime == "deployment"))
        raw = fit.arms.level[mine][[fit.cells.levels["context"][c] for c in fit.arms.context[mine]].index("c1")]
        low, high = np.quantile(of.draws[:, 0, of.contexts.index("c1")], [0.005, 0.995])
        assert low < raw < high, regime


def test_a_held_out_combination_is_not_known_to_stand_apart(broken):
    fit = broken[0].fits[0]
    held = np.flatnonzero((fit.arms.context == fit.cells.levels["context"].index("context-1")) & fit.arms.deployed)
    x = fit.x[:50]
    target = hierarchy_of(fit)
    _, block = new_context_check._predicted(np.linalg.inv(target.covariances(x)), target.value, held)
    share, blocks = new_context_check._laws(fit, x, held, block)
    assert share.sum() == pytest.approx(1)
    assert share[0] > 0.8
    where = np.flatnonzero(fit.arms.model[held] == 0)[0]
    variance = fit.scales["apart:0"][:50] ** 2
    assert np.allclose(blocks[0][:, where, where], block[:, where, where] - variance)
    assert np.allclose(blocks[1 + where], block)  # it is one of those that may
    told = dv.joint.new_context_check(broken[0]).filter(context="context-1")
    assert told["covered"][0] < 1  # the one that fails was not to be expected
