"""Levels of every model in every context: the formula by loops, and that a fit makes them once."""

import dataclasses

import numpy as np
import pytest

import divergence as dv
from divergence.joint import levels, posterior
from divergence.joint.level_draws import level_draws, link_levels
from divergence.numerics import expit
from divergence.simulate import simulate, world


@pytest.fixture(scope="module")
def fit():
    log = simulate(world("baseline", n_models=3, n_contexts=4, n_items=40), 3)[0]
    return dv.fit(dv.collapse(dv.read(log)), seed=0)


def test_every_level_is_its_loadings_times_the_effects(fit):
    """Slow and obvious: one arm at a time. Sums of a dozen numbers near 1 differ by rounding, some 1e-15."""
    one = fit[None]
    for deployed, drawn in enumerate(one.levels_of_new_items):
        for place, context in enumerate(one.design.of_regime(deployed == 1)):
            for model in range(one.design.n_models):
                z = one.design.loadings(np.array([model]), np.array([deployed == 1]), np.array([context]))[0]
                for k in (0, 17, len(drawn) - 1):
                    assert drawn[k, model, place] == pytest.approx(expit(one.effects[k] @ z), abs=1e-12)


def test_a_fit_makes_them_once_for_all_questions(fit, monkeypatch):
    made = []
    monkeypatch.setattr(posterior, "level_draws", lambda one: made.append(one) or level_draws(one))
    again = dataclasses.replace(fit, fits=tuple(dataclasses.replace(one) for one in fit.fits))
    for question in (dv.bench_level, dv.deployed_level, dv.gap, dv.kappa, dv.rank_agreement, dv.context_effect):
        question(again)
    assert len(made) == 1


def test_laws_and_populations_do_not_touch_them(fit):
    one = fit[None]
    drawn = one.levels_of_new_items[1]
    assert levels(one, "deployment").draws is levels(one, "deployment", "uniform").draws is drawn
    before = drawn.copy()
    observed = levels(one, "deployment", items="observed").draws
    assert observed is one.levels_of_observed_items[1] and not np.array_equal(observed, before)
    levels(one, "deployment", contexts="new", count=2)
    np.testing.assert_array_equal(drawn, before)


def test_nobody_can_change_what_others_read(fit):
    with pytest.raises(ValueError, match="read-only"):
        levels(fit[None], "deployment").draws[0] = 0.5


def test_other_servings_are_drawn_beside_them(fit):
    one = fit[None]
    where = one.design.of_regime(True)
    same = link_levels(one, where, {f: m[where] for f, m in one.design.mixtures.items()})
    np.testing.assert_array_equal(same, link_levels(one, where))
