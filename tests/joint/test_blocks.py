"""The structured density: the dense one to rounding, on logs of every shape, and what is made with it."""

import dataclasses

import numpy as np
import polars as pl
import pytest
import scipy.sparse as sp
from scipy.special import logsumexp

import divergence as dv
from divergence.cells.telling_items import prepared
from divergence.joint import arms as measuring
from divergence.joint.arm_noise import kept_dense
from divergence.joint.arms import measure_arms, prior_centre
from divergence.joint.block_checks import difference_density, held_out, noise_form
from divergence.joint.blocks import backward, bucket_size, buckets, cross_products, factor, forward
from divergence.joint.checks import model_checks
from divergence.joint.design import arm_loadings, make_design
from divergence.joint.hierarchy import Hierarchy
from divergence.joint.link import linearise, start
from divergence.joint.new_context_check import _log_density, _predicted
from divergence.joint.posterior import standard_deviations
from divergence.joint.problem import density_of, draw_effects, problem, target_data
from divergence.joint.room import check_room, kept_draws
from divergence.joint.spec import Spec
from divergence.joint.standing_apart import deleted_residuals

KINDS = ("labels", "factors", "one model", "ragged", "no bench", "many contexts", "apart")


def _rows(kind, seed=3):
    rng = np.random.default_rng(seed)
    models = 1 if kind == "one model" else 5
    contexts = 24 if kind == "many contexts" else 4
    rows = []
    for m in range(models):
        for c in range(contexts):
            if kind == "ragged" and (m + c) % 3 == 2:
                continue
            for i in range(14):
                score = int(rng.random() < 0.5 + 0.08 * m - 0.03 * (c % 5) - (0.4 if kind == "apart" and m == c == 2 else 0))
                row = {"regime": "evaluation" if c == 0 and kind != "no bench" else "deployment", "model": f"m{m}"}
                row |= {"item": f"i{i}", "score": score}
                if kind == "factors":
                    row |= {"quantization": ("none", "int4")[c % 2], "batch_policy": ("none", "dynamic")[c // 2]}
                else:
                    row |= {"context": f"c{c}"}
                rows.append(row)
    return pl.DataFrame(rows)


def _both(kind, monkeypatch):
    cells = prepared(dv.collapse(dv.read(_rows(kind))))
    dense = measure_arms(cells)
    monkeypatch.setattr(measuring, "kept_dense", lambda _: False)
    block = measure_arms(cells)
    return cells, dense, block


def _targets(kind, monkeypatch):
    cells, _, arms = _both(kind, monkeypatch)
    design = make_design(cells, arms, Spec(instability="per_model" if kind == "many contexts" else "auto"))
    if kind == "apart":
        design = design.with_apart(((2, int(arms.context[2]), -1),), 1.5)
    response = linearise(arms, start(arms))
    loadings, centre = arm_loadings(design, arms), prior_centre(arms)
    plain = dataclasses.replace(response, covariance=response.matrix, parts=None, root=response.root.toarray())
    dense = Hierarchy.of(problem(design, plain, loadings, centre))
    return design, arms, response, plain, loadings, dense, density_of(target_data(design, response, loadings, centre))


@pytest.mark.parametrize("kind", KINDS)
def test_measured_noise_is_the_dense_one(kind, monkeypatch):
    _, dense, block = _both(kind, monkeypatch)
    everyone = np.arange(len(dense))
    scale = dense.variance.max()
    np.testing.assert_allclose(block.covariance_of(everyone), dense.covariance, atol=1e-7 * scale)  # floor of nearest_psd
    np.testing.assert_allclose(block.flips, dense.flips, atol=1e-6)
    one, other = linearise(dense, start(dense)), linearise(block, start(block))
    np.testing.assert_allclose(other.value, one.value, rtol=1e-12)
    np.testing.assert_allclose(other.matrix, one.covariance, atol=1e-6 * one.covariance.max())
    np.testing.assert_allclose(other.noise, one.noise, atol=1e-6 * one.noise.max())


@pytest.mark.parametrize("kind", KINDS)
def test_density_and_gradient_are_the_dense_ones(kind, monkeypatch):
    *_, dense, block = _targets(kind, monkeypatch)
    x = np.random.default_rng(0).standard_normal((40, dense.dims))
    assert block.dims == dense.dims
    np.testing.assert_allclose(block.density(x), dense.density(x), rtol=1e-8, atol=1e-8)
    for point in x[:5]:
        value, slope = dense.gradient(point)
        mine, own = block.gradient(point)
        assert mine == pytest.approx(value, rel=1e-8, abs=1e-8)
        np.testing.assert_allclose(own, slope, rtol=1e-7, atol=1e-7)
    places = [[0], [1], [2]]
    np.testing.assert_allclose(
        deleted_residuals(block, x[0], places), deleted_residuals(dense, x[0], places), rtol=1e-7, atol=1e-9
    )


@pytest.mark.parametrize("kind", KINDS)
def test_effects_given_scales_are_the_dense_ones(kind, monkeypatch):
    design, _, response, plain, loadings, dense, _ = _targets(kind, monkeypatch)
    sd = standard_deviations(design, np.random.default_rng(1).standard_normal((30, dense.dims)))
    for one, other in ((plain, response),):
        mean = [draw_effects(design, r, loadings, sd, None) for r in (one, other)]
        np.testing.assert_allclose(mean[1], mean[0], rtol=1e-7, atol=1e-8)
    # as widths differ from draw to draw and arm to arm (noise that is hardly known), too
    size = len(response.value)
    group = np.arange(size) % 3
    unsure = {"noise_log_sd": np.full(size, 0.4), "noise_lean": np.full(size, 0.2), "noise_group": group}
    with monkeypatch.context() as patched:
        rng = np.random.default_rng(2)
        errors = rng.standard_normal((30, size)), np.exp(0.2 * rng.standard_normal((30, size)))
        patched.setattr("divergence.joint.problem.draw_noise", lambda *_: errors)
        drawn = [
            draw_effects(design, dataclasses.replace(r, **unsure), loadings, sd, np.random.default_rng(3))
            for r in (plain, response)
        ]
    np.testing.assert_allclose(drawn[1], drawn[0], rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("kind", ("labels", "ragged", "factors"))
def test_a_context_held_out_and_the_noise_form(kind, monkeypatch):
    _, arms, response, _, _, dense, block = _targets(kind, monkeypatch)
    rng = np.random.default_rng(4)
    x, error = rng.standard_normal((6, dense.dims)), rng.standard_normal((6, len(arms)))
    noise = response.matrix + 1e-9 * np.diag(response.variance)
    expected = np.einsum("sa,ab,sb->s", error, np.linalg.inv(noise), error)
    np.testing.assert_allclose(noise_form(response.parts, error, 1e-9), expected, rtol=1e-8)
    precision = np.linalg.inv(dense.covariances(x))
    held = np.flatnonzero(arms.deployed & (arms.context == arms.context[arms.deployed][0]))
    left, cover = _predicted(precision, dense.value, held)
    [(_, _, law)] = held_out(block, x, [held], [], [])
    law = dataclasses.replace(law, apart=np.full((6, 1), 0.7), chance=1 / (len(arms) - 1))
    np.testing.assert_allclose(law.left, left, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(law.variance, np.einsum("saa->sa", cover), rtol=1e-8)
    np.testing.assert_allclose(law.mean_variance, cover.mean((1, 2)), rtol=1e-8)
    shares = np.r_[1.0, np.full(len(held), 1 / (len(arms) - 1))]
    laws = [cover, *(cover + 0.7 * np.outer(e, e) for e in np.eye(len(held)))]
    mixed = logsumexp([_log_density(left, one) for one in laws], axis=0, b=(shares / shares.sum())[:, None])
    np.testing.assert_allclose(law.log_density(), mixed, rtol=1e-8)
    bench = {m: a for a, m in enumerate(arms.model) if not arms.deployed[a]}
    mine = np.array([a for a in held if arms.model[a] in bench])
    theirs = np.array([bench[arms.model[a]] for a in mine])
    apart = np.eye(len(arms))[mine] - np.eye(len(arms))[theirs]
    both = apart @ response.matrix @ apart.T + 1e-9 * np.diag(response.variance[mine])
    plain = _log_density((response.value[mine] - response.value[theirs])[None], both[None])[0]
    assert difference_density(response.parts, response.value, mine, theirs, 1e-9) == pytest.approx(plain, rel=1e-9)


@pytest.mark.parametrize("size", (1, 3, 8, 17))
def test_factors_of_blocks_are_cholesky_factors(size):
    rng = np.random.default_rng(size)
    whole = rng.standard_normal((2, 5, size, size + 2))
    whole = whole @ whole.swapaxes(2, 3)
    right = rng.standard_normal((2, 5, size, 3))
    low = factor(np.moveaxis(whole, 1, 3))
    solved = backward(low, forward(low, np.moveaxis(right, 1, 2)))
    np.testing.assert_allclose(np.moveaxis(solved, 2, 1), np.linalg.solve(whole, right), rtol=1e-6)


def test_buckets_hold_every_arm_once():
    model = np.random.default_rng(0).integers(0, 40, 333)
    parts = buckets(model)
    arms = np.sort(np.concatenate([p.arms[p.there] for p in parts]))
    np.testing.assert_array_equal(arms, np.arange(len(model)))
    for part in parts:
        assert all(len(np.unique(model[part.arms[part.there[:, k], k]])) == 1 for k in range(len(part.models)))
    assert all(n <= bucket_size(n) <= max(n * 1.5, 2) for n in range(1, 300))


def test_a_fit_in_blocks_is_the_fit_as_matrices(monkeypatch):
    rows = _rows("labels")
    dense = dv.fit(dv.collapse(dv.read(rows)), seed=1)
    monkeypatch.setattr(measuring, "kept_dense", lambda _: False)
    block = dv.fit(dv.collapse(dv.read(rows)), seed=1)
    assert dense.fits[0].arms.covariance is not None and block.fits[0].arms.covariance is None
    for question in (dv.bench_level, dv.deployed_level, dv.context_effect):
        one, other = question(dense).to_frame(), question(block).to_frame()
        sd = one["sd"].to_numpy().clip(1e-3)
        for column in ("mean", "lower", "upper"):
            assert np.abs((one[column] - other[column]).to_numpy() / sd).max() < 0.25, (question, column)


def test_a_fit_in_blocks_is_saved_and_read(monkeypatch, tmp_path):
    monkeypatch.setattr(measuring, "kept_dense", lambda _: False)
    first = dv.fit(dv.collapse(dv.read(_rows("labels"))), seed=1)
    first.save(tmp_path / "fit")
    again = dv.load(tmp_path / "fit")
    one, other = dv.gap(first).to_frame(), dv.gap(again).to_frame()
    assert one.equals(other)
    assert isinstance(again.fits[0].response.root, sp.csr_array)
    assert [c.rows.height for c in model_checks(again)][:2] == [c.rows.height for c in model_checks(first)][:2]


def test_logs_of_few_models_keep_matrices():
    several = np.repeat(np.arange(50), 10)
    assert not kept_dense(several) and kept_dense(several[:128])
    assert kept_dense(np.zeros(500, int)) and not kept_dense(np.zeros(600, int))


def test_what_does_not_fit_into_memory_is_refused_before_it_is_made(monkeypatch):
    monkeypatch.setattr("divergence.joint.room.memory", lambda: 8 * 2**30)
    check_room(1555, 3, 4665, 0)
    with pytest.raises(dv.InputError, match=r"2,000,000 models in 3 contexts.* 10,000,000 effects.*keep fewer models"):
        check_room(2_000_000, 3, 6_000_000, 0)
    assert (kept_draws(100), kept_draws(20_000), kept_draws(10**7)) == (2000, 838, 500)


@pytest.mark.parametrize(("models", "contexts"), [(2, 9), (9, 2), (3, 6)])
def test_products_within_models_are_those_of_the_whole_root(models, contexts):
    """Of few models of many contexts they are made model by model, else place by place; a missing arm stays 0."""
    rng = np.random.default_rng(0)
    model = np.repeat(np.arange(models), contexts)[rng.permutation(models * contexts)][1:]
    dense = rng.standard_normal((30, len(model))) * (rng.random((30, len(model))) < 0.3)
    parts = buckets(model)
    for part, block in zip(parts, cross_products(sp.csr_array(dense), parts), strict=True):
        for m in range(part.arms.shape[1]):
            there = part.there[:, m]
            arms = part.arms[there, m]
            np.testing.assert_allclose(block[np.ix_(there, there)][:, :, m], dense[:, arms].T @ dense[:, arms], atol=1e-12)
            assert not block[~there, :, m].any() and not block[:, ~there, m].any()
