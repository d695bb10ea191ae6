"""How far did two runs differ, where every item was answered once a side and is right or wrong? Tango's score interval.

Of n shared items `up` became right and `down` became wrong; the difference AFTER - BEFORE is (up - down) / n. The interval
holds every difference d that the score test does not refuse,

    |up - down - n d| <= z sqrt(n (2 q + d (1 - d))),

with q the likeliest share of `down` items given d. Unlike the estimate plus or minus a standard error it is never 0 wide:
with no flip among 220 items it reaches 1.7 points to each side at 95 %.

Identification: the items are a random sample of the source that the answer is about. Unit: fraction (-1..1).
Source: T. Tango, Statistics in Medicine 17 (1998) 891-908. Counts may be fractional, which `moves` and `items_needed` use.
"""

from __future__ import annotations

import numpy as np

HALVINGS = 45  # of a distance of at most 2: 6e-14


def statistic(down: np.ndarray, up: np.ndarray, n: np.ndarray, difference: np.ndarray) -> np.ndarray:
    """Tango's score statistic for a difference, positive where the estimate lies above it; down 0, up 4, n 50, d 0: 2."""
    linear = -up - down + (2 * n - up + down) * difference
    constant = -down * difference * (1 - difference)
    root = np.sqrt(np.maximum(linear**2 - 8 * n * constant, 0))
    q = np.maximum((root - linear) / (4 * n), np.maximum(0, -difference))
    variance = n * np.maximum(2 * q + difference * (1 - difference), 0)
    distance = up - down - n * difference
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(distance == 0, 0.0, distance / np.sqrt(variance))


def limits(down: np.ndarray, up: np.ndarray, n: np.ndarray, z: np.ndarray | float) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper limit at the normal quantile z, found by halving; down 0, up 0, n 220, z 1.96: -0.01716, 0.01716."""
    down, up, n = np.broadcast_arrays(*(np.asarray(count, float) for count in (down, up, n)))
    estimate = (up - down) / n
    ends = []
    for sign in (-1.0, 1.0):
        inside, outside = estimate, np.full_like(estimate, sign)
        whole = np.abs(statistic(down, up, n, outside)) <= z
        for _ in range(HALVINGS):
            middle = (inside + outside) / 2
            kept = np.abs(statistic(down, up, n, middle)) <= z
            inside, outside = np.where(kept, middle, inside), np.where(kept, outside, middle)
        ends.append(np.where(whole, sign, inside))
    return ends[0], ends[1]
