"""Places under a law: against loops, laws as mixtures, permuted names, held-out items, refusals."""

import numpy as np
import polars as pl
import pytest

import divergence as dv
from divergence.errors import InputError
from divergence.estimands.leaderboard import ranks, tied_groups
from divergence.simulate import simulate, world


def _posterior(frame):
    return dv.fit(dv.collapse(dv.read(frame)), seed=0)


@pytest.fixture(scope="module")
def made():
    log, truth = simulate(world("baseline", n_models=7, n_contexts=3, n_items=80), 21)
    log = log.filter(~((pl.col("model") == "model-6") & (pl.col("regime") == "deployment")))
    return log, truth, _posterior(log)


def _levels(estimate, **where):
    part = estimate.where(**{"statistic": None, **where})
    return dict(zip(part.rows["model"], part.draws.T, strict=True))


def test_places_and_groups_against_loops():
    level = np.random.default_rng(0).integers(0, 4, (50, 6)).astype(float)
    slow = [[1 + sum(b > a for b in row) + (sum(b == a for b in row) - 1) / 2 for a in row] for row in level]
    np.testing.assert_allclose(ranks(level), slow)
    np.testing.assert_allclose(ranks(level).sum(1), 6 * 7 / 2)
    level = np.random.default_rng(1).normal(np.linspace(2, 0, 9), 0.3, (400, 9))
    group, first, number = [1], 0, 1
    for m in range(1, 9):
        if np.mean(level[:, first] > level[:, m]) >= 0.9:
            first, number = m, number + 1
        group.append(number)
    assert tied_groups(level).tolist() == group


def test_rows_say_what_the_draws_say(made):
    _, _, posterior = made
    found = dv.leaderboard(posterior, top=2)
    level, rank = _levels(found), _levels(found, statistic="rank")
    names = list(level)
    assert names == sorted(names, key=lambda name: -level[name].mean())
    stacked = np.stack([level[name] for name in names], 1)
    np.testing.assert_array_equal(np.stack([rank[name] for name in names], 1), ranks(stacked))
    first = found.where(statistic="p_first").draws
    np.testing.assert_allclose(first.sum(1), 1)
    np.testing.assert_array_equal(found.where(statistic="p_top").draws.sum(1), 2)
    kinds = dict(found.where(statistic=None).rows.select("model", "axis").iter_rows())
    assert {name for name, kind in kinds.items() if kind == "forecast"} == {"model-6"}
    deployed = dv.deployed_level(posterior)
    for name, drawn in zip(deployed.rows["model"], deployed.draws.T, strict=True):
        np.testing.assert_allclose(level[name], drawn)


def test_a_law_on_one_context_is_that_context_and_mixtures_are_mixtures(made):
    _, _, posterior = made
    a, b, c = sorted({*dv.context_effect(posterior).rows["context"].drop_nulls()})
    alone = {name: dv.leaderboard(posterior, law={name: 1.0}) for name in (a, b, c)}
    mixed = dv.leaderboard(posterior, law={a: 0.25, b: 0.75}, what_if={"all of c": {c: 1.0}})
    one, other, both = _levels(alone[a]), _levels(alone[b]), _levels(mixed)
    for name in both:
        np.testing.assert_allclose(both[name], 0.25 * one[name] + 0.75 * other[name], rtol=1e-12)
    there = _levels(mixed, statistic="what_if", level="all of c")
    for name, drawn in _levels(alone[c]).items():
        np.testing.assert_array_equal(there[name], drawn)
    rank, place = _levels(mixed, statistic="rank"), _levels(mixed, statistic="what_if_rank", level="all of c")
    for name, moved in _levels(mixed, statistic="moved", level="all of c").items():
        np.testing.assert_array_equal(moved, place[name] - rank[name])


def test_permuting_names_permutes_the_answer(made):
    """The fit's own draws change with the order of the models: equal up to 4 Monte Carlo errors of its 2,000 draws."""
    log, _, posterior = made
    new = dict(zip([f"model-{k}" for k in range(7)], [f"z{(3 * k) % 7}" for k in range(7)], strict=True))
    other = _posterior(log.with_columns(model=pl.col("model").replace_strict(new)))
    before, after = _levels(dv.leaderboard(posterior)), _levels(dv.leaderboard(other))
    for name, drawn in before.items():
        error = 4 * np.hypot(drawn.std(), after[new[name]].std()) / np.sqrt(400)  # 400: importance weights, heavy tails
        assert drawn.mean() == pytest.approx(after[new[name]].mean(), abs=error)


@pytest.mark.prove
def test_intervals_of_places_hold_the_place_of_the_true_level():
    """20 worlds of 10 models, three of them forecast; a world's models hang together, so the sd is at most .067."""
    inside, settled, wrong = [], 0, 0
    for seed in range(20):
        log, truth = simulate(world("baseline", n_models=10, n_contexts=2, n_items=60), 300 + seed)
        gone = pl.col("model").is_in(["model-0", "model-1", "model-2"]) & (pl.col("regime") == "deployment")
        found = dv.leaderboard(_posterior(log.filter(~gone)))
        true = truth["level"][:, 1:].mean(1)
        place = ranks(true[None])[0]
        level, rank = _levels(found), _levels(found, statistic="rank")
        for m in range(10):
            low, high = np.quantile(rank[f"model-{m}"], [0.05, 0.95])
            inside.append(low <= place[m] <= high)
        group = {name: drawn[0] for name, drawn in _levels(found, statistic="tied_group").items()}
        for i in range(10):
            for j in range(10):
                above = (level[f"model-{i}"] > level[f"model-{j}"]).mean()
                if i != j and above >= 0.9:
                    settled, wrong = settled + 1, wrong + (true[i] < true[j])
        assert max(group.values()) <= 10
    assert 0.9 - 3 * 0.067 / np.sqrt(2) <= np.mean(inside)
    assert wrong / settled <= 0.10


def test_the_fastest_is_first_where_less_is_better():
    log, _ = simulate(world("baseline", n_models=3, n_contexts=2, n_items=40), 4)
    speed = {"model-0": 3.0, "model-1": 1.0, "model-2": 2.0}
    log = log.with_columns(
        latency_s=pl.col("model").replace_strict(speed, return_dtype=pl.Float64) * (1 + 0.1 * pl.col("score"))
    ).drop("score")
    seconds = dv.Configuration.from_table({"outcome": "latency_s"})
    found = dv.leaderboard(dv.fit(dv.collapse(dv.read(log, configuration=seconds)), seed=0))
    assert list(_levels(found)) == ["model-1", "model-2", "model-0"]


def test_refusals(made):
    log, _, posterior = made
    alone = dv.leaderboard(_posterior(log.filter(pl.col("model") == "model-0")))
    assert "It needs two models in deployment; this log has one." in alone.reasons[0]
    with pytest.raises(InputError, match=r"In \[what_if\] moved: .*never saw"):
        dv.leaderboard(posterior, what_if={"moved": {"nowhere": 1.0}})
    two = log.filter(pl.col("model").is_in(["model-0", "model-1", "model-6"]))
    found = dv.leaderboard(_posterior(two))
    assert "a forecast rests on 3 models with rows in both regimes, this log has 2" in " ".join(found.reasons)
    assert set(_levels(found)) == {"model-0", "model-1", "model-6"} and found.identified
