"""The spread of a model over contexts, against loops."""

import numpy as np

import divergence as dv
from divergence.joint import levels
from divergence.simulate import simulate, world

"""The spread of a model over contexts, against loops."""


def _posterior_of(log, **options):
    return dv.fit(dv.collapse(dv.read(log, **options)), seed=0)


def _small_log(kind="baseline", **sizes):
    return simulate(world(kind, **({"n_models": 3, "n_contexts": 2, "n_items": 40} | sizes)), 2)[0]


def test_kappa_against_loops(waves_posterior):
    mu = levels(waves_posterior.fits[0], "deployment")
    row, law = mu.draws[3, 1], mu.law[1]
    mean = sum(w * v for w, v in zip(law, row, strict=True))
    variance = sum(w * (v - mean) ** 2 for w, v in zip(law, row, strict=True))
    assert np.isclose(dv.kappa(waves_posterior).draws[3, 1], np.sqrt(variance), rtol=1e-10)


def test_a_law_on_one_context():
    posterior = _posterior_of(_small_log())
    assert not dv.kappa(posterior, law={"context-1": 1.0}).identified
    assert dv.deployed_level(posterior, law={"context-1": 1.0}).identified
