"""Models that deployment treats unlike all others: against conditioning by hand, found where they are, left as measured."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
import scipy.sparse as sp
from scipy.special import ndtr

import divergence as dv
from divergence.joint.arms import prior_centre
from divergence.joint.block_hierarchy import BlockHierarchy
from divergence.joint.design import arm_loadings
from divergence.joint.held_items import fitted_effects, paired_effects
from divergence.joint.linearisation import linearisation
from divergence.joint.noise import draw_noise
from divergence.joint.posterior import hierarchy_of, standard_deviations
from divergence.joint.problem import draw_effects
from divergence.joint.unlike_models import (
    OWN,
    Unlike,
    between,
    deleted,
    largest_by_chance,
    shifts_of_models,
    unlike_models,
    unlike_notes,
)
from divergence.simulate import simulate, world


def log_of(shifts, contexts=3, items=120, seed=0) -> dv.Executions:
    """One model a shift, in logits, the same in every context and added to a small effect of the context."""
    random = np.random.default_rng(seed)
    difficulty, ability = random.normal(0, 1, items), random.normal(0.3, 0.2, len(shifts))
    moved = np.concatenate([[0.0], random.normal(0, 0.1, contexts)])
    deployed = np.arange(contexts + 1) > 0
    logit = ability[:, None, None] + (moved + np.outer(shifts, deployed))[:, :, None] - difficulty
    score = random.random(logit.shape) < 1 / (1 + np.exp(-logit))
    model, context, item = (k.ravel() for k in np.indices(score.shape))
    frame = pl.DataFrame({"model": model, "context": context, "item": item, "score": score.ravel().astype(float)})
    regime = np.where(context == 0, "evaluation", "deployment")
    return dv.read(frame.with_columns(pl.col("model", "context", "item").cast(pl.String), regime=pl.Series(regime)))


def found_in(log: dv.Executions) -> Unlike:
    fit = dv.fit(dv.collapse(log), seed=0).fits[0]
    return linearisation(fit.design, fit.arms, dv.Spec()).own


def test_a_deleted_shift_is_what_the_others_say_by_hand():
    """Three models, unrelated noise: the weighted mean of the two others and their variance between, in plain arithmetic."""
    shifts, variance = np.array([-1.0, 0.2, 0.8]), np.array([0.09, 0.04, 0.01])
    t, error = deleted(shifts, np.diag(variance))
    for m in range(3):
        a, b = (k for k in range(3) if k != m)
        excess = (shifts[a] - shifts[b]) ** 2 / (variance[a] + variance[b]) - 1  # Q less its one degree of freedom
        weight = 1 / variance[[a, b]]
        spread = max(0.0, excess / (weight.sum() - (weight**2).sum() / weight.sum()))
        one, other = 1 / (variance[a] + spread), 1 / (variance[b] + spread)
        mean = (one * shifts[a] + other * shifts[b]) / (one + other)
        assert error[m] == pytest.approx(np.sqrt(variance[m] + spread + 1 / (one + other)), rel=1e-9)
        assert t[m] == pytest.approx((shifts[m] - mean) / error[m], rel=1e-9)


def test_the_variance_between_is_unbiased():
    """Before it is cut at 0: mean of 4,000 draws within 4 standard errors of the truth, noise correlated and unequal."""
    random = np.random.default_rng(1)
    root = random.normal(0, 0.2, (12, 12))
    noise, truth = root @ root.T + np.diag(np.linspace(0.1, 0.5, 12)), 6.0  # so wide that it is hardly ever cut
    low = np.linalg.cholesky(noise + truth * np.eye(12))
    seen = np.array([between(5.0 + low @ random.standard_normal(12), noise) for _ in range(4000)])
    assert (seen > 0).mean() > 0.999
    assert seen.mean() == pytest.approx(truth, abs=4 * seen.std() / np.sqrt(len(seen)))


def test_a_shift_of_all_models_and_their_order_change_nothing():
    random = np.random.default_rng(2)
    root = random.normal(0, 0.3, (5, 5))
    noise, shifts, turn = root @ root.T + np.eye(5) / 10, random.normal(0, 1, 5), random.permutation(5)
    np.testing.assert_allclose(deleted(shifts + 3.0, noise), deleted(shifts, noise), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(deleted(shifts, noise + 7.0), deleted(shifts, noise), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(deleted(shifts[turn], noise[np.ix_(turn, turn)]), np.array(deleted(shifts, noise))[:, turn])


def test_models_that_turn_round_are_left_as_measured():
    """One gains a logit, one loses 1.5: effects within a fifth of a paired standard error of the paired means (a shift t = 6
    standard errors out is drawn back by 1 / (2 t) of them), where they had been drawn to each other twice as far."""
    log = log_of([1.0, -1.5], contexts=1, items=150, seed=3)
    cells = dv.collapse(log)
    effect = fitted_effects(dv.fit(cells, seed=0).fits[0])[0].mean(0)
    plain = fitted_effects(dv.fit(cells, spec=dv.Spec(apart=0.0), seed=0).fits[0])[0].mean(0)
    paired = paired_effects(cells)
    assert (np.abs(effect - paired.mean) < 0.2 * paired.error).all()
    assert (np.abs(plain - paired.mean) > 2 * np.abs(effect - paired.mean)).all()


def test_the_one_of_six_is_found_and_the_sentence_says_so():
    fit = dv.fit(dv.collapse(log_of([0.0, 0.0, 0.0, -2.5, 0.0, 0.0], items=300)), seed=0).fits[0]
    notes = [note for note in fit.cells.notes if "what the other models say" in note]
    assert len(notes) == 1
    assert "does to 3 lies" in notes[0]
    assert "below" in notes[0]


@pytest.mark.parametrize("models", [2, 3, 6])
def test_alike_models_are_seldom_told_apart(models):
    """Of 40 logs whose models shift alike 1 % have a sentence: four or more with a probability of .0007. As many models have
    variance of their own as z says, which is that of noise: z^2 > 2 log M (M - 1) in .24, .06 and .009 of normal values."""
    said, own, count = 0, 0, 0
    for seed in range(40):
        log = log_of([-0.3] * models, items=80, seed=100 + seed)
        found = found_in(log)
        said += bool(unlike_notes(tuple("abcdef"[:models]), found))
        own, count = own + (found.variance > 0).sum(), count + models
    assert said <= 3
    share = 2 * ndtr(-np.sqrt(largest_by_chance(models)))
    units = 40 if models == 2 else count  # of two models both have one z
    assert abs(own / count - share) < 4 * np.sqrt(share * (1 - share) / units)


def test_what_a_model_has_of_its_own_follows_its_distance():
    found = found_in(log_of([0.0, 0.0, -2.5], items=300))
    assert found.z[2] < -3
    assert found.variance[2] > 1.0  # of a true square of 6.25, in logits
    ratio = found.variance[2] / (OWN * (found.z[2] ** 2 - largest_by_chance(3)))
    assert 0.1**2 < ratio < 0.6**2  # the square of a standard error


def test_without_a_bench_or_with_one_model_there_is_nothing_to_find():
    log = simulate(world("baseline", n_models=1, n_contexts=3, n_items=60), 0)[0]
    assert not found_in(dv.read(log)).z.any()
    log = simulate(world("baseline", n_models=3, n_contexts=3, n_items=60), 0)[0]
    assert not found_in(dv.read(log.filter(pl.col("regime") == "deployment"))).z.any()


def test_dense_and_sparse_find_the_same_and_draw_the_same(monkeypatch):
    log = log_of([0.6, -1.0, 0.0, 0.2], items=150, seed=5)
    cells = dv.collapse(log)
    dense = dv.fit(cells, seed=0).fits[0]
    monkeypatch.setattr("divergence.joint.arm_noise.DENSE_ARMS_MAX", 0)
    monkeypatch.setattr("divergence.joint.arm_noise.FEW_MODELS_ARMS_MAX", 0)
    sparse = dv.fit(cells, seed=0).fits[0]
    assert isinstance(hierarchy_of(sparse), BlockHierarchy)
    assert sp.issparse(arm_loadings(sparse.design, sparse.arms))
    found = []
    for fit in (dense, sparse):
        loadings, x = arm_loadings(fit.design, fit.arms), fit.x[0]
        own = unlike_models(fit.design, loadings, hierarchy_of(fit), dense.x[0])
        sd = standard_deviations(fit.design, dense.x[:4])
        mean = draw_effects(fit.design, fit.response, loadings, sd, None, prior_centre(fit.arms), own.variance)
        found.append((own.z, own.variance, mean @ loadings.T))
        assert len(x)
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(np.asarray(one), np.asarray(other), rtol=1e-6, atol=1e-7)


def test_intervals_hold_what_models_have_of_their_own():
    """300 truths from the prior with own shifts, levels with the fit's noise, and the draws given these: 90 % intervals of
    each model's shift hold 90 %, within 3.5 binomial errors."""
    fit = dv.fit(dv.collapse(log_of([0.6, -1.0, 0.0], items=150, seed=6)), seed=0).fits[0]
    design, loadings, random = fit.design, arm_loadings(fit.design, fit.arms), np.random.default_rng(0)
    sd = {name: value[:1] for name, value in standard_deviations(design, fit.x).items()}
    own = np.array([2.0, 4.0, 0.0])  # so much that leaving it out would show
    bench, deployed = design.term("theta_E").columns, design.term("theta_D").columns
    many, held = {name: np.repeat(value, 300, 0) for name, value in sd.items()}, []
    for _ in range(300):
        truth = np.zeros(design.size)
        for term in design.terms:
            scale, size = np.ravel(sd.get(term.name, term.width)), term.columns.stop - term.columns.start
            truth[term.columns] = np.repeat(scale, size // len(scale)) * random.standard_normal(size)
        one, other = random.standard_normal((2, 3))
        truth[bench] = sd["theta_E"] * one
        truth[deployed] = sd["theta_D"] * (sd["rho"] * one + np.sqrt(1 - sd["rho"] ** 2) * other)
        truth[deployed] += np.sqrt(own) * random.standard_normal(3)
        error, _ = draw_noise(fit.response, 1, random)
        response = dataclasses.replace(fit.response, value=loadings @ truth + error[0])
        draws = draw_effects(design, response, loadings, many, random, 0.0, own)
        low, high = np.quantile(draws[:, deployed] - draws[:, bench], [0.05, 0.95], axis=0)
        shift = truth[deployed] - truth[bench]
        held.append((low <= shift) & (shift <= high))
    np.testing.assert_allclose(np.mean(held, 0), 0.9, atol=3.5 * np.sqrt(0.9 * 0.1 / 300))


def test_shifts_of_levels_that_are_all_but_known_have_a_noise():
    """What all models have in common is free, and far less sure than their distances: its digits must not reach these."""
    random = np.random.default_rng(0)
    models = 6
    moved = np.kron(np.eye(models), np.ones((10, 1)))
    value = moved @ random.normal(0, 1e-5, models)
    everywhere = 15.0 * np.ones((len(value), len(value)))
    covariance = everywhere + np.diag(1e-10 * random.uniform(0.5, 2, len(value)))
    layout = SimpleNamespace(term=lambda _: 3)
    target = SimpleNamespace(layout=layout, value=value, covariances=lambda _: covariance[None])
    shifts, noise = shifts_of_models(SimpleNamespace(terms=(), outlier=0.0, instability=0.0), moved, target, np.zeros(4))
    t, error = deleted(shifts, noise)
    assert np.isfinite(t).all() and (error > 0).all()
    alone = value.reshape(models, 10)[:, 0]
    assert np.allclose(shifts - shifts.mean(), alone - alone.mean(), atol=1e-9)
