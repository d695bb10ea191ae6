"""Kinds of effects: what each says of itself agrees, and one that is added needs its class, its row and its width alone."""

import dataclasses
import importlib
import inspect

import numpy as np
import polars as pl
import pytest

import divergence as dv
from divergence.joint import arm_noise, saved, terms
from divergence.joint.arms import measure_arms
from divergence.joint.design import Term, arm_loadings, make_design
from divergence.joint.link import linearise, start
from divergence.joint.posterior import hierarchy_of
from divergence.joint.problem import density_of, problem, target_data
from divergence.joint.to_arviz import _axes
from divergence.risk.summaries import summarise
from divergence.simulate import simulate, world

fitting = importlib.import_module("divergence.joint.fit")  # of this name the folder has the function
KINDS = {
    kind
    for _, kind in inspect.getmembers(terms, inspect.isclass)
    if issubclass(kind, terms.Kind) and not inspect.isabstract(kind)
}


@dataclasses.dataclass(frozen=True)
class OddModels(terms.Kind):
    """What contexts do to every second model: a kind that no log needs."""

    of_context = True

    @property
    def name(self):
        return "odd"

    def loads(self, at):
        return at.every(0, (at.model % 2) * at.deployed)

    @property
    def axes(self):
        return ()


@dataclasses.dataclass(frozen=True)
class OddModelsAsTold(OddModels):
    """The same where how far these effects spread is told, and not learnt."""

    given = True


def _log(**sizes):
    return simulate(world("baseline", **({"n_models": 4, "n_contexts": 4, "n_items": 40} | sizes)), 3)[0]


def _labelled(log):
    """The same where nothing but a label is known of a context."""
    return log.select("regime", "model", "context", "item", "score", "trial")


def _own_items(log):
    """The same where one deployment context has items that the bench never tried."""
    mine = (pl.col("regime") == "deployment") & (
        pl.col("context") == log.filter(pl.col("regime") == "deployment")["context"][0]
    )
    return log.with_columns(pl.when(mine).then("own-" + pl.col("item")).otherwise("item").alias("item"))


@pytest.fixture(scope="module")
def fits():
    logs = _log(), _labelled(_log()), _log(n_contexts=8), _own_items(_log())
    return [dv.fit(dv.collapse(dv.read(log)), seed=0) for log in logs]


def test_every_kind_says_as_many_effects_as_its_axes(fits):
    seen = set()
    for fit in fits:
        for term in fit[None].design.terms:
            seen.add(type(term.kind))
            shape = [len(names) for _, names in _axes(fit[None], term)]
            assert term.columns.stop - term.columns.start == np.prod(shape, dtype=int), term.name
            assert ("model" in term.kind.axes) == (term.kind.of_model and len(shape) > 0), term.name
    assert KINDS - seen <= {terms.StandsApart}, "a kind that none of these logs has"


def test_names_are_given_once(fits):
    for fit in fits:
        names = [term.name for term in fit[None].design.terms]
        assert len(names) == len(set(names))


@pytest.mark.parametrize("kind", [OddModels(), OddModelsAsTold()])
@pytest.mark.parametrize("many", [False, True])
def test_a_new_kind_needs_nothing_else(many, kind, monkeypatch, tmp_path):
    """Both densities, the draws, the store, ArviZ, the checks and the questions take it as they take the others."""
    make = fitting.make_design

    def with_one_more(*asked):
        design = make(*asked)
        more = Term(kind, slice(design.size, design.size + 1), 0.4)
        return dataclasses.replace(design, terms=(*design.terms, more), size=design.size + 1)

    for module in (fitting, saved):
        monkeypatch.setattr(module, "make_design", with_one_more)
    if many:
        monkeypatch.setattr(arm_noise, "DENSE_ARMS_MAX", 4)
        monkeypatch.setattr(fitting, "FALLBACK_ARMS_MAX", 4)  # NUTS takes matrices
    fit = dv.fit(dv.collapse(dv.read(_log())), seed=0)
    one = fit[None]
    assert (one.response.covariance is None) == many
    if kind.given:
        assert "odd" not in one.scales and one.x.shape[1] == hierarchy_of(one).dims
    else:
        assert one.scales["odd"].shape == (len(one.x),) and one.scales["odd"].std() > 0.05
    moved = one.effects[:, one.design.term("odd").columns]
    assert moved.std() > 0.05, "its effect is drawn with the others"
    z = one.design.loadings(np.array([0, 1]), np.array([True, True]), np.array([1, 1]))
    assert z[:, one.design.term("odd").columns].ravel().tolist() == [0.0, 1.0]
    assert dv.gap(fit).identified and dv.instrument(fit).question == "instrument"
    fit.save(tmp_path / "fit")
    np.testing.assert_array_equal(dv.load(tmp_path / "fit")[None].effects, one.effects)
    assert "odd" in fit.to_arviz()["posterior"]
    assert np.isfinite(summarise(fit).risk).all()


def test_both_densities_have_the_width_of_a_kind_whose_spread_is_told(monkeypatch):
    """Wider by `d`, one arm's variance is larger by the difference of the squares: dense and in blocks alike."""
    cells = dv.collapse(dv.read(_log()))
    arms, levels = measure_arms(cells), {}
    for width in (0.4, 1.5):
        design = make_design(cells, arms, dv.Spec())
        more = Term(OddModelsAsTold(), slice(design.size, design.size + 1), width)
        design = dataclasses.replace(design, terms=(*design.terms, more), size=design.size + 1)
        loadings = arm_loadings(design, arms)
        dense = problem(design, linearise(arms, start(arms)), loadings)
        levels[width] = dense["fixed"]
        monkeypatch.setattr(arm_noise, "DENSE_ARMS_MAX", 4)
        sparse = measure_arms(cells)
        monkeypatch.undo()
        blocks = target_data(design, linearise(sparse, start(sparse)), arm_loadings(design, sparse))
        points = np.random.default_rng(0).normal(size=(5, blocks.dims))
        found = np.stack([d.density(points) for d in (density_of(dense), blocks)])
        assert np.ptp(found[0]) > 1
        np.testing.assert_allclose(*(d - d[0] for d in found), atol=1e-6)
    odd = arm_loadings(design, arms)[:, -1]
    np.testing.assert_allclose(levels[1.5] - levels[0.4], (1.5**2 - 0.4**2) * np.outer(odd, odd))
