"""When is the next request sent? Closed loops, Poisson arrivals, and the shape of a recorded trace.

In a closed loop every client waits for its answer, so a slow server is asked less: load adapts to the server. Traffic
does not wait. An open loop sends at times that were drawn before, whatever has come back; what the server cannot take
queues up, and that queue is what users of a loaded service see.

    closed    concurrency clients, each sends when it has its answer
    poisson   gaps ~ Exponential(rate_per_s)
    trace     the gaps of a recorded log, in its order from a random start, scaled so that their mean is 1 / rate_per_s

A trace lends its shape only (bursts, lulls); no row of it is sent or kept.
"""

from __future__ import annotations

import dataclasses
import math
import random
from pathlib import Path

import numpy as np

from divergence.errors import InputError

KINDS = ("closed", "poisson", "trace")
GAP_COLUMNS = ("inter_arrival_s", "time", "timestamp")
GAPS_MIN = 20  # fewer gaps are no shape


@dataclasses.dataclass(frozen=True)
class Arrivals:
    """The law of the sending times in one context."""

    kind: str = "closed"
    """One of `KINDS`."""
    rate_per_s: float = 0.0
    """Mean number of requests a second (poisson, trace)."""
    trace: str = ""
    """Path of a table with a column `inter_arrival_s` (seconds) or `time`, relative to the plan (trace)."""
    in_flight_max: int = 256
    """Requests in flight at which an open loop holds back the next one; the wait is the row's `queue_s`."""


def check(arrivals: Arrivals, where: str) -> None:
    """Raises `InputError` where the law is incomplete."""
    if arrivals.kind not in KINDS:
        raise InputError(f"arrivals of {where} are {arrivals.kind!r}; the choices are {', '.join(KINDS)}.")
    if arrivals.kind != "closed" and not 0 < arrivals.rate_per_s < math.inf:
        raise InputError(f"{arrivals.kind} arrivals of {where} need rate_per_s above 0, seen {arrivals.rate_per_s!r}.")
    if (arrivals.kind == "trace") != bool(arrivals.trace):
        raise InputError(f"arrivals of {where}: 'trace' names the recorded log of trace arrivals, and of no others.")
    if arrivals.in_flight_max < 1:
        raise InputError(f"in_flight_max of {where} must be at least 1, seen {arrivals.in_flight_max}.")


def read_gaps(path: Path) -> np.ndarray:
    """Seconds between the arrivals of a recorded log, shape (gaps,). Raises `InputError`."""
    import polars as pl

    readers = {".parquet": pl.read_parquet, ".csv": pl.read_csv, ".ndjson": pl.read_ndjson, ".jsonl": pl.read_ndjson}
    if path.suffix not in readers:
        raise InputError(f"The trace {path} must be one of {', '.join(readers)}.")
    try:
        table = readers[path.suffix](path)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise InputError(f"The trace {path} cannot be read: {str(error).splitlines()[0]}.") from None
    column = next((c for c in GAP_COLUMNS if c in table.columns), None)
    if column is None:
        raise InputError(f"The trace {path} has none of the columns {', '.join(GAP_COLUMNS)}.")
    values = table[column].drop_nulls()
    if values.dtype == pl.String:
        values = values.str.to_datetime(strict=False).drop_nulls()
    if values.dtype.is_temporal():
        values = values.sort().dt.epoch("us") / 1e6
    gaps = values.cast(pl.Float64).to_numpy() if column == "inter_arrival_s" else np.diff(values.cast(pl.Float64).to_numpy())
    gaps = gaps[np.isfinite(gaps) & (gaps >= 0)]
    if len(gaps) < GAPS_MIN or gaps.sum() <= 0:
        raise InputError(f"The trace {path} has {len(gaps)} gaps between arrivals; at least {GAPS_MIN} are a shape.")
    return gaps


def schedule(arrivals: Arrivals, count: int, draw: random.Random, gaps: np.ndarray | None = None) -> list[float]:
    """Seconds from the start of the block at which each of `count` requests is sent, ascending."""
    if arrivals.kind == "poisson":
        between = [draw.expovariate(arrivals.rate_per_s) for _ in range(count)]
    else:
        assert gaps is not None
        start = draw.randrange(len(gaps))
        shape = np.resize(np.roll(gaps, -start), count)
        between = (shape / (gaps.mean() * arrivals.rate_per_s)).tolist()
    return np.cumsum(between).tolist()
