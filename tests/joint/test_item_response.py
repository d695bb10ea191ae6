"""The item-response kernel against dense quadrature, differences, other devices; levels against what must come out."""

import os
import subprocess
import sys

import numpy as np
import polars as pl
import pytest
from scipy.optimize import brentq
from scipy.special import expit
from scipy.stats import norm

import divergence as dv
from divergence.joint import Importance, ItemLevel
from divergence.joint.arms import measure_arms
from divergence.joint.item_levels import _ridge, _solve, item_levels
from divergence.joint.item_response import HOST_CELLS_MAX, _kernel, sum_items, sum_items_on_host, sums_for
from divergence.joint.methods import NEWTON_STEP_MAX
from divergence.joint.paired import FLIPS
from divergence.simulate import simulate, world


def _problem(items=13, arms=5, seed=0):
    rng = np.random.default_rng(seed)
    n = rng.integers(0, 4, (items, arms)).astype(float)
    n[0] = 0  # an item that was never tried
    y = rng.binomial(n.astype(int), expit(rng.normal(0.5, 1.5, (items, 1)))).astype(float)
    law = rng.dirichlet(np.ones(items), arms).T
    return rng.normal(0.5, 1, arms), 0.2, n, y, law


def _by_quadrature(mu, log_sigma, n, y):
    """Log likelihood of each item on 4001 equally spaced difficulties."""
    z = np.linspace(-12, 12, 4001)
    eta = mu - np.exp(log_sigma) * z[:, None]
    out = []
    for trials, successes in zip(n, y, strict=True):
        value = (successes * eta - trials * np.logaddexp(0, eta)).sum(1) + norm.logpdf(z)
        out.append(np.log(np.trapezoid(np.exp(value), z)))
    return np.array(out)


@pytest.mark.parametrize("add_up", [sum_items, sum_items_on_host])
def test_likelihood_is_that_of_dense_quadrature(add_up):
    mu, log_sigma, n, y, law = _problem()
    sums = add_up(mu, log_sigma, n, y, law)
    expected = _by_quadrature(mu, log_sigma, n, y).sum()
    assert sums.log_likelihood == pytest.approx(expected, abs=1e-8 * len(n))  # as NODES promises


@pytest.mark.parametrize("add_up", [sum_items, sum_items_on_host])
def test_score_and_information_are_its_derivatives(add_up):
    mu, log_sigma, n, y, law = _problem(seed=1)
    theta, step = np.r_[mu, log_sigma], 1e-4
    sums = add_up(mu, log_sigma, n, y, law)

    def at(t):
        return add_up(t[:-1], t[-1], n, y, law)

    for k, e in enumerate(np.eye(len(theta)) * step):
        up, down = at(theta + e), at(theta - e)
        assert sums.score.sum(0)[k] == pytest.approx((up.log_likelihood - down.log_likelihood) / (2 * step), abs=1e-5)
        np.testing.assert_allclose(-sums.information[k], (up.score - down.score).sum(0) / (2 * step), atol=1e-5)
        moved = (law * (up.probability - down.probability)).sum(0) / (2 * step)
        np.testing.assert_allclose(sums.slope[:, k], moved, atol=1e-6)
    np.testing.assert_allclose(sums.score[0], 0, atol=1e-12)


def test_the_host_and_jax_give_the_same_sums():
    """To 1e-12 of the largest, in all fields; also with fractions of trials, as replicates that are copies have."""
    for items, arms, share in ((13, 5, 1.0), (130, 60, 0.4)):
        mu, log_sigma, n, y, law = _problem(items, arms, seed=4)
        one, other = (add_up(mu, log_sigma, share * n, share * y, law) for add_up in (sum_items, sum_items_on_host))
        for name in one.__dataclass_fields__:
            seen, told = np.asarray(getattr(one, name)), np.asarray(getattr(other, name))
            assert seen.shape == told.shape
            np.testing.assert_allclose(seen, told, rtol=0, atol=1e-12 * np.abs(told).max())


def test_small_logs_compile_and_import_nothing():
    assert sums_for(HOST_CELLS_MAX)[0] is sum_items_on_host
    assert sums_for(HOST_CELLS_MAX + 1)[0] is sum_items
    code = (
        "import sys, divergence as dv; from divergence.joint import ItemLevel;"
        "from divergence.simulate import simulate, world;"
        "log = dv.read(simulate(world('baseline', n_models=2, n_contexts=2, n_items=30), 0)[0]);"
        "dv.fit(dv.collapse(log), method=ItemLevel(), seed=0); print('jax' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def test_sharded_over_eight_devices_is_the_same():
    code = (
        "import numpy as np, jax; from divergence.joint.item_response import sum_items;"
        "rng = np.random.default_rng(3); n = rng.integers(0, 3, (150, 6)).astype(float); y = np.floor(n / 2);"
        "law = np.full((150, 6), 1 / 150); mu = np.linspace(-1, 1, 6);"
        "assert len(jax.devices()) == 8;"
        "one, all8 = (sum_items(mu, 0.1, n, y, law, d) for d in (jax.devices()[:1], jax.devices()));"
        "worst = max(np.abs(np.asarray(getattr(one, f)) - getattr(all8, f)).max() for f in one.__dataclass_fields__);"
        "print(worst)"
    )
    flags = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"
    out = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"},
    )
    assert float(out.stdout) < 1e-10


def test_a_second_log_of_similar_size_compiles_nothing():
    sum_items(*_problem(50, 7))
    compiled = _kernel()._cache_size()
    sum_items(*_problem(61, 8, seed=2))
    assert _kernel()._cache_size() == compiled
    sum_items(*_problem(330, 8, seed=2))  # another bucket: the count does count
    assert _kernel()._cache_size() == compiled + 1


def test_complete_logs_have_plain_means_and_like_errors():
    log, _ = simulate(world("baseline", n_models=3, n_contexts=3, n_items=300), 1)
    cells = dv.collapse(dv.read(log))
    plain, linked = measure_arms(cells), measure_arms(cells, item_levels)
    np.testing.assert_allclose(linked.level, plain.level, atol=1e-3)
    ratio = np.sqrt(np.diag(linked.covariance) / np.diag(plain.covariance))
    np.testing.assert_allclose(ratio, 1.0, atol=0.1)


def test_arms_that_share_hardly_any_item_are_linked_by_all():
    """Each arm saw its own fifth of the items: the item-level levels are nearer to the truth, and cover it."""
    errors = {"arm": [], "item": []}
    covered = []
    for seed in range(4):
        log, truth = simulate(world("baseline", n_models=5, n_contexts=4, n_items=150, n_trials=1, difficulty=2.0), seed)
        cells = dv.collapse(dv.read(log.filter(pl.struct("model", "context", "item").hash(seed) % 5 == 0)))
        for name, method in (("arm", Importance()), ("item", ItemLevel())):
            posterior = dv.fit(cells, method=method, seed=seed)
            estimate = dv.context_effect(posterior).where(statistic=None)
            rows = estimate.rows.with_row_index().filter(pl.col("model").is_not_null())
            value = np.array(
                [
                    truth["context_effect"][int(m[-1])][int(c[-1]) - 1]
                    for m, c in zip(rows["model"], rows["context"], strict=True)
                ]
            )
            draws = estimate.draws[:, rows["index"].to_numpy()]
            errors[name].append(np.mean((draws.mean(0) - value) ** 2))
            if name == "item":
                lower, upper = np.quantile(draws, [0.05, 0.95], axis=0)
                covered.append(np.mean((lower <= value) & (value <= upper)))
    assert np.mean(errors["item"]) < np.mean(errors["arm"])
    assert np.mean(covered) > 0.75  # 80 intervals at .9 in 20 groups of 4 that share a bench: an sd of at most .07


def _log_of_answers(trials, copied, items=200, arms=(2, 3), seed=0):
    """Answers of one item response model, of which that share of the items repeat their first answer."""
    rng = np.random.default_rng(seed)
    shape = (*arms, items, trials)
    y = rng.random(shape) < expit(rng.normal(0.6, 0.5, arms)[..., None] - 1.2 * rng.standard_normal(items))[..., None]
    y = np.where(rng.random(shape[:-1])[..., None] < copied, y[..., :1], y)
    model, context, item, trial = np.indices(shape).reshape(4, -1)
    bench = {"context": "bench", "regime": "evaluation"}
    return pl.DataFrame(
        {
            "model": [f"m{k}" for k in model],
            "regime": np.where(context == 0, bench["regime"], "deployment"),
            "context": [f"c{k}" if k else bench["context"] for k in context],
            "item": [f"i{k}" for k in item],
            "trial": trial,
            "score": y.ravel().astype(float),
        }
    )


@pytest.mark.parametrize("copied", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("trials", [2, 8])
def test_how_much_replicates_are_copies(trials, copied):
    """Their correlation is the share of the items whose answer repeats itself; as if all were, it was seen at .08 to .16
    where none is."""
    counts = dv.collapse(dv.read(_log_of_answers(trials, copied))).counts
    keys = np.unique(np.stack([counts["model"], counts["regime"], counts["context"]]), axis=1, return_inverse=True)
    raw, deployed = keys[1].ravel(), keys[0][1] == 1
    found = item_levels(counts, raw, np.full(len(raw), 1 / 200), deployed)
    spread = {2: 0.24, 8: 0.074}[trials] / 0.18  # sd of one item's estimate of p (1 - p), over its mean
    assert found.copies == pytest.approx(copied, abs=4 * np.hypot(spread, 0.46) / np.sqrt(1200))


@pytest.mark.parametrize(("copied", "answers"), [(0.0, 4.0), (1.0, 1.0)])
def test_answers_flip_where_they_are_drawn_anew_and_items_where_they_are_copies(copied, answers):
    """What was never seen to flip is 2.7 flips in units of what flips: 4 x 200 answers, or 200 items."""
    arms = measure_arms(dv.collapse(dv.read(_log_of_answers(4, copied))), item_levels)
    assert arms.least is not None
    np.testing.assert_allclose(np.sqrt(FLIPS / arms.least) / 200, answers, rtol=0.1)  # the correlation is an estimate


@pytest.mark.parametrize("seed", [0, 2, 4])
def test_the_search_goes_on_where_the_curvature_vanishes(seed):
    """A Newton step has no end there. Cut to its longest it is a thousandth of itself, and was taken for no step at all:
    a bench of items that hardly differ had an interval of .92 for one of .03."""
    rng = np.random.default_rng(seed)
    n, law = np.full((60, 12), 2.0), np.full((60, 12), 1 / 60)
    y = rng.binomial(2, expit(rng.normal(4.3, 0.8, 12) - rng.standard_normal((60, 1)))).astype(float)
    mu, best, *_ = _solve(sum_items_on_host, n, y, law)

    def least(log_sigma):
        sums = sum_items_on_host(mu, log_sigma, n, y, law)
        return np.linalg.eigvalsh(sums.information + _ridge(12))[0]

    flat = brentq(least, -3.0, -1.0)
    assert _solve(sum_items_on_host, n, y, law, (mu, flat))[1] == pytest.approx(best, abs=1e-6)


def test_contexts_that_copy_beside_others_that_draw_anew():
    """A greedy bench and context among sampled ones: 200 items stand behind the copies, 4 x 200 answers behind the others.
    One correlation for all arms gave both two answers an item, and the copies' contrast held .78 of 120 truths."""
    anew = _log_of_answers(4, 0.0, arms=(2, 5), seed=4)
    greedy = pl.col("context").is_in(["bench", "c1"])
    first = pl.col("score").sort_by("trial").first().over("model", "context", "item")
    cells = dv.collapse(dv.read(anew.with_columns(score=pl.when(greedy).then(first).otherwise("score"))))
    arms = measure_arms(cells, item_levels)
    copied = np.isin(arms.context, [cells.levels["context"].index(name) for name in ("bench", "c1")])
    assert arms.least is not None
    answers = np.sqrt(FLIPS / arms.least) / 200
    np.testing.assert_allclose(answers[copied], 1.0, atol=0.15)  # what is left of the pull to the mean of all arms
    assert (answers[~copied] > 3).all()


def test_arms_that_copy_alike_are_told_alike():
    """Where arms differ by chance alone, what one of them shows says nothing of it: nearly all have the log's share."""
    for copied in (0.0, 0.3, 1.0):
        arms = measure_arms(dv.collapse(dv.read(_log_of_answers(4, copied, arms=(3, 4), seed=7))), item_levels)
        assert arms.least is not None
        answers = np.sqrt(FLIPS / arms.least) / 200
        assert answers.max() < 1.35 * answers.min()


def test_waves_of_unequal_trials_leave_each_arm_its_own_answers():
    """One arm has one answer an item in one wave, others nine in two: what its contrast may hide are flips of its own 60
    answers. With the shift of waves taken out of how many they are, it had 1 answer, or 260, as its wave was the other."""
    frame = _log_of_answers(9, 0.0, items=60, arms=(3, 3), seed=2)
    frame = frame.with_columns(wave=pl.when(pl.col("trial") == 0).then(pl.lit("short")).otherwise(pl.lit("long")))
    lone = (pl.col("model") == "m0") & (pl.col("context") == "c1")
    kept = frame.filter(~lone | (pl.col("trial") == 0))
    for other in ("long", "short"):
        cells = dv.collapse(dv.read(kept.with_columns(wave=pl.when(lone).then(pl.lit(other)).otherwise("wave"))))
        arms = measure_arms(cells, item_levels)
        assert arms.least is not None
        behind = np.sqrt(FLIPS / arms.least)
        here = (arms.model == 0) & (arms.context == cells.levels["context"].index("c1"))
        assert behind[here] == pytest.approx(60, rel=1e-6)
        assert (behind[~here] > 5 * 60).all() and (behind[~here] <= 9 * 60).all()


def test_all_successes_in_one_arm_and_in_all():
    log, _ = simulate(world("baseline", n_models=3, n_contexts=2, n_items=30), 2)
    perfect = log.with_columns(score=pl.when(pl.col("model") == "model-0").then(1.0).otherwise(pl.col("score")))
    for rows in (perfect, log.with_columns(score=pl.lit(1.0))):
        frame = dv.bench_level(dv.fit(dv.collapse(dv.read(rows)), method=ItemLevel(), seed=0)).to_frame()
        first = frame.filter(model="model-0")
        assert 0.8 < first["lower"][0] < 0.999
        assert first["upper"][0] <= 1


def test_what_it_cannot_take_is_a_sentence():
    log, _ = simulate(world("baseline", n_models=2, n_contexts=2, n_items=20), 3)
    with pytest.raises(dv.InputError, match="successes"):
        dv.fit(dv.collapse(dv.read(log.with_columns(score=pl.col("score") * 0.5))), method=ItemLevel())
    pooled = log.with_columns(item=pl.when(pl.col("regime") == "evaluation").then("item"))
    with pytest.raises(dv.InputError, match="item of every row"):
        dv.fit(dv.collapse(dv.read(pooled)), method=ItemLevel())


@pytest.mark.parametrize(
    ("sizes", "keep", "method"),
    [
        ({"n_items": 60}, 1, "arm-level"),
        ({"n_items": 25}, 1, "arm-level"),
        ({"n_items": 400, "n_trials": 1}, 5, "item-level"),
    ],
)
def test_the_rule_is_said(sizes, keep, method):
    log, _ = simulate(world("baseline", n_models=3, n_contexts=3, **sizes), 4)
    cells = dv.collapse(dv.read(log.filter(pl.struct("model", "context", "item").hash(4) % keep == 0)))
    posterior = dv.fit(cells, seed=0)
    assert posterior.fits[0].method.startswith(method)
    assert posterior.fits[0].why.startswith(f"{method}, because")
    assert method in posterior.provenance["methods"]["score"]
    assert posterior.fits[0].cpu_seconds > 0


@pytest.mark.parametrize("seed", range(6))
def test_items_that_all_arms_answer_alike_take_a_few_newton_steps(seed):
    """Difficulties spread over five logits: a quadrature too coarse for them had a slope that was not its own, and none of
    hundreds of steps that were tried led uphill."""
    random = np.random.default_rng(seed)
    y = random.normal(0, 4, (100, 1)) + random.normal(0, 0.3, 16) + random.logistic(0, 1, (100, 1)) > 0
    n = np.ones((100, 16))
    n[:50, 8:] = 0  # half of the arms tried half of the items
    y, calls = np.where(random.random(y.shape) < 0.04, ~y, y) * n, []

    def counted(*given):
        calls.append(given)
        return sum_items_on_host(*given)

    mu, log_sigma, sums, step = _solve(counted, n, y, n / n.sum(0))
    assert len(calls) <= 30 and step < NEWTON_STEP_MAX
    assert np.abs(sums.score.sum(0) - _ridge(16) @ (np.r_[mu, log_sigma] - _centre(n, y))).max() < 1e-6


def test_a_search_that_its_rounds_end_is_a_gate_that_failed(monkeypatch):
    """Two rounds are too few: every result of the fit is marked. With enough of them the gate is passed. One trial an item:
    with replicates the search goes on where it was, each time that they are thinned anew."""
    frame = simulate(world("baseline", n_models=2, n_contexts=2, n_items=30), 0)[0]
    cells = dv.collapse(dv.read(frame.filter(trial=frame["trial"].min())))
    for rounds, ended in ((50, True), (2, False)):
        monkeypatch.setattr("divergence.joint.item_levels.ROUNDS_MAX", rounds)
        posterior = dv.fit(cells, method=ItemLevel(), seed=0)
        gate = next(d for d in posterior.diagnostics if d.name == "Newton step of item levels")
        assert gate.passed == posterior.passed == (gate.value < gate.threshold) == ended
        assert ("FAILED: Newton step of item levels" in dv.gap(posterior).method) == (not ended)
    assert not any("item levels" in d.name for d in dv.fit(cells, method=Importance(), seed=0).diagnostics)


def _centre(n, y):
    share = y.sum() / n.sum()
    return np.r_[np.full(n.shape[1], np.log(share / (1 - share))), 0.0]
