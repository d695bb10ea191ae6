"""A rate beside a change point: drift that compounds is a slope, not a jump.

Question: by how much does a statistic move in an hour, and is that a better account of the series than one jump? Least
squares over all chunks of reference and stream; the standard error is widened by (1 + r)/(1 - r) for the correlation r of
neighbouring residuals, which is what a slow series does to it. Shapes: `jump` (a level before and after), `slope` (a line
through all), `bend` (level, then a line); the one with the least Bayesian information criterion is named. Unit: per hour.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy.special import stdtrit

from divergence.drift.chunking import neighbour_correlation

HOUR = 3_600_000_000
"""Microseconds of an hour."""
CLEAR = 4.0
"""Standard errors (widened) from which a trend is no chance of one among hundreds of statistics."""


@dataclasses.dataclass(frozen=True)
class Rate:
    """How a series moves."""

    shape: str
    """jump, slope or bend."""
    per_hour: float
    """Slope (of a bend: since it began), on the scale that people read."""
    lower: float
    """Lower end of its interval."""
    upper: float
    """Upper end."""
    level: float
    """Confidence of the interval."""

    @property
    def sentence(self) -> str:
        """The rate in words."""
        return f"{self.per_hour:+.3g} an hour ({self.lower:+.3g} to {self.upper:+.3g})"


def _fit(design: np.ndarray, series: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    coefficient = np.linalg.lstsq(design, series, rcond=None)[0]
    residual = series - design @ coefficient
    return coefficient, residual, float(np.square(residual).sum())


def rate(series: np.ndarray, middle: np.ndarray, level: float = 0.95) -> Rate | None:
    """The rate of one series of chunks, whose jump or bend may lie anywhere. None below 8 known chunks."""
    known = np.isfinite(series)
    if known.sum() < 8:
        return None
    value, hour = series[known], (middle[known] - middle[0]) / HOUR
    place = np.arange(len(value), dtype=float)  # the shape is judged by order: over a long pause a jump looks like a line
    designs, knots = {"slope": np.column_stack([np.ones(len(value)), place])}, {}
    for shape, bent in (("jump", _step), ("bend", _ramp)):
        candidates = [np.column_stack([np.ones(len(value)), bent(place, knot)]) for knot in place[3:-3]]
        knots[shape] = int(np.argmin([_fit(design, value)[2] for design in candidates]))
        designs[shape] = candidates[knots[shape]]
    size = np.log(len(value))  # of the criterion: a jump and a bend have a place as a third number
    score = {
        shape: len(value) * np.log(max(_fit(design, value)[2], 1e-300)) + size * (shape != "slope")
        for shape, design in designs.items()
    }
    shape = min(score, key=score.__getitem__)
    moved = _ramp(hour, hour[3 + knots["bend"]]) if shape == "bend" else hour
    slope, error = _slope(np.column_stack([np.ones(len(value)), moved]), value)
    width = error * float(stdtrit(len(value) - 3, (1 + level) / 2))
    return Rate(shape, slope, slope - width, slope + width, level)


def _step(place: np.ndarray, knot: float) -> np.ndarray:
    return (place >= knot).astype(float)


def _ramp(place: np.ndarray, knot: float) -> np.ndarray:
    return np.maximum(place - knot, 0.0)


def _slope(design: np.ndarray, value: np.ndarray) -> tuple[float, float]:
    """The slope of a two-column design and its standard error, widened for neighbours that correlate."""
    coefficient, residual, squares = _fit(design, value)
    r = float(np.clip(np.nan_to_num(neighbour_correlation(residual[:, None])[0]), 0.0, 0.9))
    moment = np.square(design[:, 1] - design[:, 1].mean()).sum()
    return float(coefficient[1]), float(np.sqrt(squares / (len(value) - 2) / max(moment, 1e-300) * (1 + r) / (1 - r)))


def clear_trend(series: np.ndarray) -> np.ndarray:
    """Which columns have a trend over their chunks that widened errors do not explain; series (chunks, k)."""
    place = np.arange(len(series), dtype=float)
    out = np.zeros(series.shape[1], bool)
    for column in range(series.shape[1]):
        known = np.isfinite(series[:, column])
        if known.sum() >= 8:
            slope, error = _slope(np.column_stack([np.ones(known.sum()), place[known]]), series[known, column])
            out[column] = abs(slope) > CLEAR * error > 0
    return out


def detrended(series: np.ndarray) -> np.ndarray:
    """The series with clear trends removed: a trend is drift, not dependence of neighbouring chunks."""
    out, place = series.copy(), np.arange(len(series), dtype=float)
    for column in np.flatnonzero(clear_trend(series)):
        known = np.isfinite(series[:, column])
        design = np.column_stack([np.ones(known.sum()), place[known]])
        out[known, column] = _fit(design, series[known, column])[1]
    return out
