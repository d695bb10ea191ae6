"""In how many directions does behaviour vary?

    PR = (tr C)^2 / tr C^2        1: along one line; d: the same in all d directions

of the covariance C. The plain ratio cannot exceed n - 1 and is far too low when n is not well above PR; the headline
divides by an unbiased estimate of tr C^2 (HSIC_u of the rows with themselves, see `cka`), so n may be below d. The
`plain` row is what other libraries report. Identified from 5 rows that differ. Unit: dimensions.
"""

from __future__ import annotations

import numpy as np

from divergence.errors import InputError
from divergence.estimate import Estimate
from divergence.geometry.answer import Row, answer, counts_of, refuse
from divergence.geometry.cka import hsic
from divergence.geometry.embedder import noted
from divergence.geometry.moments import Moments
from divergence.geometry.sums import Sums
from divergence.geometry.two_samples import reason_against
from divergence.geometry.uncertainty import jackknife

QUESTION, TEXT = "participation_ratio", "number of directions in which embeddings vary"
ROWS = [Row(None, "dimensions", False), Row("plain", "dimensions", False)]


def participation_ratio(state: Moments) -> Estimate:
    """Participation ratio of one sample, a state made by `moments`. Raises InputError for a paired state."""
    if state.dimensions[1]:
        raise InputError("a paired state holds two samples: take state.side('x') or state.side('y')")
    reason = reason_against(state)
    if reason is not None:
        return refuse(QUESTION, TEXT, ROWS, reason, counts=counts_of(state), rejected=state.rejected)
    return answer(
        QUESTION,
        TEXT,
        ROWS,
        jackknife(state, ratios),
        counts=counts_of(state),
        rejected=state.rejected,
        note=noted(state.embedder),
    )


def ratios(sums: Sums) -> np.ndarray:
    """(debiased, plain) participation ratio; NaN where no variance is left."""
    s = sums.centred()
    squares, spread = (s.xx**2).sum(), s.trace_x()
    unbiased = hsic(squares, s.aa, spread, spread, s.n)
    debiased = (spread / (s.n - 1)) ** 2 / unbiased if unbiased > 0 else np.nan
    return np.array([debiased, spread**2 / squares if squares > 0 else np.nan])
