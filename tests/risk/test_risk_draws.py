"""Plausible tables of risk have the law of the table."""

import numpy as np
import pytest
import risk_worlds as worlds

import divergence as dv
from divergence.risk.reliability import reliability
from divergence.risk.risk_draws import plausible_risks
from divergence.risk.summaries import summarise


@pytest.fixture(scope="module")
def world():
    """A log, its true risks, and its posterior."""
    log, truth = worlds.make(5, models=3, contexts=3, tasks=4, items=50)
    read = dv.read(log)
    return read, truth, dv.fit(dv.collapse(read), seed=0)


def test_plausible_tables_have_the_law_of_the_table(world):
    """Means within four Monte Carlo errors, limits to two points: 2000 draws leave .7 of their 5 % points."""
    _, _, posterior = world
    got, draws = summarise(posterior), plausible_risks(posterior, draws=2000)
    error = 4 * draws.std(0) / np.sqrt(len(draws))
    assert draws.shape == (len(draws), *got.risk.shape) and (np.abs(draws.mean(0) - got.risk) < error + 1e-3).all()
    seen = np.s_[:3, 1:3, :4]
    for limit, share in ((got.lower, 0.05), (got.upper, 0.95)):
        assert np.abs(np.quantile(draws, share, axis=0)[seen] - limit[seen]).max() < 0.02
    # What the models share makes them move together: the sample of items of a task is the same for all.
    together = [np.corrcoef(draws[:, 0, 1, t], draws[:, 1, 1, t])[0, 1] for t in range(4)]
    assert np.mean(together) > 0.05


def test_an_error_that_the_posterior_expects_is_inside_its_own_null():
    """A score that is off as a whole by a draw from a law that it knows: outside the null of a perfect score, inside that of
    its posterior, in 19 of 20 worlds; fewer than 50 of 60 has probability .001."""
    inside = perfect = 0
    for seed in range(60):
        random = np.random.default_rng(seed)
        risk = np.linspace(0.2, 0.8, 30)
        kind = random.integers(0, 30, 5000)
        truth = risk + 0.1 * random.uniform(-1, 1)
        draws = risk + 0.1 * random.uniform(-1, 1, (400, 1))
        got = reliability(risk[kind], (random.random(5000) < truth[kind]).astype(float), plausible=(draws, kind), seed=seed)
        inside, perfect = inside + got["inside_posterior"], perfect + got["inside_null"]
    assert inside >= 50 and perfect <= 30
