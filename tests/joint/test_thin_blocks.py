"""Blocks of many contexts as a diagonal and a few columns: the density, the systems and the sizes of the whole blocks."""

import dataclasses

import numpy as np
import polars as pl
import pytest
from block_logs import SHAPES, block_target

import divergence as dv
from divergence.joint import arms as measuring
from divergence.joint.block_checks import held_out
from divergence.joint.block_hierarchy import BlockHierarchy
from divergence.joint.spec import Spec
from divergence.joint.thin_blocks import LEAST

MANY = {
    "many contexts": (6, 30, 25, 0, 0.1, Spec()),
    "many contexts, own scales": (6, 30, 25, 0, 0.0, Spec(instability="per_model")),
    "many contexts, one model": (1, 30, 25, 0, 0.0, Spec()),
    "many contexts, few models": (2, 17, 15, 0, 0.0, Spec()),
}


@pytest.fixture(params=MANY)
def target(request, monkeypatch):
    monkeypatch.setitem(SHAPES, request.param, MANY[request.param])
    made = block_target(request.param)
    assert any(part.thin is not None for part in made.parts)
    return made


def whole(target: BlockHierarchy) -> BlockHierarchy:
    return dataclasses.replace(target, parts=tuple(dataclasses.replace(part, thin=None) for part in target.parts))


def test_density(target):
    rng = np.random.default_rng(0)
    x = np.concatenate(
        [rng.normal(size=(30, target.dims)), 4 * rng.normal(size=(30, target.dims)), np.zeros((1, target.dims))]
    )
    np.testing.assert_allclose(target.density(x), whole(target).density(x), rtol=1e-9)


def test_density_and_gradient_are_of_one_function(target):
    x = np.random.default_rng(1).normal(size=target.dims) / 2
    value, slope = target.gradient(x)
    steps = 1e-5 * np.eye(target.dims)
    central = (target.density(x + steps) - target.density(x - steps)) / 2e-5
    np.testing.assert_allclose(central, slope, atol=1e-5 * (1 + np.abs(slope).max()))
    assert value == pytest.approx(float(target.density(x[None])[0]), rel=1e-10)


def test_inverses_and_what_is_held_out(target):
    """Blocks of the inverse at one point, and the law of a context that is held out, at several."""
    x = np.random.default_rng(3).normal(size=(7, target.dims)) / 2
    for one, other in zip(target.precision(x[0]), whole(target).precision(x[0]), strict=True):
        for mine, plain in zip(np.atleast_1d(one) if isinstance(one, np.ndarray) else one, other, strict=True):
            np.testing.assert_allclose(mine, plain, rtol=1e-8, atol=1e-9 * np.abs(plain).max())
    bucket = target.parts[0].bucket
    groups = [bucket.arms[k, bucket.there[k]] for k in range(2, 5)]  # one arm a model each
    for (k, _, law), (_, _, plain) in zip(
        held_out(target, x, groups, [], []), held_out(whole(target), x, groups, [], []), strict=True
    ):
        np.testing.assert_array_equal(law.arms, groups[k])
        for name in ("left", "variance", "mean_variance"):
            np.testing.assert_allclose(getattr(law, name), getattr(plain, name), rtol=1e-7, atol=1e-9)
        np.testing.assert_allclose(law.log_density(), plain.log_density(), rtol=1e-8)


@pytest.mark.parametrize("wide", ["alike", "by point", "by arm"])
@pytest.mark.parametrize("unshrunk", [False, True])
def test_systems(target, wide, unshrunk):
    rng = np.random.default_rng(2)
    s = target.variances(rng.normal(size=(20, target.dims)))
    if unshrunk:  # as `draw_effects` asks: a level is as measured
        s[:, :3] = 25, 25.3, 25
    gap = rng.normal(size=(20, len(target.value)))
    shape = {"alike": None, "by point": (20, 1), "by arm": gap.shape}[wide]
    by = np.ones((20, 1)) if shape is None else np.exp(0.3 * rng.normal(size=shape))
    one, other = target.solve(s, gap, by), whole(target).solve(s, gap, by)
    np.testing.assert_allclose(one, other, atol=1e-9 * np.abs(other).max())


def both_regimes(models, items, seed):
    """Twenty contexts, three of them on the bench, too: a residual of two arms is a column of its own."""
    rng = np.random.default_rng(seed)
    m, c, i, d = (a.ravel() for a in np.meshgrid(*map(np.arange, (models, 20, items, 2)), indexing="ij"))
    keep = (d == 1) | (c < 3)
    chance = rng.uniform(0.4, 0.8, models)[m] - 0.1 * d - rng.uniform(0, 0.2, 20)[c]
    rows = pl.DataFrame(
        {
            "regime": np.where(d == 0, "evaluation", "deployment"),
            "model": [f"m{k}" for k in m],
            "context": [f"c{k}" for k in c],
            "item": [f"i{k}" for k in i],
            "score": (rng.random(len(m)) < chance).astype(int),
        }
    )
    return dv.collapse(dv.read(rows.filter(keep)))


def test_a_fit_is_that_of_whole_blocks(monkeypatch):
    monkeypatch.setattr(measuring, "kept_dense", lambda _: False)
    cells, found = both_regimes(4, 12, 3), {}
    for least in (LEAST, 10**9):
        monkeypatch.setattr("divergence.joint.thin_blocks.LEAST", least)
        found[least] = dv.fit(cells, seed=0).fits[0].effects
    np.testing.assert_allclose(found[LEAST], found[10**9], atol=1e-6)


def test_scales_far_from_all_others_leave_noise_beside_them():
    """Proposals far out made systems that rounding kept from being solved: the fit ended with a traceback."""
    fit = dv.fit(both_regimes(8, 40, 0), seed=0).fits[0]
    assert len(fit.arms) == 184
    assert np.isfinite(fit.effects).all()


def test_few_contexts_stay_whole_blocks():
    assert all(part.thin is None for part in block_target("five models").parts)
