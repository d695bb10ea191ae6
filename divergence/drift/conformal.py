"""The cross-check: a conformal rank martingale, exact for exchangeable chunks of any law.

The p-value of a chunk is the rank of its distance from the median among all chunks so far (ties shared); a simple jumper
(Vovk) bets on p-values that are too small or too large: with b in {-1, 0, 1}, E_b(t) = E_b(t-1) (1 + 2b (p - 1/2)), and a
share of the capital jumps between the bets at every step. Slower than the t e-values, and free of their law.
Source: Vovk, Gammerman, Shafer, Algorithmic Learning in a Random World, 2nd ed. (2022), chapter 8.
"""

from __future__ import annotations

import numpy as np

JUMP = 0.01
"""Share of the capital that changes its bet at every step (the value of the source)."""
_STRENGTH = 2.0  # the largest bet that cannot go bankrupt: 1 + b (p - 1/2) >= 0


def conformal(reference: np.ndarray, stream: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Martingale after each chunk of the stream, weighted mean over the statistics, shape (T,); arguments (chunks, p).

    The bets are on one side each (too high, too low) and two-sided by their mean.
    """
    p = reference.shape[1]
    capital = np.full((3, p), 1 / 3)
    bets = _STRENGTH * np.array([-1.0, 0.0, 1.0])[:, None]
    seen, out = reference, np.zeros(len(stream))
    for step, value in enumerate(stream):
        seen = np.vstack([seen, value])
        known = np.isfinite(seen)
        rank = ((seen < value) & known).sum(0) + 0.5 * ((seen == value) & known).sum(0)
        share = np.where(np.isfinite(value), rank / np.maximum(known.sum(0), 1), 0.5)
        capital = capital * (1 + bets * (share - 0.5))
        capital = (1 - JUMP) * capital + JUMP * capital.sum(0) / 3
        out[step] = float((weight * capital.sum(0)).sum())
    return out
