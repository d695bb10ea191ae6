"""The summaries of every combination: against the level, the truth, and for what was never seen."""

import numpy as np
import polars as pl
import pytest
import risk_worlds as worlds

import divergence as dv
from divergence.joint.predict import levels
from divergence.risk.build import risk_model
from divergence.risk.summaries import summarise


@pytest.fixture(scope="module")
def world():
    """A log, its true risks, and its posterior."""
    log, truth = worlds.make(5, models=3, contexts=3, tasks=4, items=50)
    read = dv.read(log)
    return read, truth, dv.fit(dv.collapse(read), seed=0)


@pytest.fixture(scope="module")
def model(world):
    """Its risk model, calibrated and checked."""
    return risk_model(world[2], world[0], seed=0)


def test_without_strata_the_risk_is_one_minus_the_level(waves_posterior):
    """The posterior's own levels: mean by quadrature within the Monte Carlo error of the draws, limits exactly."""
    got = summarise(waves_posterior)
    deployed = levels(waves_posterior.fits[0], "deployment")
    for c, name in enumerate(deployed.contexts):
        place = got.levels["context"].index(name)
        p = 1 - deployed.draws[:, :, c]
        error = p.std(0) / np.sqrt(len(p))
        np.testing.assert_allclose(got.risk[:-1, place, 0], p.mean(0), atol=(4 * error).max() + 1e-3)
        np.testing.assert_allclose(got.lower[:-1, place, 0], np.quantile(p, 0.05, axis=0), rtol=1e-3)
        np.testing.assert_allclose(got.upper[:-1, place, 0], np.quantile(p, 0.95, axis=0), rtol=1e-3)


def test_risks_of_strata_hold_the_truth(world):
    """24 true risks, 90 % intervals: fewer than 18 inside has probability .007 if they were independent; they share items,
    which makes it likelier. The seed is fixed."""
    _, truth, posterior = world
    got = summarise(posterior)
    deployed = np.s_[:3, 1:3, :4]
    inside = (truth[:, 1:] >= got.lower[deployed]) & (truth[:, 1:] <= got.upper[deployed])
    assert inside.mean() >= 0.75
    assert np.abs(got.risk[deployed] - truth[:, 1:]).mean() < np.abs(got.risk[deployed].mean() - truth[:, 1:]).mean() / 2


def test_what_was_never_seen_is_wider_and_not_known(model):
    def one(*labels):
        return model.score(worlds.batch_of([("e", *labels)])).to_pylist()[0]

    def width(row):
        return row["upper"] - row["lower"]

    known = one("m0", "c1", "t0")
    assert known["known"] and known["excess"] is not None and "new" not in known["reason"]
    for labels, what in (
        (("x", "c1", "t0"), "new model"),
        (("m0", "x", "t0"), "new context"),
        (("m0", "c1", "x"), "new stratum"),
    ):
        new = one(*labels)
        assert not new["known"] and what in new["reason"] and width(new) > width(known)
        assert new["lower"] > 0.02 or new["upper"] < 0.98 or width(new) > 0.5  # never a confident number
    everything = one("x", "x", "x")
    assert everything["novelty"] == 1 and width(everything) > 0.4
    assert one("x", "c1", "t0")["excess"] is None  # nothing was promised for a model that has no bench
    assert not one("m0", "c0", "t0")["known"]  # the bench's context in deployment was never seen


def test_a_model_that_nobody_has_seen_where_some_traffic_has_other_items():
    """Three models whose ease with chats says nothing of the bench: a fourth one is as uncertain there as they differ,
    and where the bench is replayed no more uncertain for it."""
    random = np.random.default_rng(3)
    rows = []
    for m, (rate, chat) in enumerate(((0.6, 0.3), (0.5, 0.9), (0.4, 0.6))):
        right = random.permutation(80) < 80 * rate
        moved = right & (random.random(80) > 0.1)
        talked = random.permutation(80) < 80 * chat
        for context, name, scores in (("bench", "i", right), ("replay", "i", moved), ("chat", "t", talked)):
            regime = "evaluation" if context == "bench" else "deployment"
            rows += [(regime, f"m{m}", context, f"{name}{k}", float(s)) for k, s in enumerate(scores)]
    log = pl.DataFrame(rows, schema=["regime", "model", "context", "item", "score"], orient="row")
    table = summarise(dv.fit(dv.collapse(dv.read(log)), seed=0))
    width = dict(zip(table.levels["context"], (table.upper - table.lower)[-1, :, 0], strict=False))
    known = dict(zip(table.levels["context"], np.ptp(table.risk[:-1, :, 0], axis=0), strict=False))
    assert known["chat"] == pytest.approx(0.6, abs=0.05)
    assert width["chat"] > max(known["chat"], width["replay"])
