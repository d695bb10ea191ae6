"""The risk that an order of the bench is reversed: its curve, new contexts, ties."""

import itertools

import numpy as np
import pytest
from scipy.stats import norm

import divergence as dv
from divergence.estimands.projection_instability import project, regress
from divergence.estimands.reversal import reversed_order, risk

"""The risk that an order of the bench is reversed: its curve, new contexts, ties."""

RNG = np.random.default_rng(20260711)

BENCH = RNG.normal(0.6, 0.1, (40, 7))

DEPLOYED = 0.8 * BENCH + RNG.normal(0, 0.04, (40, 7))


def test_the_curve_starts_at_a_half_and_meets_five_percent_at_g05(waves_posterior):
    curve = dv.reversal(waves_posterior).where(statistic="curve")
    assert (curve.draws[:, 0] == 0.5).all()
    assert curve.rows["level"].cast(float).is_sorted()
    _, line = project(waves_posterior, None, None)
    trusted = dv.gap_for_confidence(waves_posterior).where(statistic=None, model=None).draws[:, 0]
    rising = line.beta > 0
    met = [risk(line.beta[[s]], line.tau[[s]], trusted[[s]])[0, 0] for s in np.flatnonzero(rising)[:50]]
    np.testing.assert_allclose(met, 0.05, rtol=1e-9)
    assert np.isinf(trusted[~rising]).all()


def test_the_risk_in_a_new_context_mixes_the_lines_of_the_logged_ones(waves_posterior):
    answer = dv.reversal(waves_posterior)
    _, line = project(waves_posterior, None, None)
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


def test_a_pair_keeps_or_reverses(waves_posterior):
    reversal = dv.reversal(waves_posterior).where(statistic=None)
    assert set(np.unique(reversal.draws)) <= {0.0, 1.0}
    assert reversal.rows.height == 6
    b, d = dv.bench_level(waves_posterior).draws, dv.deployed_level(waves_posterior).draws
    flipped = np.mean((b[:, 0] > b[:, 1]) != (d[:, 0] > d[:, 1]))
    assert reversal.to_frame()["mean"][0] == flipped
