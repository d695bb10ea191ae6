"""The amplifier: the line between bench gaps and deployed gaps, and what follows from it, against loops and simulation."""

import itertools

import numpy as np
import polars as pl
import pytest
from scipy.stats import kendalltau, norm

import divergence as dv
from divergence.estimands.gap_for_confidence import needed, pair_noise
from divergence.estimands.projection_instability import Projection, project, regress
from divergence.estimands.rank_agreement import first_place, place, tied
from divergence.estimands.reversal import reversed_order, risk
from divergence.estimate import Estimate
from divergence.simulate import simulate, world

RNG = np.random.default_rng(20260711)
BENCH = RNG.normal(0.6, 0.1, (40, 7))
DEPLOYED = 0.8 * BENCH + RNG.normal(0, 0.04, (40, 7))


def _posterior(log):
    return dv.fit(dv.collapse(dv.read(log)), seed=0)


def test_the_line_against_least_squares_over_pairs():
    gap, beta, tau = regress(BENCH, DEPLOYED)
    for s in range(3):
        pairs = list(itertools.combinations(range(7), 2))
        x, y = (np.array([level[s, i] - level[s, j] for i, j in pairs]) for level in (BENCH, DEPLOYED))
        slope, left = np.linalg.lstsq(x[:, None], y, rcond=None)[:2]
        assert (gap[s], beta[s], tau[s]) == pytest.approx(
            (np.sqrt((x**2).mean()), slope[0], np.sqrt(left[0] / len(pairs))), rel=1e-9
        )


def test_the_line_does_not_see_shifts_and_names_and_follows_scales():
    order = RNG.permutation(7)
    gap, beta, tau = regress(BENCH, DEPLOYED)
    for other in (regress(BENCH + 0.2, DEPLOYED - 0.3), regress(BENCH[:, order], DEPLOYED[:, order])):
        np.testing.assert_allclose(other, (gap, beta, tau), rtol=1e-9)
    np.testing.assert_allclose(regress(BENCH, 2 * DEPLOYED), (gap, 2 * beta, 2 * tau), rtol=1e-9)
    np.testing.assert_allclose(regress(BENCH, -DEPLOYED)[1:], (-beta, tau), rtol=1e-9)


def test_models_that_are_all_equal():
    gap, beta, tau = regress(np.full((5, 4), 0.5), DEPLOYED[:5, :4])
    assert (gap == 0).all() and (beta == 0).all() and (tau > 0).all()
    np.testing.assert_array_equal(risk(beta, tau, np.array([0.0, 0.1])), 0.5)


def test_the_line_of_draws_covers_where_that_of_raw_levels_is_flat_and_inflated():
    """Levels with a known normal law and known noise have an exact posterior: 300 worlds, 200 draws each, 90 % intervals."""
    models, spread, noise = 8, np.array([[0.01, 0.008], [0.008, 0.0072]]), np.diag([0.004, 0.001])
    gain = spread @ np.linalg.inv(spread + noise)
    root = np.linalg.cholesky(spread - gain @ spread)
    covered, raw = [], []
    for _ in range(300):
        level = RNG.multivariate_normal([0, 0], spread, models)
        seen = level + RNG.multivariate_normal([0, 0], noise, models)
        draws = seen @ gain.T + RNG.standard_normal((200, models, 2)) @ root.T
        exact = regress(level[None, :, 0], level[None, :, 1])
        limits = np.quantile(regress(draws[:, :, 0], draws[:, :, 1]), [0.05, 0.95], axis=1)
        covered.append([lower <= value[0] <= upper for lower, value, upper in zip(limits[0], exact, limits[1], strict=True)])
        raw.append([value[0] / at[0] for value, at in zip(regress(seen[None, :, 0], seen[None, :, 1]), exact, strict=True)])
    error = 4 * np.sqrt(0.9 * 0.1 / 300)
    assert np.abs(np.mean(covered, 0) - 0.9).max() < error
    assert np.median(raw, 0)[1] < 0.8 and np.median(raw, 0)[2] > 1.2  # what the noise does to beta and tau_p


def test_pi0_is_the_mean_of_a_half_normal(waves_posterior):
    estimate = dv.projection_instability(waves_posterior)
    draws = {s: estimate.where(statistic=s).draws[:, 0] for s in (None, "tau_p", "PI0")}
    np.testing.assert_array_equal(draws[None], draws["PI0"])
    assert draws["PI0"][0] / draws["tau_p"][0] == pytest.approx(norm.expect(abs), rel=1e-6)


def test_headline_leverage_is_what_the_correlation_leaves(waves_posterior):
    estimate = dv.leverage(waves_posterior)
    b, d = dv.bench_level(waves_posterior).draws, dv.deployed_level(waves_posterior).draws
    r = [np.corrcoef(b[s], d[s])[0, 1] for s in range(20)]
    np.testing.assert_allclose(estimate.draws[:20, 0], 1 - np.square(r), rtol=1e-8)
    curve = estimate.where(statistic="curve").draws
    assert (curve[:, 0] == 1).all() and (np.diff(curve, axis=1) <= 0).all()


def test_the_curve_starts_at_a_half_and_meets_five_percent_at_g05(waves_posterior):
    curve = dv.reversal(waves_posterior).where(statistic="curve")
    assert (curve.draws[:, 0] == 0.5).all()
    assert curve.rows["level"].cast(float).is_sorted()
    _, line, _ = project(waves_posterior, None, None)
    trusted = dv.gap_for_confidence(waves_posterior).where(statistic=None, model=None).draws[:, 0]
    rising = line.beta > 0
    met = [risk(line.beta[[s]], line.tau[[s]], trusted[[s]])[0, 0] for s in np.flatnonzero(rising)[:50]]
    np.testing.assert_allclose(met, 0.05, rtol=1e-9)
    assert np.isinf(trusted[~rising]).all()


def test_the_risk_in_a_new_context_mixes_the_lines_of_the_logged_ones(waves_posterior):
    answer = dv.reversal(waves_posterior)
    _, line, _ = project(waves_posterior, None, None)
    pairs = answer.where(statistic="new_context")
    for s in range(3):
        expected = np.zeros(6)
        for c, weight in enumerate(line.law):
            _, beta, tau = (value[0] for value in regress(line.bench[[s]], line.within[[s], :, c]))
            gaps = [abs(line.bench[s, i] - line.bench[s, j]) for i, j in itertools.combinations(range(4), 2)]
            expected += weight * norm.cdf(-beta * np.array(gaps) / tau)
        np.testing.assert_allclose(pairs.draws[s], expected, rtol=1e-9)
    assert (answer.where(statistic="curve_new_context").draws[:, 0] == 0.5).all()


def test_one_new_context_is_less_sure_than_the_mean_over_the_logged_ones(waves_posterior):
    tau = [dv.projection_instability(waves_posterior, contexts=c).where(statistic="tau_p").draws for c in ("logged", "new")]
    assert np.median(tau[1]) > np.median(tau[0])
    wide = dv.rank_agreement(waves_posterior, contexts="new").draws[:, 0].mean()
    assert wide < dv.rank_agreement(waves_posterior).draws[:, 0].mean()
    answer = dv.reversal(waves_posterior, contexts="new")
    assert answer.where(statistic=None).rows.height == 6 and not answer.where(statistic="new_context").rows.height
    assert dv.gap_for_confidence(waves_posterior, contexts="new").rows.height
    assert dv.leverage(waves_posterior, contexts="new").identified
    with pytest.raises(dv.InputError, match="contexts='all' is not known"):
        dv.reversal(waves_posterior, contexts="all")


def test_a_tie_is_half_a_reversal_and_pairs_are_symmetric():
    gaps = np.array([0.1, -0.1, 0.0, 0.1])
    np.testing.assert_array_equal(reversed_order(gaps, np.array([0.2, 0.2, 0.2, 0.0])), [0, 1, 0.5, 0.5])
    np.testing.assert_array_equal(reversed_order(-gaps, -DEPLOYED[0, :4]), reversed_order(gaps, DEPLOYED[0, :4]))


def test_the_observed_gap_that_can_be_trusted_by_simulation():
    """Of pairs whose *observed* gap is g_05_observed, one in twenty is reversed in deployment."""
    gamma, noise, beta, tau = 0.1, 0.05, 0.8, 0.02
    known = (np.array([value]) for value in (gamma, beta, tau))
    line = Projection(("a",), BENCH, DEPLOYED, DEPLOYED[:, :, None], np.ones(1), *known)
    shrink = gamma**2 / (gamma**2 + noise**2)
    trusted = needed(line, np.array([shrink]))[0]
    true = RNG.normal(0, gamma, 4_000_000)
    observed = true + RNG.normal(0, noise, true.size)
    near = np.abs(observed - trusted) < 0.001
    deployed = beta * true[near] + RNG.normal(0, tau, near.sum())
    error = np.sqrt(0.05 * 0.95 / near.sum())
    assert abs((deployed < 0).mean() - 0.05) < 4 * error
    assert true[near].mean() == pytest.approx(shrink * trusted, abs=4 * gamma / np.sqrt(near.sum()))
    assert needed(line)[0] < trusted


def test_noise_of_an_observed_gap_against_resampled_items(waves_world, waves_posterior):
    log = waves_world[0].filter(regime="evaluation")
    item = log.group_by("model", "item").agg(pl.col("score").mean()).sort("model")
    table = item.pivot(on="model", index="item", values="score").drop("item").to_numpy()
    first, second = np.array(list(itertools.combinations(range(4), 2))).T
    _, line, _ = project(waves_posterior, None, None)
    noise = pair_noise(waves_posterior.fits[0], line, first, second)
    resampled = table[RNG.integers(0, len(table), (2000, len(table)))].mean(1)
    oracle = (resampled[:, first] - resampled[:, second]).var(0)
    # Correlations are shrunk towards those of alike pairs, so single pairs differ; their mean must not.
    assert noise.mean() == pytest.approx(oracle.mean(), rel=0.15)


def test_a_bench_that_orders_nothing_is_refused():
    log, _ = simulate(world("baseline", n_models=4, n_contexts=2, n_items=60, ability=0.0, projection=0.4), 1)
    posterior = _posterior(log)
    answer = dv.gap_for_confidence(posterior)
    assert not answer.identified and "does not order deployment" in answer.reasons[0]
    assert dv.projection_instability(posterior).identified


def test_three_models_are_too_few_and_two_are_enough_for_an_order():
    log, _ = simulate(world("baseline", n_models=3, n_contexts=2, n_items=60), 2)
    posterior = _posterior(log)
    for question in (dv.projection_instability, dv.leverage, dv.gap_for_confidence):
        assert question(posterior).reasons == ("It needs four models in both regimes; this log has 3.",)
    reversal = dv.reversal(posterior)
    assert reversal.where(statistic=None).to_frame()["identified"].all()
    assert not reversal.where(statistic="curve").identified
    assert dv.rank_agreement(posterior).identified


def test_models_that_are_copies_of_each_other():
    """Five names for one model: nothing is ordered, equals are first in turn, and the coupling says why it is near 1."""
    log, _ = simulate(world("baseline", n_models=1, n_contexts=3, n_items=120), 1)
    posterior = _posterior(pl.concat([log.with_columns(model=pl.lit(f"copy-{k}")) for k in range(5)]))
    assert "no bench gap can be trusted" in dv.gap_for_confidence(posterior).reasons[0]
    chances = dv.rank_agreement(posterior).where(statistic="p_best", regime="deployment").to_frame()["mean"]
    assert chances.sum() == pytest.approx(1) and chances.max() < 0.4
    assert "near 1 by construction" in dv.coupling(posterior).text
    assert dv.projection_instability(posterior).identified


def test_infinite_draws_have_quantiles_and_no_mean():
    draws = np.r_[np.linspace(1, 2, 97), [np.inf] * 3][:, None].repeat(2, 1)
    estimate = Estimate(
        "gap_for_confidence", "", "points", pl.DataFrame({"model": ["a", "b"]}), draws, quantiles_only=np.array([True, True])
    )
    row = estimate.to_frame().row(0, named=True)
    assert row["mean"] is None and row["sd"] is None and row["identified"]
    assert row["median"] == pytest.approx(np.median(draws[:, 0])) and row["upper"] < 2
    wide = estimate.to_frame(0.98).row(0, named=True)
    assert wide["upper"] is None and wide["lower"] is not None
    assert "1.5" in repr(estimate)


def test_kendall_regret_places_and_first_places_against_loops(waves_posterior):
    estimate = dv.rank_agreement(waves_posterior)
    b, d = dv.bench_level(waves_posterior).draws, dv.deployed_level(waves_posterior).draws
    for s in range(20):
        assert estimate.draws[s, 0] == pytest.approx(kendalltau(b[s], d[s]).statistic, rel=1e-9)
        assert estimate.draws[s, 1] == pytest.approx(d[s].max() - d[s][np.argmax(b[s])], abs=1e-12)
    first = estimate.where(statistic="p_best", regime="deployment").draws
    np.testing.assert_array_equal(first.argmax(1), d.argmax(1))
    np.testing.assert_array_equal(first.sum(1), 1)
    np.testing.assert_array_equal(estimate.where(statistic="rank", regime="evaluation").draws.sum(1), 4 * 5 / 2)
    assert estimate.where(statistic="tied", regime="deployment").draws[0].sum() >= 1


def test_ties_share_places():
    level = np.array([[0.5, 0.7, 0.7, 0.1]])
    np.testing.assert_array_equal(first_place(level), [[0, 0.5, 0.5, 0]])
    np.testing.assert_array_equal(place(level), [[3, 1.5, 1.5, 4]])
    both = place(RNG.integers(0, 3, (500, 2)).astype(float)).mean(0)
    assert (2 - both).sum() == pytest.approx(1)  # of two models 2 - E rank is P(i > j), ties 1/2
    np.testing.assert_array_equal(tied(np.array([[1.0, 0, 0]] * 8 + [[0, 1.0, 0]] * 2))[0], [1, 1, 0])


def test_the_fastest_is_first_where_less_is_better():
    log, _ = simulate(world("baseline", n_models=3, n_contexts=2, n_items=40), 4)
    speed = {"model-0": 3.0, "model-1": 1.0, "model-2": 2.0}
    log = log.with_columns(
        latency_s=pl.col("model").replace_strict(speed, return_dtype=pl.Float64) * (1 + 0.1 * pl.col("score"))
    ).drop("score")
    seconds = dv.Configuration.from_table({"outcome": "latency_s"})
    posterior = dv.fit(dv.collapse(dv.read(log, configuration=seconds)), seed=0)
    first = dv.rank_agreement(posterior).where(statistic="p_best", regime="deployment").to_frame()
    assert first.sort("mean")["model"][-1] == "model-1"
