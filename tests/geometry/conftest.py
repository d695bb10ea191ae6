"""What the tests of geometry share: the reference table, worlds of sessions, and the proofs that run on request."""

import geometry_values
import moved_places
import numpy as np
import pytest


@pytest.fixture(scope="session")
def reference():
    """The module of reference values."""
    return geometry_values


@pytest.fixture(scope="session")
def places():
    """The module of logs with known movement."""
    return moved_places


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
