"""What several test folders share."""

import pathlib

import pytest

import divergence as dv
from divergence.simulate import simulate, world

SHARED = pathlib.Path(__file__).parents[2] / "shared"


@pytest.fixture(scope="session")
def public_data():
    """The folder of public data, or a skip."""
    folder = SHARED / "data"
    if not folder.is_dir():
        pytest.skip("the public data of ../shared/data is not on this machine")
    return folder


@pytest.fixture(scope="session")
def waves_world():
    """A small world with waves, and its truth."""
    return simulate(world("waves", n_models=4, n_contexts=4), 11)


@pytest.fixture(scope="session")
def waves_posterior(waves_world):
    """Its posterior."""
    return dv.fit(dv.collapse(dv.read(waves_world[0])), seed=0)
