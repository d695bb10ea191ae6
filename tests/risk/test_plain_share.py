"""Rates of the log's cells: by a loop over rows, blended by hand, what pooling is for, and whether they are wanted."""

import numpy as np
import polars as pl
import pytest
import risk_worlds as worlds

import divergence as dv
from divergence.numerics import expit, logit
from divergence.risk.plain_share import POOLED, SHARE, SHARES, _real, blended, cell_rates, moved_draws, worth
from divergence.risk.summaries import summarise


def test_rates_are_those_of_a_loop_and_the_table_moves_by_their_share():
    frame, _ = worlds.make(2, models=2, contexts=3, tasks=3, items=12)
    gone = (pl.col("model") == "m1") & (pl.col("context") == "c2") & (pl.col("task") == "t0")
    frame = frame.filter(~gone)
    posterior = dv.fit(dv.collapse(dv.read(frame)), seed=0)
    raw = summarise(posterior)
    rates = cell_rates(posterior.fits[0].cells, raw.levels, raw.risk.shape)
    deployed = frame.filter(regime="deployment")
    every = (deployed.height - deployed["score"].sum() + 0.5) / (deployed.height + 1)

    def pooled(rows):
        return logit((rows.height - rows["score"].sum() + POOLED * every) / (rows.height + POOLED))

    together, noise = {}, []
    for m, c in ((m, c) for m in raw.levels["model"] for c in raw.levels["context"]):
        both = deployed.filter(model=m, context=c)
        if both.height:
            apart = pooled(deployed.filter(model=m)) + pooled(deployed.filter(context=c)) - pooled(deployed)
            together[m, c] = pooled(both) - apart
            noise.append(both.height / (both.height + POOLED) ** 2 / (every * (1 - every)))
    real = max(1 - np.mean(noise) / np.mean(np.square(list(together.values()))), 0)
    for m, c, t in np.ndindex(*raw.risk.shape):
        names = [v[k] if k < len(v) else "never seen" for v, k in zip(raw.levels.values(), (m, c, t), strict=True)]
        alike = deployed.filter(task=names[2])
        mine = alike.filter(model=names[0], context=names[1])
        failed = mine.height - mine["score"].sum()
        if not mine.height:
            assert np.isnan(rates[m, c, t])
        else:
            parts = pooled(alike.filter(model=names[0])), pooled(alike.filter(context=names[1])), pooled(alike)
            expected = expit(parts[0] + parts[1] - parts[2] + real * together[names[0], names[1]])
            assert np.isclose(rates[m, c, t], (failed + POOLED * expected) / (mine.height + POOLED))
    mixed = blended(raw, rates, 0.75)
    there = ~np.isnan(rates) & raw.known
    np.testing.assert_allclose(mixed.risk[there], (0.25 * raw.risk + 0.75 * rates)[there])
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
    share, saved, error = worth(risk, plain, failure, np.ones(300), cluster)
    losses = {}
    for one in SHARES:
        mixed = np.where(np.isnan(plain), risk, (1 - one) * risk + one * plain)
        losses[one] = -(failure * np.log(mixed) + (1 - failure) * np.log(1 - mixed))
    assert share == min(SHARES, key=lambda one: losses[one].sum()) == 0.75  # outcomes were drawn from the rates
    by = [(losses[0.0] - losses[share])[cluster == k].sum() for k in range(100)]
    assert np.isclose(saved, (losses[0.0] - losses[share]).mean())
    assert np.isclose(error, np.std(by) * np.sqrt(100) / 300)
    assert saved > 2 * error


@pytest.mark.parametrize("seed", range(4))
def test_pooled_rates_are_nearer_to_the_truth_than_plain_ones(seed):
    """Cells whose contexts change single strata, which is where a hierarchy of levels shrinks too far."""
    random = np.random.default_rng(seed)
    shape = (4, 6, 3)
    level = random.standard_normal((4, 1, 3)) + random.standard_normal((1, 6, 3)) + 0.3 * random.standard_normal(shape)
    truth = expit(level)
    model, context, task, item = (v.ravel() for v in np.indices((*shape, 20)))
    failed = random.random(len(model)) < truth[model, context, task]
    text = np.char.add
    frame = pl.DataFrame(
        {
            "regime": "deployment",
            "model": text("m", model.astype(str)),
            "context": text("c", context.astype(str)),
            "task": text("t", task.astype(str)),
            "item": text(text(task.astype(str), "-"), item.astype(str)),
            "score": 1.0 - failed,
        }
    )
    levels = {key: tuple(sorted(frame[key].unique())) for key in ("model", "context", "task")}
    found = cell_rates(dv.collapse(dv.read(frame)), levels, tuple(len(v) + 1 for v in levels.values()))[:-1, :-1, :-1]
    count = np.zeros(shape)
    np.add.at(count, (model, context, task), failed)
    plain = (count + 0.5) / 21

    assert ((found - truth) ** 2).mean() < 0.8 * ((plain - truth) ** 2).mean()


@pytest.mark.parametrize("broken", [0.0, 2.0])
def test_a_model_that_one_context_breaks_is_not_pulled_to_what_both_do_apart(broken):
    """An interaction of models and contexts is believed as far as its noise leaves something of it."""
    random = np.random.default_rng(7)
    items = 25
    both = broken * random.standard_normal((5, 8, 1))
    truth = expit(random.standard_normal((5, 1, 4)) + random.standard_normal((1, 8, 4)) + both)
    count = random.binomial(items, truth)
    n = np.full((5, 8, 1), 4.0 * items)
    rate = np.log((count.sum(2, keepdims=True) + 5) / (n - count.sum(2, keepdims=True) + 5))
    together = rate - rate.mean(0) - rate.mean(1, keepdims=True) + rate.mean()
    found = _real(together, n, float(count.mean() / items))
    assert found > 0.9 if broken else found < 0.5


def test_the_middle_stays_where_nothing_is_better_by_more_than_its_error():
    random = np.random.default_rng(2)
    truth = random.uniform(0.2, 0.8, 200)
    noise = 0.6 * random.standard_normal((2, 200))
    risk, plain = expit(logit(truth) + noise)
    failure = (random.random(200) < truth).astype(float)
    assert worth(risk, plain, failure, np.ones(200), np.arange(200))[0] == SHARE
    assert worth(truth, expit(3 * noise[1]), failure, np.ones(200), np.arange(200))[0] == 0.0
