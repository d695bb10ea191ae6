"""What several test folders share."""
# ruff: noqa: E402 - the environment comes before the libraries

# One thread for matrix products, said before a library is loaded: numbers and times then do not depend on the machine.
import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import pathlib
from collections.abc import Callable

import polars as pl
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


@pytest.fixture
def rows() -> Callable[..., pl.DataFrame]:
    """`rows(column=values, ...)`: two models x two items x an evaluation and two deployment contexts x two trials."""

    def make(without: tuple[str, ...] = (), **columns: object) -> pl.DataFrame:
        arms = [("evaluation", "bench"), ("deployment", "vllm"), ("deployment", "sglang")]
        records = [
            {
                "regime": regime,
                "model": model,
                "item": item,
                "trial": trial,
                "engine": engine,
                "score": float((place + trial) % 2),
            }
            for place, (regime, engine) in enumerate(arms)
            for model in ("small", "large")
            for item in ("a", "b")
            for trial in (0, 1)
        ]
        frame = pl.DataFrame(records).drop(without)
        return frame.with_columns(
            pl.Series(name, value) if isinstance(value, list) else pl.lit(value).alias(name)
            for name, value in columns.items()
        )

    return make
