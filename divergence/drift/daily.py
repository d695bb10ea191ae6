"""Time of day: a stream is compared with the reference at the same hours.

Where the reference spans at least two days, its chunks fall into equal parts of the day, as many (24, 12, 8, 6, 4) as leave
four reference chunks in each; a chunk is then centred by the reference's mean of its own part. The noise of that mean is
allowed for: reference residuals are scaled by sqrt(n/(n-1)), those of the stream by sqrt(n/(n+1)). Else nothing is matched,
which is said. Unit: parts of a day (UTC).
"""

from __future__ import annotations

import dataclasses

import numpy as np

DAY = 86_400_000_000
"""Microseconds of a day."""
_PARTS = (24, 12, 8, 6, 4)
_FEWEST = 4  # reference chunks in each part: fewer do not give a mean


@dataclasses.dataclass(frozen=True)
class Daily:
    """Centres of the parts of the day."""

    parts: int
    """Parts of the day; 1: nothing is matched."""
    centre: np.ndarray
    """Mean of the reference chunks of each part less the overall median, shape (parts, p)."""
    count: np.ndarray
    """Reference chunks with the statistic in each part, shape (parts, p)."""
    sentence: str
    """What was done, for a reader."""

    def part(self, middle: np.ndarray) -> np.ndarray:
        """The part of the day of an instant (microseconds)."""
        return (np.asarray(middle) % DAY) * self.parts // DAY

    def residual(self, values: np.ndarray, middle: np.ndarray, inside: bool = False) -> np.ndarray:
        """Chunk statistics less the centre of their part, on one scale; `inside`: the chunks are the reference's own."""
        if self.parts == 1:
            return values
        part = self.part(middle)
        n = np.maximum(self.count[part], 1.0)
        scale = np.sqrt(n / np.maximum(n - 1, 0.5)) if inside else np.sqrt(n / (n + 1))
        return (values - self.centre[part]) * scale


def daily(values: np.ndarray, middle: np.ndarray) -> Daily:
    """The matching that the reference allows; values (chunks, p), the middle of each chunk in microseconds."""
    p = values.shape[1]
    nothing = np.zeros((1, p)), np.zeros((1, p))
    days = (middle[-1] - middle[0]) / DAY
    if days < 2:
        return Daily(
            1,
            *nothing,
            f"the reference spans {days:.2g} days, so the time of day is not matched: a daily cycle in the "
            "stream would look like drift",
        )
    for parts in _PARTS:
        part = (middle % DAY) * parts // DAY
        if np.bincount(part, minlength=parts).min() >= _FEWEST:
            inside = part == np.arange(parts)[:, None]
            seen = np.isfinite(values)
            count = inside.astype(float) @ seen
            sums = inside.astype(float) @ np.where(seen, values, 0.0)
            centre = np.where(count > 0, sums / np.maximum(count, 1), 0.0)
            return Daily(
                parts, centre, count, f"compared with the reference at the same {24 // parts} hours of the day (UTC)"
            )
    return Daily(1, *nothing, "the reference has too few chunks in each part of the day, so the time of day is not matched")
