"""The line through the gaps of all pairs: least squares, invariances, models that are equal or too few."""

import itertools

import numpy as np
import pytest
from scipy.stats import norm

import divergence as dv
from divergence.estimands.projection_instability import regress
from divergence.estimands.reversal import risk
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


def test_pi0_is_the_mean_of_a_half_normal(waves_posterior):
    estimate = dv.projection_instability(waves_posterior)
    draws = {s: estimate.where(statistic=s).draws[:, 0] for s in (None, "tau_p", "PI0")}
    np.testing.assert_array_equal(draws[None], draws["PI0"])
    assert draws["PI0"][0] / draws["tau_p"][0] == pytest.approx(norm.expect(abs), rel=1e-6)


def test_three_models_are_too_few_and_two_are_enough_for_an_order():
    log, _ = simulate(world("baseline", n_models=3, n_contexts=2, n_items=60), 2)
    posterior = _posterior(log)
    for question in (dv.projection_instability, dv.leverage, dv.gap_for_confidence):
        assert question(posterior).reasons == ("It needs four models in both regimes; this log has 3.",)
    reversal = dv.reversal(posterior)
    assert reversal.where(statistic=None).to_frame()["identified"].all()
    assert not reversal.where(statistic="curve").identified
    assert dv.rank_agreement(posterior).identified
