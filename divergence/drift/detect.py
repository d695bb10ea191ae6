"""From a whole stream to a verdict: which rows are the reference, and the monitor run over the rest."""

from __future__ import annotations

import dataclasses
import datetime as dt
import time as clock
from typing import Any

import polars as pl

from divergence.calling import sentences
from divergence.drift.monitor import ALPHA, MARGIN, Monitor, monitor
from divergence.drift.rows import instants
from divergence.drift.verdict import Verdict
from divergence.errors import InputError

HORIZON_LOG = "log"
"""The horizon that is the log's own length."""
WHOLE = 100_000_000
"""Bytes of chunk statistics that are kept of a stream that is looked at as a whole: 512 chunks of 50,000 statistics."""


@dataclasses.dataclass(frozen=True)
class Detection:
    """A stream that was looked at."""

    monitor: Monitor
    """The monitor after the last row."""
    verdict: Verdict
    """What it says."""
    reference: pl.DataFrame
    """The reference rows, in order of time."""
    stream: pl.DataFrame
    """The rows of the stream, in order of time."""


def split(frame: pl.DataFrame, reference: str) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Reference rows and the rows after them, in order of time; `reference` is `0.4` or `START/END`."""
    instants(frame)  # refuses rows without times, with a sentence
    frame = frame.sort("time", maintain_order=True)
    start, slash, end = reference.partition("/")
    if slash:
        first, last = _instant(start, reference), _instant(end, reference)
        if first >= last:
            raise InputError(f"--reference {reference}: its start is not before its end.")
        return frame.filter(pl.col("time").is_between(first, last)), frame.filter(pl.col("time") > last)
    try:
        fraction = float(reference)
    except ValueError:
        raise InputError(_forms(reference)) from None
    if not 0 < fraction < 1:
        raise InputError(_forms(reference))
    rows = int(fraction * len(frame))
    return frame[:rows], frame[rows:]


def _forms(reference: str) -> str:
    return (
        f"--reference {reference!r} is neither a fraction of the rows between 0 and 1, for example 0.4, nor START/END in "
        "ISO 8601, for example 2026-11-25T02:30:00Z/2026-11-25T02:36:00Z."
    )


def _instant(text: str, reference: str) -> dt.datetime:
    try:
        moment = dt.datetime.fromisoformat(text.strip())
    except ValueError:
        raise InputError(_forms(reference)) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)


@sentences
def detect(
    frame: pl.DataFrame,
    reference: str = "0.4",
    *,
    horizon: int | str | None = HORIZON_LOG,
    alpha: float = ALPHA,
    margin: float = MARGIN,
    signals: tuple[str, ...] | None = None,
    chunk_rows: int | None = None,
    now: int | None = None,
) -> Detection:
    """Has the regime changed? Learn from the reference rows of a stream and look at the rest.

    `frame`: rows with `time` and signals (numbers or labels). `reference`: a fraction of the rows as a text (`"0.4"`), or
    START/END in ISO 8601. `alpha` (0..1): bound on the chance of ever a false alarm. `margin`: change of an edge that
    matters, on its own scale. `signals`: the columns followed (default: all). `chunk_rows`: rows of a chunk (default: from
    the autocorrelation). `now`: chunks already looked at. `horizon`: planned chunks; `log`: as many as the rest has (at
    least one); None: endless.

    Returns a `Detection`: its `verdict` is `none`, `surface`, `structural` or `both`, with since when and in which pairs.
    Raises InputError, with a sentence, for a stream or a reference that does not allow it.

    >>> from divergence.simulate import stream
    >>> detect(stream("route_mix", seed=0), "0.3333").verdict.verdict
    'surface'
    """
    before, after = split(frame, reference)
    if not len(before):
        raise InputError(f"--reference {reference} holds none of the {len(frame)} rows, which lie between {_ends(frame)}.")
    asked: dict[str, Any] = {"alpha": alpha, "margin": margin, "signals": signals, "chunk_rows": chunk_rows}
    now = now or clock.time_ns() // 1000
    made = monitor(before, horizon=None if horizon == HORIZON_LOG else int(horizon) if horizon else None, now=now, **asked)
    if horizon == HORIZON_LOG:
        made = Monitor(
            made.reference, dataclasses.replace(made.asked, horizon=max(len(after) // made.length, 1)), made.known
        )
    made.history.room = WHOLE
    return Detection(made, made.update(after, now=now), before, after)


def _ends(frame: pl.DataFrame) -> str:
    return f"{frame['time'].min()} and {frame['time'].max()}" if len(frame) else "no time at all"
