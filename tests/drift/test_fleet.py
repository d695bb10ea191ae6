"""Ten thousand streams at once: the evidence of one, side by side."""

import numpy as np
import pytest

from divergence.drift.many import fleet
from divergence.errors import InputError

KNOWN, ROWS, CHUNKS = 1000, 50, 40


def streams(count: int, broken: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((count, KNOWN + CHUNKS * ROWS, 3))
    x[..., 1] += 0.8 * x[..., 0]
    x[:broken, KNOWN + 1000 :, 1] = 1.28 * rng.standard_normal((broken, 1000))
    return x


def test_broken_couplings_are_found_and_others_are_not():
    found = fleet(streams(400, 20, 1), KNOWN, ROWS)
    assert found.chunks == CHUNKS
    assert (found.alarm[:20, 1] > 20).all() and (found.alarm[:20, 0] == 0).all()
    assert (found.alarm[20:] > 0).mean(0).max() <= 0.05  # the promise; 3 standard errors of 380 streams are .034
    named = found.named[:, 1]
    assert named[:20].all() and named[20:].sum() <= 3  # e-BH: .05 of 20 expected, P(more than 3) < .02


def test_blocks_do_not_matter(monkeypatch):
    x = streams(30, 5, 2)
    whole = fleet(x, KNOWN, ROWS)
    monkeypatch.setattr("divergence.drift.many.BLOCK", 4 * x[0].size)
    parts = fleet(x, KNOWN, ROWS)
    assert np.array_equal(whole.alarm, parts.alarm) and np.allclose(whole.log_evidence, parts.log_evidence)


def test_sentences():
    with pytest.raises(InputError, match="at least 10 are needed"):
        fleet(streams(2, 0, 3), 400, ROWS)
    with pytest.raises(InputError, match="finite numbers of shape"):
        fleet(np.full((2, 3000, 2), np.nan), KNOWN, ROWS)
