"""Are the parts of the noise those of the simulated world, and of an analysis of variance by hand?"""

import numpy as np
import polars as pl
import pytest
from scipy.special import expit

import divergence as dv
from divergence.planning.variance_parts import variance_parts
from divergence.simulate import simulate, world


def fitted(log):
    return dv.fit(dv.collapse(dv.read(log)), seed=0).fits[0]


def table(p: np.ndarray, trials: int, rng: np.random.Generator, copies: bool = False) -> pl.DataFrame:
    """A log of one model in contexts, from chances (contexts, items); context 0 is the bench."""
    rows = []
    for c in range(p.shape[0]):
        for i in range(p.shape[1]):
            first = float(rng.random() < p[c, i])
            for t in range(trials):
                score = first if copies or t == 0 else float(rng.random() < p[c, i])
                regime = "deployment" if c else "evaluation"
                rows.append(
                    {"regime": regime, "model": "m", "context": f"c{c}", "item": f"i{i}", "trial": t, "score": score}
                )
    return pl.DataFrame(rows)


def test_parts_are_the_worlds():
    """400 items of 4 trials: variances of p and of p (1 - p) to 4 standard errors of a variance, 4 sqrt(2 / 400)."""
    rng = np.random.default_rng(1)
    difficulty, own = rng.normal(0, 1.2, 400), rng.normal(0, 0.8, (3, 400))
    p = expit(0.4 - difficulty + own)
    parts = variance_parts(fitted(table(p, 4, rng)))
    truth = np.cov(p)
    room = 4 * np.sqrt(2 / 400)
    assert np.abs(np.diag(parts.between) / np.diag(truth) - 1).max() < room
    assert np.abs(parts.replicate / (p * (1 - p)).mean(1) - 1).max() < room
    off = (truth.sum() - np.trace(truth)) / 6
    assert abs(parts.shared.mean() / off - 1) < room
    assert (parts.own > 0).all() and not parts.copies.any() and parts.repeated


def test_a_slow_analysis_of_variance_gives_the_same_replicates():
    """The steadied variances keep the ratio of the parts, so the share of replicates is that of a loop over items."""
    rng = np.random.default_rng(2)
    p = expit(rng.normal(0.3, 1.0, (2, 150)))
    log = table(p, 3, rng)
    parts = variance_parts(fitted(log))
    for k, context in enumerate(("c1", "c0")):  # arms in order of regime: deployment, evaluation
        mine = log.filter(pl.col("context") == context)
        inside, means = [], []
        for _, rows in mine.group_by("item"):
            values = rows["score"].to_numpy()
            inside.append(values.var(ddof=1))
            means.append(values.mean())
        share = np.mean(inside) / 3 / np.var(means, ddof=1)
        got = parts.replicate[k] / 3 / (parts.between[k, k] + parts.replicate[k] / 3)
        assert got == pytest.approx(share, rel=1e-9)


def test_copies_have_no_replicate_part():
    rng = np.random.default_rng(3)
    parts = variance_parts(fitted(table(expit(rng.normal(0, 1, (2, 80))), 3, rng, copies=True)))
    assert parts.copies.all() and (parts.replicate == 0).all()


def test_one_trial_an_item_does_not_tell_replicates_from_items():
    rng = np.random.default_rng(4)
    parts = variance_parts(fitted(table(expit(rng.normal(0, 1, (2, 80))), 1, rng)))
    assert not parts.repeated and np.isnan(parts.replicate).all()
    level = 80 * np.diag(fitted(table(expit(rng.normal(0, 1, (2, 80))), 1, rng)).arms.covariance)
    assert np.all(np.diag(parts.between) > 0.5 * level.min())


def test_the_order_of_rows_and_the_names_of_items_do_not_matter():
    log, _ = simulate(world("baseline", n_models=2, n_contexts=2, n_items=40), 5)
    renamed = log.with_columns(item=pl.concat_str(pl.lit("z"), "item")).sample(fraction=1.0, shuffle=True, seed=1)
    one, other = variance_parts(fitted(log)), variance_parts(fitted(renamed))
    for name in ("between", "shared", "replicate", "session", "items", "error"):
        assert np.allclose(getattr(one, name), getattr(other, name), atol=1e-10), name


def test_sessions_add_a_part():
    log, _ = simulate(world("sessions", n_models=2, n_contexts=2, n_items=60), 6)
    parts = variance_parts(fitted(log))
    assert parts.session.max() > 0.1 * np.diag(parts.between).mean()


def test_items_of_their_own_share_no_luck():
    log, _ = simulate(world("no_overlap", n_models=2, n_contexts=2, n_items=60), 7)
    fit = fitted(log)
    parts = variance_parts(fit)
    across = fit.arms.deployed[:, None] != fit.arms.deployed
    sd = np.sqrt(np.diag(parts.between))
    assert np.abs(parts.between / np.outer(sd, sd))[across].max() < 0.05
