"""The folders of real logs, and pairs of runs of known flips."""

import pathlib

import polars as pl
import pytest
from compare_runs import flipped, run

ROOT = pathlib.Path(__file__).parents[2]
LOGS = ROOT.parent / "shared" / "logs"


@pytest.fixture(scope="session")
def logs():
    """The folder of other tools' logs, or a skip."""
    if not LOGS.is_dir():
        pytest.skip("the logs of ../shared/logs are not on this machine")
    return LOGS


@pytest.fixture(scope="session")
def lab():
    """The embedded serving lab as a frame."""
    return pl.read_parquet(ROOT / "datasets" / "serving-lab" / "data.parquet")


@pytest.fixture
def pair():
    """A function that makes two frames of known flips."""

    def made(n, down, up, right=None):
        return tuple(run(scores) for scores in flipped(n, down, up, right))

    return made
