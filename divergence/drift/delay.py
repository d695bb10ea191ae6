"""What a promise costs: chunks until the alarm for a change of a given size, without noise.

A planned run divides its evidence among the chunks at which a change may begin, an endless one does not and promises less.
The series is the ideal one: reference chunks at the quantiles of a standard normal law, then `before` chunks like it, then
chunks at `shift` spreads. Unit: chunks.
"""

from __future__ import annotations

import numpy as np
from scipy.special import ndtri

from divergence.drift.evidence import WINSOR, Evidence


def chunks_to_alarm(
    shift: float, horizon: int | None, alpha: float, statistics: int = 50, reference: int = 20, before: int = 10
) -> int:
    """Chunks from the change to the alarm when one of `statistics` of a family moves by `shift` spreads."""
    ideal = ndtri((np.arange(reference) + 0.5) / reference)
    evidence = Evidence.start(ideal[:, None], horizon)
    longest = horizon or 400
    for chunk in range(1, longest + 1):
        place = (chunk * 7) % reference  # the quantiles in an order without a trend
        evidence.add(np.array([ideal[place] if chunk <= before else min(shift, WINSOR)]))
        others = statistics - 1  # their evidence under the null is 1 a restart at most; counted as none
        if chunk > before and evidence.mixture[0] / (2 * (others + 1)) >= 1 / alpha:
            return chunk - before
    return longest - before
