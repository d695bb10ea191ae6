"""Is a predicted width the one that a Gaussian model has, the one that refits have, and is regret what nesting gives?"""

import dataclasses

import numpy as np
import polars as pl
import pytest

import divergence as dv
from divergence.planning.allocation import allocate, equal_shares
from divergence.planning.goals import goal_of
from divergence.planning.knowledge import knowledge
from divergence.planning.preposterior import Preposterior, Purchase
from divergence.simulate import simulate, world

ITEMS = 60


def logs(seed: int, **sizes):
    """A log of 60 items, and the whole of it with 400."""
    whole, _ = simulate(world("baseline", n_items=400, **({"n_models": 3, "n_contexts": 3, "n_trials": 1} | sizes)), seed)
    whole = whole.with_columns(number=pl.col("item").str.extract(r"(\d+)$").cast(int))
    return whole.filter(pl.col("number") < ITEMS), whole


def fitted(log):
    return dv.fit(dv.collapse(dv.read(log.drop("number"))), seed=0)


def valued(posterior, goal: str, **options) -> Preposterior:
    known = knowledge(posterior.fits[0], **options)
    return Preposterior(known, goal_of(goal, posterior, known, None, {}, "logged"), 0)


@pytest.fixture(scope="module")
def posterior():
    return fitted(logs(1)[0])


@pytest.mark.parametrize("goal", ["gap", "bench_level", "deployed_level", "evaluation_advantage", "kappa"])
def test_now_is_what_the_report_says(posterior, goal):
    """Without a purchase the width is that of the question's own intervals."""
    of = valued(posterior, goal)
    answer = getattr(dv, goal)(posterior)
    rows = answer.where(statistic=None) if "statistic" in answer.rows.columns else answer
    width = np.diff(rows.interval(), axis=1).mean()
    assert of.width(Purchase.nothing(len(of.known.places))) == pytest.approx(width, rel=1e-9)


def test_the_regret_now_is_that_of_the_best_combination(posterior):
    of = valued(posterior, "decision")
    rows = dv.best_combination(posterior).where(statistic="regret").to_frame()
    of_contexts = rows.filter(pl.col("context").is_not_null())
    assert of.regret(Purchase.nothing(len(of.known.places))) == pytest.approx(of_contexts["mean"].min(), rel=1e-9)


def test_regressions_are_conditioned_on_as_in_a_gaussian_model(posterior):
    """The slow way: precision matrices."""
    of = valued(posterior, "coupling")
    known = of.known
    design = Purchase.nothing(len(known.places)).more(np.array([0, 4, 5]), items=50)
    measured, noise = of.noise(design)
    now = of.covariance + 1e-9 * np.eye(len(of.covariance)) * np.trace(of.covariance)
    pick = np.eye(len(now))[measured]
    after = np.linalg.inv(np.linalg.inv(now) + pick.T @ np.linalg.inv(noise) @ pick)
    slow = np.diag(of.goal.weights @ after @ of.goal.weights.T)
    assert of.left(design) == pytest.approx(slow, rel=1e-3)
    assert noise[0, 0] == pytest.approx((known.between[0, 0] + known.replicate[0] + known.session[0]) / 50)
    assert noise[0, 1] == pytest.approx(known.between[0, 4] / 50)


def test_means_over_items_vary_as_simulated_ones_do(posterior):
    """Two places, 60 items in both and 40 more at the first: 40,000 simulated pairs of means; 5 standard errors."""
    of = valued(posterior, "gap")
    known = of.known
    here = of._logged[[0, 4]]
    whole = of.of_means(Purchase.nothing(len(known.places)).more(int(here[0]), items=40))[np.ix_([0, 4], [0, 4])]
    between = known.between[np.ix_(here, here)]
    rng = np.random.default_rng(2)
    root = np.linalg.cholesky(between + 1e-9 * np.eye(2))
    draws = 40_000
    old, new = (rng.standard_normal((draws, n, 2)) @ root.T for n in (ITEMS, 40))
    means = np.stack([(old[:, :, 0].sum(1) + new[:, :, 0].sum(1)) / (ITEMS + 40), old[:, :, 1].mean(1)], 1)
    slow = np.cov(means.T)
    assert np.abs(whole / slow - 1).max() < 5 * np.sqrt(3 / draws) * max(1.0, (np.diag(slow).max() / abs(slow[0, 1])))


def test_more_of_everything_never_makes_it_wider(posterior):
    of = valued(posterior, "gap")
    every = np.flatnonzero(of.known.logged)
    widths = [of.width(Purchase.nothing(len(of.known.places)).more(every, items=n)) for n in (0, 10, 40, 160)]
    assert np.all(np.diff(widths) < 0)


def test_breaking_pairs_widens_a_gap_and_is_not_recommended():
    """Contexts that copy the bench's answers: new items at the bench alone add luck to a contrast that had none."""
    log, _ = simulate(world("copies", n_models=2, n_contexts=2, n_items=60, n_trials=1), 3)
    of = valued(dv.fit(dv.collapse(dv.read(log)), seed=0), "gap")
    nothing = Purchase.nothing(len(of.known.places))
    bench = next(k for k, place in enumerate(of.known.places) if place.regime == "evaluation")
    assert of.width(nothing.more(bench, items=60)) > of.width(nothing)
    found = allocate(of, 300, "requests")[-1].design
    assert of.width(found) < of.width(nothing)
    for model in range(2):
        mine = [int(found.items[k]) for k in range(len(found.items)) if of.known.model[k] == model]
        assert max(mine) <= 4 * (min(mine) + 1)  # a model's places are asked the same items, nearly


def test_without_end_the_width_is_nothing(posterior):
    of = valued(posterior, "gap")
    every = Purchase.nothing(len(of.known.places)).more(np.arange(len(of.known.places)), items=1e12)
    assert of.width(every) < 1e-4 * of.goal.width.mean()


def test_regret_is_what_nested_monte_carlo_gives():
    """One rival: outer draws of what comes, inner draws of what is then believed; 4 standard errors of the outer mean."""
    log, _ = simulate(world("baseline", n_models=1, n_contexts=2, n_items=50, n_trials=1), 4)
    of = valued(dv.fit(dv.collapse(dv.read(log)), seed=0), "decision")
    nothing = Purchase.nothing(len(of.known.places))
    design = nothing.more(of.goal.candidates, items=80)
    rng = np.random.default_rng(5)
    now, after = float(of.variance[0]), float(of.left(design)[0])
    told = of.goal.lead[0] + np.sqrt(now - after) * rng.standard_normal(4000)
    inner = told[:, None] + np.sqrt(after) * rng.standard_normal((4000, 400))
    lost = np.maximum(-inner, 0).mean(1) - np.maximum(-told, 0)
    error = np.std(lost) / np.sqrt(len(lost))
    draws_error = np.std(np.maximum(-of.known.draws @ of.goal.weights[0], 0)) / np.sqrt(len(of.known.draws))
    assert of.regret(design) == pytest.approx(np.mean(lost), abs=4 * (error + draws_error))
    assert of.regret(design) < of.regret(nothing)


@pytest.mark.parametrize("goal", ["gap", "kappa"])
def test_refits_come_as_predicted(goal):
    """Items added to a simulated log, six designs; `benchmarks/plan.py` has 200. Mean ratio .90 to 1.10."""
    ratios, inside = [], []
    for seed in range(3):
        old, whole = logs(seed + 10)
        before = fitted(old)
        of = valued(before, goal)
        known = of.known
        for design in (allocate(of, 240, "requests")[-1].design, equal_shares(known, 240, "requests").design):
            rows = [old]
            for k, place in enumerate(known.places):
                here = (pl.col("model") == place.model) & (pl.col("context") == place.context)
                fresh = pl.col("number").is_between(ITEMS, ITEMS + int(design.items[k]) - 1)
                rows.append(whole.filter(here & fresh) if design.items[k] else old.clear())
            after = fitted(pl.concat(rows))
            came = (
                np.diff(getattr(dv, goal)(after).where(statistic=None).interval(), axis=1).mean()
                if goal == "gap"
                else (np.diff(dv.kappa(after).interval(), axis=1).mean())
            )
            ratios.append(came / of.width(design))
            lower, upper = of.width_limits(design)
            inside.append(lower <= came <= upper)
    assert 0.90 <= np.mean(ratios) <= 1.10
    assert np.mean(inside) >= 4 / 6  # nine in ten are meant; at most two of six fall outside with 98 %


def test_trials_of_copies_buy_nothing():
    log, _ = simulate(world("copies", n_models=2, n_contexts=2, n_items=60), 3)
    of = valued(dv.fit(dv.collapse(dv.read(log)), seed=0), "gap")
    again = Purchase.nothing(len(of.known.places)).more(np.arange(len(of.known.places)), again=10)
    nothing = Purchase.nothing(len(of.known.places))
    assert of.width(again) > 0.99 * of.width(nothing)
    assert not of.known.repeatable.any()


def test_limits_hold_the_width(posterior):
    of = valued(posterior, "gap")
    design = equal_shares(of.known, 300, "requests").design
    lower, upper = of.width_limits(design)
    assert lower < of.width(design) < upper
    wide = dataclasses.replace(of.known, parts=dataclasses.replace(of.known.parts, error=2 * of.known.parts.error))
    assert np.ptp(Preposterior(wide, of.goal).width_limits(design)) > upper - lower
