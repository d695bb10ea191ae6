"""An endpoint with a known law."""

import pytest
from known_law import KnownLaw


@pytest.fixture
def law():
    """A running endpoint."""
    pytest.importorskip("aiohttp", reason="the probe's client needs aiohttp (extra `probe`)")
    server = KnownLaw()
    yield server
    server.close()
