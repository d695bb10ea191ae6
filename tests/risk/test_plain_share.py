"""Plain rates of the log's cells: by a loop over rows, blended by hand, and whether they are wanted."""

import numpy as np
import polars as pl
import risk_worlds as worlds

import divergence as dv
from divergence.numerics import logit
from divergence.risk.plain_share import SHARE, blended, cell_rates, moved_draws, worth
from divergence.risk.summaries import summarise


def test_rates_are_those_of_a_loop_and_the_table_moves_by_half():
    frame, _ = worlds.make(2, models=2, contexts=3, tasks=3, items=12)
    gone = (pl.col("model") == "m1") & (pl.col("context") == "c2") & (pl.col("task") == "t0")
    frame = frame.filter(~gone)
    posterior = dv.fit(dv.collapse(dv.read(frame)), seed=0)
    raw = summarise(posterior)
    rates = cell_rates(posterior.fits[0].cells, raw.levels, raw.risk.shape)
    for m, c, t in np.ndindex(*raw.risk.shape):
        names = [v[k] if k < len(v) else "never seen" for v, k in zip(raw.levels.values(), (m, c, t), strict=True)]
        mine = frame.filter(
            (pl.col("regime") == "deployment")
            & (pl.col("model") == names[0])
            & (pl.col("context") == names[1])
            & (pl.col("task") == names[2])
        )
        failed = mine.height - mine["score"].sum()
        if not mine.height:
            assert np.isnan(rates[m, c, t])
        else:
            assert rates[m, c, t] == (failed + 0.5) / (mine.height + 1)
    mixed = blended(raw, rates, SHARE)
    there = ~np.isnan(rates) & raw.known
    np.testing.assert_allclose(mixed.risk[there], (raw.risk + rates)[there] / 2)
    np.testing.assert_array_equal(mixed.risk[~there], raw.risk[~there])
    width = [logit(s.upper) - logit(s.lower) for s in (raw, mixed)]
    np.testing.assert_allclose(width[0], width[1], atol=1e-6)
    assert (mixed.lower <= mixed.risk).all() and (mixed.risk <= mixed.upper).all()
    assert blended(raw, rates, 0.0) is raw
    draws = np.stack([raw.lower, raw.risk, raw.upper])
    np.testing.assert_allclose(moved_draws(draws, raw, mixed), np.stack([mixed.lower, mixed.risk, mixed.upper]), atol=1e-9)
    assert moved_draws(draws, raw, raw) is draws


def test_what_is_saved_is_the_difference_of_log_losses():
    random = np.random.default_rng(0)
    risk, plain = random.uniform(0.1, 0.9, 300), random.uniform(0.1, 0.9, 300)
    plain[::7] = np.nan
    failure, cluster = (random.random(300) < plain).astype(float), np.arange(300) // 3
    saved, error = worth(risk, plain, failure, np.ones(300), cluster)
    mixed = np.where(np.isnan(plain), risk, (risk + plain) / 2)
    loss = [-(failure * np.log(p) + (1 - failure) * np.log(1 - p)) for p in (risk, mixed)]
    by = [(loss[0] - loss[1])[cluster == k].sum() for k in range(100)]
    assert np.isclose(saved, (loss[0] - loss[1]).mean())
    assert np.isclose(error, np.std(by) * np.sqrt(100) / 300)
    assert saved > 2 * error  # outcomes were drawn from the plain rates
