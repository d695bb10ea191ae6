"""Never a silent alarm: is the statistic behind it a series of independent chunks?

The reference alone may be too short to show that neighbouring chunks depend on each other. At an alarm the chunks of
reference and stream are looked at together: what is left of a statistic after a trend, or a step and a slope since the
supposed change, must not correlate from chunk to chunk by more than `chunking.HELD`. One that does is held: its evidence
does not count, and that is said. Below that its t is shrunk by what the correlation does to the variance of a mean. Unit:
lag-1 correlation.
"""

from __future__ import annotations

import numpy as np

from divergence.drift.chunking import neighbour_correlation
from divergence.drift.trend import detrended

_FEWEST_FOR_SLOPE = 6  # chunks since the change below which a slope would fit anything
_FEWEST_BEFORE = 12  # chunks before the change from which their own correlation is worth a look
SHARE = 0.95
"""Share of a family's evidence whose statistics are looked at."""


def carriers(contribution: np.ndarray) -> np.ndarray:
    """The fewest statistics that carry `SHARE` of the evidence: their numbers."""
    order = np.argsort(-contribution, kind="stable")
    number = int(np.searchsorted(np.cumsum(contribution[order]), SHARE * contribution.sum())) + 1
    return order[:number]


def neighbours(series: np.ndarray, change: int) -> np.ndarray:
    """Correlation of neighbouring chunks in each column, at least 0, corrected for what was fitted; series (chunks, k).

    `change`: the place of the first chunk after the supposed change.
    """
    chunks = len(series)
    place = np.arange(chunks, dtype=float)
    after, since = (place >= change).astype(float), np.maximum(place - change, 0.0)
    bent = [np.ones(chunks), after, since] if chunks - change >= _FEWEST_FOR_SLOPE else [np.ones(chunks), after]
    filled = np.where(np.isfinite(series), series, np.nanmean(series, axis=0))
    residuals = [_residual(np.column_stack(parts), filled) for parts in (bent, [np.ones(chunks), place, after])]
    better = np.square(residuals[1]).sum(0) < np.square(residuals[0]).sum(0)  # a trend through all, and a step
    residual = np.where(np.isfinite(series), np.where(better, residuals[1], residuals[0]), np.nan)
    r = np.nan_to_num(neighbour_correlation(residual), nan=0.0) + (len(bent) - 1) / chunks  # each fitted number takes 1/n
    if change >= _FEWEST_BEFORE:  # before the change little is fitted that a wandering series could hide behind
        r = np.maximum(r, np.nan_to_num(neighbour_correlation(detrended(series[:change])), nan=0.0))
    return np.clip(r, 0.0, 0.95)


def _residual(design: np.ndarray, values: np.ndarray) -> np.ndarray:
    return values - design @ np.linalg.lstsq(design, values, rcond=None)[0]
