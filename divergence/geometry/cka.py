"""How alike are two sets of vectors for the same items, whatever their axes?

Linear centred kernel alignment with the bias of small n removed. With S = sums about the means, a_i = |x_i - mean|^2
and b_i = |y_i - mean|^2,

    HSIC_u(X, Y) = ( |S_xy|_F^2 - sum ab + sum a sum b / ((n-1)(n-2)) - 2 / (n-2) sum ab ) / (n (n-3))
    CKA_u        = HSIC_u(X, Y) / sqrt(HSIC_u(X, X) HSIC_u(Y, Y))

1 = the same up to rotation and scale, 0 = unrelated; 0 in the mean for unrelated rows at any n and d, and then often a
little below it. The `biased` row is |S_xy|^2 / (|S_xx| |S_yy|), which other libraries call CKA: it goes to 1 as d grows
past n, whatever the data. Changes of axes, rotation and scale are not seen: for one embedder in both regimes ask
`displacement` first. Identified from 4 items with some spread on both sides. Unit: ratio.
Source: Song et al. 2012 for HSIC_u; Kornblith et al. 2019; Murphy, Zylberberg and Fyshe 2024 for why to debias.
"""

from __future__ import annotations

import numpy as np

from divergence.estimate import NOT_GIVEN, Estimate
from divergence.geometry.answer import Row, answer, counts_of, refuse
from divergence.geometry.embedder import noted
from divergence.geometry.moments import Moments
from divergence.geometry.sums import Sums
from divergence.geometry.uncertainty import jackknife, too_few_sessions

Number = float | np.ndarray
"""A number, or an array without dimensions."""

QUESTION, TEXT = "cka", "similarity of two representations of the same items (debiased linear CKA)"
ROWS = [Row(None, "ratio", False), Row("biased", "ratio", False)]
FLAT = 1e-20  # equal rows leave 1e-31 of their squared length as variance, float32 rows that differ at least 1e-15


def cka(pairs: Moments, *, floor: Moments | None = None) -> Estimate:
    """Debiased CKA (headline) and the biased one, of a state made by `paired_moments`.

    `floor`: the state of evaluation run against evaluation rerun, whose CKA is the noise floor (none where that
    state has too few items or sessions itself).
    """
    reason = reason_against(pairs, 5)
    if reason is not None:
        return refuse(QUESTION, TEXT, ROWS, reason, counts=counts_of(pairs), rejected=pairs.rejected)
    noise_floor = NOT_GIVEN if floor is None or reason_against(floor, 4) else both(floor.sums.pooled())
    return answer(
        QUESTION,
        TEXT,
        ROWS,
        jackknife(pairs, both),
        counts=counts_of(pairs),
        rejected=pairs.rejected,
        noise_floor=noise_floor,
        note=noted(*dict.fromkeys((pairs.embedder, pairs.embedder_y))),
    )


def both(sums: Sums) -> np.ndarray:
    """(debiased, biased) CKA of one group of rows; NaN where it is not defined."""
    s = sums.centred()
    xy, xx, yy = (s.xy**2).sum(), (s.xx**2).sum(), (s.yy**2).sum()
    a, b = s.trace_x(), s.trace_y()
    cross, left, right = hsic(xy, s.ab, a, b, s.n), hsic(xx, s.aa, a, a, s.n), hsic(yy, s.bb, b, b, s.n)
    debiased = cross / np.sqrt(left * right) if left > 0 and right > 0 else np.nan
    biased = xy / np.sqrt(xx * yy) if xx > 0 and yy > 0 else np.nan
    return np.array([debiased, biased])


def hsic(squares: Number, ab: Number, a: Number, b: Number, n: Number) -> Number:
    """Unbiased HSIC of linear kernels from |S_xy|^2, sum ab, sum a, sum b and n; NaN below 4 rows."""
    if n < 4:
        return np.nan
    return (squares - ab + a * b / ((n - 1) * (n - 2)) - 2 / (n - 2) * ab) / (n * (n - 3))


def reason_against(pairs: Moments, fewest: int) -> str | None:
    """Why a paired state gives no CKA with an interval, or None."""
    if pairs.dimensions[1] == 0:
        return "a state of one sample: make it with paired_moments, from both sides of the same items"
    if pairs.n < fewest:
        return f"{pairs.n} items: debiasing needs 4, and a jackknife one more"
    centred = pairs.sums.pooled().centred()
    for name, spread, shift in (("x", centred.trace_x(), pairs.shift_x), ("y", centred.trace_y(), pairs.shift_y)):
        if spread <= FLAT * pairs.n * (shift @ shift) or spread == 0:
            return f"all rows of {name} are the same: there is no geometry to compare"
    return too_few_sessions(pairs)
