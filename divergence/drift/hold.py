"""Never a silent alarm: is the statistic behind it a series of independent chunks?

The reference alone may be too short to show that neighbouring chunks depend on each other. At an alarm the chunks of
reference and stream are looked at together: what is left of a statistic after a clear trend, and a step and a slope since the
supposed change, must not correlate from chunk to chunk by more than `HELD`. One that does is held: its evidence does not count, and that is
said. Unit: lag-1 correlation.
"""

from __future__ import annotations

import numpy as np

from divergence.drift.chunking import HELD, neighbour_correlation
from divergence.drift.trend import detrended

SHARE = 0.95
"""Share of a family's evidence whose statistics are looked at."""


def carriers(contribution: np.ndarray) -> np.ndarray:
    """The fewest statistics that carry `SHARE` of the evidence: their numbers."""
    order = np.argsort(-contribution, kind="stable")
    number = int(np.searchsorted(np.cumsum(contribution[order]), SHARE * contribution.sum())) + 1
    return order[:number]


def dependent_series(series: np.ndarray, change: int) -> np.ndarray:
    """Which columns are too dependent; series (chunks, k), `change`: the place of the first chunk after the change."""
    chunks = len(series)
    since = np.maximum(np.arange(chunks) - change, 0.0)
    after = (np.arange(chunks) >= change).astype(float)
    design = np.column_stack([np.ones(chunks), after, since]) if chunks - change >= 4 else np.column_stack([np.ones(chunks), after])
    flat = detrended(series)
    filled = np.where(np.isfinite(flat), flat, 0.0) + np.where(np.isfinite(flat), 0.0, np.nanmean(flat, axis=0))
    residual = filled - design @ np.linalg.lstsq(design, filled, rcond=None)[0]
    residual = np.where(np.isfinite(series), residual, np.nan)
    return np.nan_to_num(neighbour_correlation(residual), nan=0.0) > HELD
