"""One random stream a purpose, by name: no two draws share their randomness by accident, and a seed says all of it."""

from __future__ import annotations

import numpy as np

STREAMS = {
    "proposals": 1,
    "effects": 2,
    "items of flips": 3,
    "anova": 5,
    "repeated success": 6,
    "observed items": 7,
    "new contexts": 8,
    "replications": 9,
    "attempts": 10,
    "answers": 11,
    "parts of a gap": 12,
    "worlds": 13,
    "success in a row": 14,
    "risk summaries": 15,
    "episodes": 16,
    "horizons": 17,
    "failed spend": 18,
    "halves of items": 19,
    "noise of held-out items": 20,
    "pairs of models": 27,
    "task levels": 41,
    "agreement": 42,
    "noise of measurements": 61,
    "own items": 62,
    "prior draws": 63,
    "risk draws": 88,
    "carry over": 118,
    "forecast": 119,
    "convergence": 120,
    "blocks": 128,
    "calibration folds": 170,
    "calibration nulls": 171,
    "groups of clusters": 172,
    "items of likeness": 173,
    "turns of arms": 174,
    "loadings": 175,
    "thirds of items": 176,
}
"""Name -> its place in the seed sequence; a number is given once and never again."""


def stream(seed: int, name: str, *part: int) -> np.random.Generator:
    """The generator of a named purpose; `part` tells several of one purpose apart.

    >>> bool(stream(0, "effects").random() == stream(0, "effects").random())
    True
    """
    return np.random.default_rng(np.random.SeedSequence([seed, STREAMS[name], *part]))
