"""How many rows make a chunk, and whether neighbouring chunks are independent enough.

The evidence treats chunk statistics as exchangeable: measured, it holds its promise up to a correlation of .2 between
neighbouring chunks and breaks at .4 (20 % false alarms at a nominal 5 %). So a chunk is at least five autocorrelation times
of every signal long, and it is doubled until the statistics of neighbouring reference chunks pass, or the reference is
refused. Integrated autocorrelation time: tau = 1 + 2 sum rho(h), summed while h < 5 tau (Sokal's window). Unit: rows.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy.special import ndtri

from divergence.errors import InputError

FEWEST_CHUNKS = 10
"""Reference chunks below which a median and a spread between chunks are guesses."""
WANTED_CHUNKS = 20
"""Reference chunks that are aimed at: the validity and power of the note were measured with 20."""
FEWEST_ROWS, MOST_ROWS = 100, 5000
"""Rows of a chunk: with less than 100 a rank correlation is noise; more than 5,000 only delay the alarm."""
SHORT_ROWS = 50
"""Rows of a chunk where the reference is too short for more, which is said."""
TIMES_LONGER = 5.0
"""Autocorrelation times that a chunk has to be long: correlation of neighbouring means is then below .12."""
NEIGHBOURS_MAX = 0.2
"""Correlation of neighbouring chunks up to which the promise was measured to hold."""
HELD = 0.3
"""The same, from reference and stream together, above which an alarm is held: between .2 (holds) and .4 (broken)."""
_SURE = 2.0  # standard errors: about ten kinds are looked at, and a refusal must not come by chance
_FALSE_EXCLUSION = 0.01  # chance that one of all statistics is set aside although its chunks are independent


@dataclasses.dataclass(frozen=True)
class Chunking:
    """The chosen length, and why."""

    rows: int
    """Rows of a chunk."""
    autocorrelation_time: float
    """Longest autocorrelation time of a signal, in rows."""
    neighbours: float
    """Mean correlation of neighbouring reference chunks, of the kind of statistic where it is largest."""
    sentence: str
    """What was chosen and why, for a reader."""


def autocorrelation_time(values: np.ndarray) -> float:
    """Integrated autocorrelation time of one series, in rows; white noise has 1, AR(.8) has 9. NaN counts as the mean."""
    largest = np.max(np.abs(values), initial=0.0, where=np.isfinite(values))
    values = values / largest if largest > 0 else values  # its unit changes nothing, and squares stay numbers
    centred = np.where(np.isnan(values), 0.0, values - np.nanmean(values)) if np.isfinite(values).any() else values * 0
    n = len(centred)
    size = 1 << (2 * n - 1).bit_length()
    power = np.abs(np.fft.rfft(centred, size)) ** 2
    covariance = np.fft.irfft(power, size)[: n // 2]
    if n < 4 or covariance[0] <= 1e-12 * n:
        return 1.0
    tau = 2 * np.cumsum(covariance / covariance[0]) - 1
    window = np.flatnonzero(np.arange(len(tau)) >= TIMES_LONGER * tau)
    return float(max(tau[window[0]] if len(window) else tau[-1], 1.0))


def first_length(rows: int, numeric: np.ndarray, chunk_rows: int | None) -> tuple[int, float]:
    """A first chunk length from the number of reference rows and their autocorrelation, and the longest time of a signal.

    Raises InputError where the reference cannot hold `FEWEST_CHUNKS` of them.
    """
    some = numeric[:200_000]  # enough for an autocorrelation time, and half a second less of a million rows
    tau = max((autocorrelation_time(column) for column in some.T), default=1.0)
    if chunk_rows is None:
        length = int(np.clip(rows // WANTED_CHUNKS, FEWEST_ROWS, MOST_ROWS))
        length = max(length, int(np.ceil(TIMES_LONGER * tau)))
        if rows // length < FEWEST_CHUNKS and TIMES_LONGER * tau <= rows // FEWEST_CHUNKS:
            length = max(rows // FEWEST_CHUNKS, SHORT_ROWS)
    else:
        length = chunk_rows
    if rows // length < FEWEST_CHUNKS:
        raise InputError(
            f"The reference has {rows} rows, which is {rows // length} chunks of {length} rows, and at least "
            f"{FEWEST_CHUNKS} are needed (its slowest signal keeps an autocorrelation for {tau:.0f} rows): "
            "take a longer --reference" + ("." if chunk_rows is None else ", or a smaller --chunk-rows.")
        )
    return length, tau


def neighbour_correlation(values: np.ndarray) -> np.ndarray:
    """Lag-1 correlation of each column, corrected for its bias of -1/n, shape (p,); NaN for one without spread."""
    n = np.isfinite(values).sum(0)
    centred = values - np.nanmean(np.where(n > 0, values, 0.0), axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        r = np.nansum(centred[:-1] * centred[1:], axis=0) / np.nansum(centred**2, axis=0)
        return np.where(n >= 4, r + 1 / n, np.nan)


def dependent(values: np.ndarray, kinds: np.ndarray) -> tuple[float, str, np.ndarray]:
    """The largest mean neighbour correlation of a kind, less its own standard errors, that kind, and which single statistics
    are too dependent to be followed, shape (p,)."""
    r, chunks = neighbour_correlation(values), len(values)
    worst, where = -1.0, ""
    for kind in np.unique(kinds):
        usable = (kinds == kind) & np.isfinite(r)
        if usable.any():
            error = 1 / np.sqrt(chunks * _independent(values[:, usable]))
            bound = float(np.mean(r[usable]) - _SURE * error)
            worst, where = (bound, str(kind)) if bound > worst else (worst, where)
    limit = NEIGHBOURS_MAX - ndtri(_FALSE_EXCLUSION / max(len(r), 1)) / np.sqrt(chunks)
    return worst, where, np.nan_to_num(r, nan=0.0) > limit


def _independent(values: np.ndarray) -> float:
    """How many independent series are as informative as these: (sum of eigenvalues)^2 / sum of their squares."""
    filled = np.where(np.isfinite(values), values, 0.0)
    filled = (filled - filled.mean(0)) / np.maximum(filled.std(0), 1e-12)
    gram = filled @ filled.T  # chunks x chunks: small whatever the number of statistics
    return max(float(np.trace(gram) ** 2 / np.square(gram).sum()), 1.0)
