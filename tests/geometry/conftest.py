"""What the tests of geometry share: the reference table, worlds of sessions, and the proofs that run on request."""

import importlib.util
import pathlib

import numpy as np
import pytest


def pytest_collection_modifyitems(config, items):
    """Proofs run with `-m prove` only: they take minutes."""
    if "prove" in (config.option.markexpr or ""):
        return
    for item in items:
        if item.get_closest_marker("prove") and "geometry" in item.path.parts:
            item.add_marker(pytest.mark.skip(reason="a slow proof: pytest -m prove tests/geometry"))


def beside(name):
    """A module found beside this file whatever the import mode."""
    spec = importlib.util.spec_from_file_location(name, pathlib.Path(__file__).with_name(f"{name}.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def reference():
    """The module of reference values."""
    return beside("reference")


@pytest.fixture(scope="session")
def places():
    """The module of logs with known movement."""
    return beside("places")


@pytest.fixture(scope="session")
def values(reference):
    """Name to reference value."""
    return {name: value for name, (value, _) in reference.VALUES.items()}


@pytest.fixture(scope="session")
def xy(reference):
    """The two arrays of the reference values."""
    return reference.arrays()


def sessions_world(generator, sessions, rows, d, correlation):
    """(rows of correlated sessions, labels): within a session rows correlate by `correlation`, variance 1."""
    effect = np.repeat(generator.standard_normal((sessions, d)), rows, axis=0)
    noise = generator.standard_normal((sessions * rows, d))
    return correlation**0.5 * effect + (1 - correlation) ** 0.5 * noise, np.repeat(np.arange(sessions), rows)


@pytest.fixture(scope="session")
def session_rows():
    """The function that draws rows in sessions."""
    return sessions_world
