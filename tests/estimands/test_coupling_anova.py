"""Unbiased variance components of raw levels: against projections by matrices, and on tables whose components are known."""

import numpy as np
import polars as pl
import pytest

import divergence as dv
from divergence.estimands.coupling_anova import Grid, draw_shares, grid, mean_squares, noise_squares, share

RNG = np.random.default_rng(20260713)


def test_mean_squares_and_their_noise_against_projection_matrices():
    models, contexts = 5, 3
    root = RNG.standard_normal((15, 20))
    table = Grid(RNG.standard_normal((models, contexts)), root @ root.T)
    grand = [np.full((n, n), 1 / n) for n in (models, contexts)]
    rest = [np.eye(n) - mean for n, mean in zip((models, contexts), grand, strict=True)]
    for projection, freedom, square, noise in zip(
        (np.kron(rest[0], grand[1]), np.kron(rest[0], rest[1])),
        (4, 8),
        mean_squares(table.level),
        noise_squares(table),
        strict=True,
    ):
        flat = table.level.ravel()
        assert square == pytest.approx(flat @ projection @ flat / freedom)
        assert noise == pytest.approx(np.trace(projection @ table.covariance) / freedom)
    diagonal = Grid(table.level, np.diag(table.covariance).copy())
    assert noise_squares(diagonal) == pytest.approx(noise_squares(Grid(table.level, np.diag(diagonal.covariance))))


def test_components_are_unbiased():
    """2,000 tables with s2_m = 1, s2_c = 5, s2_mc = .5 and noise .3: mean squares minus noise have these means."""
    models, contexts, count = 8, 5, 2000
    level = (
        RNG.normal(0, 1, (count, models, 1))
        + RNG.normal(0, 5**0.5, (count, 1, contexts))
        + RNG.normal(0, 0.8**0.5, (count, models, contexts))
    )
    between, mixed = mean_squares(level)
    noise = noise_squares(Grid(level[0], np.full(40, 0.3)))
    for value, exact in ((mixed - noise[1], 0.5), ((between - mixed) / contexts, 1.0)):
        assert value.mean() == pytest.approx(exact, abs=4 * value.std() / np.sqrt(count))


def test_the_bootstrap_is_centred_where_the_table_is():
    level = RNG.normal(0, 0.1, (30, 4)) + RNG.normal(0, 0.05, (30, 4))
    table = Grid(level, np.full(120, 0.001))
    draws = draw_shares([table, table], 0)
    between, mixed = mean_squares(level)
    exact = share(between - 0.001, mixed - 0.001, 4), share(between, mixed, 4)
    for k in range(2):
        assert draws[:, k].mean() == pytest.approx(exact[k], abs=1e-9)
    assert np.median(draws[:, 0]) < np.median(draws[:, 1])


def test_incomplete_models_are_left_out_and_nothing_left_is_refused():
    model, context = np.array([0, 0, 1, 1, 2]), np.array([0, 1, 0, 1, 0])
    level = np.arange(5.0)
    assert grid(model, context, level, np.ones(5)).level.tolist() == [[0, 1], [2, 3]]
    assert grid(model[1:], context[1:], level[1:], np.ones(4)) is None
    rates = pl.DataFrame(
        {
            "regime": "deployment",
            "model": ["a", "a", "b"],
            "context": ["x", "y", "x"],
            "score": [0.5, 0.6, 0.7],
            "score_n": 100,
        }
    )
    answer = dv.coupling_anova(dv.collapse(dv.read(rates)))
    assert not answer.identified and "complete table" in answer.reasons[0]


def test_rates_and_their_executions_agree():
    """Rates of published counts are answered as the executions behind them are, where no two share an item."""
    rates = pl.DataFrame(
        {
            "regime": "deployment",
            "model": [m for m in "abcdef" for _ in range(3)],
            "context": ["x", "y", "z"] * 6,
            "score": RNG.integers(20, 80, 18) / 100,
            "score_n": 100,
        }
    )
    rows = [
        r | {"score": float(k < round(100 * r["score"])), "item": f"{r['model']}{r['context']}{k}"}
        for r in rates.drop("score_n").iter_rows(named=True)
        for k in range(100)
    ]
    first, second = (dv.coupling_anova(dv.collapse(dv.read(log))) for log in (rates, pl.DataFrame(rows)))
    # Items as a sample divide by n - 1, and covariances of unlike arms are shrunk: one per cent of a variance.
    np.testing.assert_allclose(np.median(first.draws, 0), np.median(second.draws, 0), atol=0.03)


def test_the_second_version_stands_beside_the_first(waves_posterior):
    answer = dv.coupling(waves_posterior).where(context_b=None)
    assert answer.rows["statistic"].to_list() == [None, "anova", "anova_raw", "anova_link", "anova_link_raw"]
    assert np.isfinite(answer.draws).all() and (answer.draws >= 0).all() and (answer.draws <= 1).all()
    raw, clean = answer.where(statistic="anova_raw").draws, answer.where(statistic="anova").draws
    assert np.median(raw) > np.median(clean)
