"""How a risk model is built, and when it is not."""

import polars as pl
import pytest
import risk_worlds as worlds

import divergence as dv
from divergence.errors import NotIdentifiedError
from divergence.risk.build import risk_model

LOG = ("regime", "model", "context", "task", "item", "score")


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


def test_no_deployment_and_no_failures_are_refused(world):
    log, _, _ = world
    bench = dv.read(log.valid.filter(pl.col("regime") == "evaluation").select(LOG))
    with pytest.raises(NotIdentifiedError, match="no judged deployment rows"):
        risk_model(dv.fit(dv.collapse(bench), seed=0))


def test_a_small_log_says_that_calibration_was_not_checked(world):
    log, _, posterior = world
    few = dv.read(log.valid.filter(pl.col("item").str.ends_with("1")).select(LOG))
    found = risk_model(posterior, few)
    assert found.calibrator.name == "none" and "calibration was not checked" in found.check["sentence"]
    assert "no log was given" in risk_model(posterior).check["sentence"]
