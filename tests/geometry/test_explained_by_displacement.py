"""Errors in variables: the naive slope is attenuated, the corrected one covers; shares at both ends; copies; refusals."""

import dataclasses

import numpy as np
import pytest
from scipy.special import expit

from divergence.geometry import explained_by_displacement
from divergence.geometry.explained_by_displacement import Runs
from divergence.geometry.run_movement import _within
from divergence.geometry.runs_logit import Data

SLOPE = -3.0


def world(seed, items=150, contexts=5, models=2, runs=2, error=0.3, slope=SLOPE, beside=0.0, copies=False):
    """s* = mean of the context + item's part + rest; runs see it with error; success by the logit of the module."""
    generator = np.random.default_rng(seed)
    units = items * models
    true = np.linspace(0.1, 0.7, contexts)[:, None] + 0.15 * generator.standard_normal((contexts, units))
    true = (true + 0.15 * generator.standard_normal(units)).T
    moved = true[..., None] + error * generator.standard_normal((units, contexts, runs))
    gamma = beside * np.resize([1.0, -0.5, -1.0, -0.5, 1.0], contexts)  # does not rise or fall with movement
    logit = (
        0.5
        + 1.5 * generator.standard_normal(units)[:, None]
        + np.concatenate([np.zeros((units, 1)), gamma + slope * true], 1)
    )
    chance = 1 / (1 + np.exp(-logit))[..., None]
    tries = generator.random((units, contexts + 1, 1 if copies else runs)) < chance
    success = np.broadcast_to(tries, (units, contexts + 1, runs)).astype(float)
    return Runs(
        success,
        np.concatenate([np.zeros((units, 1, runs)), moved], 1),
        np.repeat(np.arange(models), items),
        np.tile(np.arange(items), models),
        tuple(f"context {k}" for k in range(contexts + 1)),
    )


def row(answer, statistic=None):
    return answer.where(statistic=statistic).to_frame().row(0, named=True)


def test_attenuation_is_corrected():
    found = [explained_by_displacement(world(seed)) for seed in range(8)]
    corrected = [row(a, "slope") for a in found]
    naive = [row(a, "naive_slope")["median"] for a in found]
    error = np.std([r["median"] for r in corrected]) / np.sqrt(len(found))
    assert np.mean([r["lower"] <= SLOPE <= r["upper"] for r in corrected]) >= 0.6  # 8 intervals: 3 standard errors below .9
    assert abs(np.mean([r["median"] for r in corrected]) - SLOPE) < max(4 * error, 0.1 * abs(SLOPE))
    reliability = np.mean([row(a, "reliability")["median"] for a in found])
    assert abs(reliability - 0.045 / (0.045 + 0.09)) < 0.05  # variances of s* and of the error of one run
    assert np.mean(naive) > 0.5 * SLOPE  # attenuated: within items reliability is .0225 / (.0225 + .09)


def test_without_error_both_slopes_agree():
    answer = explained_by_displacement(world(1, error=0.0))
    assert row(answer, "reliability")["median"] == pytest.approx(1)
    assert row(answer, "slope")["median"] == pytest.approx(row(answer, "naive_slope")["median"], rel=0.01)


def test_share_at_both_ends():
    all_of_it = row(explained_by_displacement(world(2)))
    assert all_of_it["upper"] > 0.95 and all_of_it["lower"] > 0.7
    answer = explained_by_displacement(world(3, slope=0.0, beside=1.0))
    assert row(answer)["lower"] < 0 < row(answer)["upper"] < 0.5
    part = row(answer, "gap_with_movement")
    assert part["lower"] < 0 < part["upper"]


def test_the_gap_is_the_loss_that_was_drawn():
    runs = world(4)
    answer = row(explained_by_displacement(runs), "gap")
    seen = runs.success[:, 0].mean() - runs.success[:, 1:].mean()
    assert answer["lower"] - 0.01 <= seen <= answer["upper"] + 0.01


def test_copies_count_once():
    wide = [
        np.ptp([row(explained_by_displacement(world(5, copies=c)), "slope")[k] for k in ("lower", "upper")])
        for c in (True, False)
    ]
    assert wide[0] > 1.15 * wide[1]  # half the tries: the interval is about 1.4 as wide


def test_refusals():
    runs = world(6, items=40)
    once = dataclasses.replace(runs, success=runs.success[..., :1], moved=runs.moved[..., :1])
    assert "without replicates the error of a displacement is unknown" in explained_by_displacement(once).reasons[0]
    for change, words in (
        (dict(success=np.ones_like(runs.success)), "every score is the same"),
        (dict(success=runs.success / 2), "needs scores of 0 and 1"),
        (dict(moved=np.zeros_like(runs.moved)), "no answer moved"),
        (dict(item=np.zeros_like(runs.item)), "fewer than 10 items"),
    ):
        answer = explained_by_displacement(dataclasses.replace(runs, **change))
        assert not answer.identified and words in answer.reasons[0]


def test_movement_that_runs_do_not_share_is_refused():
    runs = world(7)
    noise = np.random.default_rng(0).standard_normal(runs.moved.shape)
    noise[:, 0] = 0
    answer = explained_by_displacement(dataclasses.replace(runs, moved=noise))
    assert not answer.identified and "did not move alike in its runs beyond chance" in answer.reasons[0]
    assert explained_by_displacement(runs).identified


def test_a_context_without_shared_items_is_left_out():
    """Conversations that no bench item has do not keep the other contexts from being answered."""
    runs = world(3)
    empty = np.full_like(runs.success[:, :1], np.nan)
    wider = dataclasses.replace(
        runs,
        success=np.concatenate([runs.success, empty], 1),
        moved=np.concatenate([runs.moved, empty], 1),
        contexts=(*runs.contexts, "chat"),
    )
    np.testing.assert_array_equal(explained_by_displacement(wider).draws, explained_by_displacement(runs).draws)


def test_gaps_are_means_of_chances_of_every_row():
    """Draw by draw, row by row, in the words of the model; to rounding."""
    generator = np.random.default_rng(4)
    models, contexts, n = 2, 4, 90
    unit, context = generator.integers(0, 12, n), generator.integers(0, contexts, n)
    data = Data(np.ones(n), unit % models, unit, context, unit, 12, generator.standard_normal(n), np.zeros(n), 12)
    fixed, item = generator.standard_normal((5, models + contexts - 1 + 1)), generator.standard_normal(12)
    for effects, gap, part in zip(fixed, *data.gaps(fixed, item), strict=True):
        whole, made = [], []
        for k in np.flatnonzero(context > 0):
            bench = effects[unit[k] % models] + item[unit[k]]
            here = bench + effects[models + context[k] - 1]
            now = expit(here + effects[-1] * data.moved[k])
            whole.append(expit(bench) - now)
            made.append(expit(here) - now)
        assert gap == pytest.approx(np.mean(whole), abs=1e-13) and part == pytest.approx(np.mean(made), abs=1e-13)


def test_the_variance_within_cells_does_not_depend_on_how_many_are_looked_at_together(monkeypatch):
    """Against NumPy's, cell by cell; a cell of one row has none."""
    generator = np.random.default_rng(5)
    vectors, texts = generator.standard_normal((7, 3)).astype(np.float32), generator.integers(0, 7, 40)
    cell = np.r_[generator.integers(0, 9, 39), 12]
    found = [_within(vectors, texts, cell, 14)]
    monkeypatch.setitem(_within.__globals__, "PIECE", 1)
    found.append(_within(vectors, texts, cell, 14))
    np.testing.assert_array_equal(*found)
    for k in range(14):
        rows = vectors[texts[cell == k]].astype(float)
        told = rows.var(0, ddof=1).sum() if len(rows) > 1 else np.nan
        np.testing.assert_allclose(found[0][k], told, rtol=1e-12)
