"""Rows in order of time, each counted once: what is set aside, and the sentence for it."""

from __future__ import annotations

import dataclasses
import datetime as dt

import numpy as np

from divergence.drift.rows import Rows, concat
from divergence.shown import counted

FUTURE = 86_400_000_000
"""Microseconds by which a row may lie after the clock: a day, for clocks and zones that disagree."""
GAP = 50.0
"""Times the median spacing of rows beyond which a pause is called a gap."""
JUMP = 3_600_000_000
"""Microseconds by which neighbouring rows may be out of order before the order of the file is called a clock jump."""


def shown(instant: int | float) -> str:
    """An instant in microseconds as ISO 8601, to the second."""
    moment = dt.datetime.fromtimestamp(int(instant) // 1_000_000, dt.UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclasses.dataclass(frozen=True)
class Arranged:
    """Rows to go on with, and what was found."""

    rows: Rows
    """Pending and new rows in order of time, each once."""
    notes: tuple[str, ...]
    """A sentence for each thing that a reader should know."""
    skipped: int
    """Rows that were not counted."""


def arrange(rows: Rows, pending: Rows | None, counted_to: int | None, counted: np.ndarray, now: int) -> Arranged:
    """Merge new rows with those that wait for a full chunk.

    `counted_to` is the time of the last row of a finished chunk, `counted` the identities of the rows with just that time;
    `now` is the clock. Times in microseconds.
    """
    notes, given = [], len(rows)
    late = rows.time > now + FUTURE
    if late.any():
        notes.append(f"{_rows(late.sum())} after the clock ({shown(rows.time.max())}, now is {shown(now)}) set aside")
        rows = rows[~late]
    step = np.diff(rows.time)
    if (step < 0).any():
        jump = int(step.min())
        word = "a clock jumped back" if -jump > JUMP else "rows were out of order"
        notes.append(f"{word} at {int((step < 0).sum())} places (by up to {-jump / 1e6:.0f} s); they were sorted by time")
    if counted_to is not None and len(rows):
        known = (rows.time < counted_to) | ((rows.time == counted_to) & np.isin(rows.identity, counted))
        if known.any():
            notes.append(
                f"{_rows(known.sum())} up to {shown(counted_to)}, where all rows are counted, skipped: they were "
                "counted before or come too late"
            )
            rows = rows[~known]
    merged = rows if pending is None or not len(pending) else concat([pending, rows])
    order = np.lexsort((merged.identity, merged.time))
    if (np.diff(order) != 1).any():
        merged = merged[order]
    twice = np.zeros(len(merged), bool)
    twice[1:] = (np.diff(merged.time) == 0) & (merged.identity[1:] == merged.identity[:-1])
    if twice.any():
        notes.append(f"{_rows(twice.sum())} given twice counted once")
        merged = merged[~twice]
    notes += _gaps(merged.time)
    waiting = 0 if pending is None else len(pending)
    return Arranged(merged, tuple(notes), given + waiting - len(merged))


def _rows(number: int) -> str:
    return "1 row" if number == 1 else f"{number} rows"


def _gaps(time: np.ndarray) -> list[str]:
    step = np.diff(time)
    usual = float(np.median(step)) if len(step) >= 100 else 0.0
    long = step > GAP * usual if usual > 0 else np.zeros(0, bool)
    if not long.any():
        return []
    place = int(np.argmax(step))
    return [
        f"{counted(int(long.sum()), 'gap')} in time, the longest of {step[place] / 1e6:.0f} s after "
        f"{shown(time[place])}; a chunk may reach over a gap"
    ]
