"""One run of the verb: a stream, what was asked, the state before and after, and the files that it leaves."""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
from collections.abc import Callable

import polars as pl

from divergence.drift.attribution import Split, attribution
from divergence.drift.detect import HORIZON_LOG, detect
from divergence.drift.evidence_table import evidence_table
from divergence.drift.monitor import ALPHA, MARGIN, Monitor
from divergence.drift.page import page
from divergence.drift.reading import Stream
from divergence.drift.rows import instants
from divergence.drift.state import load, locked, save
from divergence.drift.verdict import Verdict
from divergence.errors import InputError
from divergence.staging import move_into, staging


@dataclasses.dataclass(frozen=True)
class Asked:
    """What the verb was asked for."""

    reference: str | None = None
    """Range of the reference; not needed where a state goes on."""
    horizon: int | None = None
    """Planned chunks; None: the log's own length, or with a state no end."""
    endless: bool = False
    """No planned end."""
    alpha: float = ALPHA
    """Bound on false alarms."""
    margin: float = MARGIN
    """Change that matters."""
    chunk_rows: int | None = None
    """Rows of a chunk; None: from the autocorrelation."""
    only: tuple[str, ...] = ()
    """Signals to follow; (): all."""
    randomised: tuple[str, ...] = ()
    """Factors whose levels were assigned at random."""


def run(
    stream: Stream, asked: Asked, output: pathlib.Path, state: pathlib.Path | None, tell: Callable[[str], None]
) -> Verdict:
    """Look at the stream and write `drift.html`, `evidence.parquet` and the state, each whole or not at all."""
    if output.exists() and not output.is_dir():
        raise InputError(f"{output} is no folder: name one for the results with -o.")
    with locked(state) if state else contextlib.nullcontext():
        if state and state.exists():
            monitor, verdict, splits = _go_on(stream, asked, state)
        else:
            monitor, verdict, splits = _begin(stream, asked, state is not None)
        tell("writing")
        with staging(output) as fresh:
            (fresh / "drift.html").write_text(page(monitor, verdict, splits, stream.notes), "utf-8")
            evidence_table(monitor).write_parquet(fresh / "evidence.parquet")
            if state:
                save(monitor, state)  # before the results are moved: what was counted is never counted again
            move_into(fresh, output)
    return verdict


def _begin(stream: Stream, asked: Asked, resumes: bool) -> tuple[Monitor, Verdict, tuple[Split, ...]]:
    if asked.reference is None:
        raise InputError("--reference is missing: START/END in ISO 8601, or a fraction of the rows such as 0.4.")
    endless = asked.endless or (resumes and asked.horizon is None)
    found = detect(
        stream.frame,
        asked.reference,
        horizon=asked.horizon or (None if endless else HORIZON_LOG),
        alpha=asked.alpha,
        margin=asked.margin,
        signals=asked.only or None,
        chunk_rows=asked.chunk_rows,
    )
    return found.monitor, found.verdict, attribution(found, asked.randomised)


def _go_on(stream: Stream, asked: Asked, state: pathlib.Path) -> tuple[Monitor, Verdict, tuple[Split, ...]]:
    bound: dict[str, object] = {"alpha": asked.alpha, "margin": asked.margin}
    bound |= {"horizon": asked.horizon} if asked.horizon or asked.endless else {}
    bound |= {"chunk_rows": asked.chunk_rows} if asked.chunk_rows else {}
    bound |= {"signals": list(asked.only)} if asked.only else {}
    monitor = load(state, bound)
    instants(stream.frame)
    later = stream.frame.filter(pl.col("time").dt.cast_time_unit("us").to_physical() >= monitor.reference.end)
    return monitor, monitor.update(later), ()
