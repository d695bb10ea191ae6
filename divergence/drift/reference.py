"""What a monitor learns from the reference: signals, chunk length, usual values, and which statistics it can follow."""

from __future__ import annotations

import dataclasses

import numpy as np
import polars as pl

from divergence.drift.baseline import Baseline, learn_baseline
from divergence.drift.chunking import (
    FEWEST_CHUNKS,
    FEWEST_ROWS,
    NEIGHBOURS_MAX,
    Chunking,
    dependent,
    first_length,
)
from divergence.drift.daily import Daily, daily
from divergence.drift.evidence import WINSOR
from divergence.drift.layout import Layout, Statistic, learn
from divergence.drift.ordering import arrange, shown
from divergence.drift.ranks import normal_scores
from divergence.drift.rows import Rows, from_frame
from divergence.drift.structural import structural
from divergence.drift.surface import grid_of, surface
from divergence.drift.trend import detrended
from divergence.errors import InputError

_MAD = 1.4826  # median absolute deviation -> standard deviation of a normal law
_NO_SPREAD = 1e-9
LARGEST = float(np.finfo(np.float32).max)  # a mean that is larger is kept as this
_ALIKE = 0.4  # share of reference chunks with the very same value above which a statistic is a rare event, not a level


@dataclasses.dataclass(frozen=True)
class Chunk:
    """The summary of one chunk: all that is kept of its rows."""

    values: np.ndarray
    """Its statistics, single precision, shape (p,)."""
    margins: np.ndarray
    """Mean of each numeric signal in its own unit, single precision, shape (signals,)."""
    start: int
    """Time of its first row, microseconds."""
    end: int
    """Time of its last row."""

    @property
    def middle(self) -> int:
        """The middle in time, microseconds."""
        return (self.start + self.end) // 2


@dataclasses.dataclass(frozen=True)
class Reference:
    """Fixed once learnt."""

    layout: Layout
    """The signals."""
    baseline: Baseline
    """Earlier answers, answer classes, directions of embeddings."""
    grids: list[np.ndarray]
    """The distribution of each numeric signal, as order statistics."""
    chunking: Chunking
    """Rows of a chunk, and why."""
    values: np.ndarray
    """Statistics of the reference chunks, shape (m, p)."""
    margins: np.ndarray
    """Mean of each numeric signal in each reference chunk, shape (m, signals)."""
    middle: np.ndarray
    """Middle of each reference chunk, microseconds, shape (m,)."""
    daily: Daily
    """Centres by time of day."""
    centre: np.ndarray
    """Median of each statistic, after matching, shape (p,)."""
    spread: np.ndarray
    """Robust spread between chunks, shape (p,)."""
    followed: np.ndarray
    """Is the statistic followed? It needs a spread and independent chunks; shape (p,)."""
    end: int
    """Time of the last reference row, microseconds."""
    last: np.ndarray
    """Identities of the reference rows with just that time."""
    columns: tuple[str, ...]
    """All columns that the reference had."""
    notes: tuple[str, ...]
    """Sentences for a reader."""

    @property
    def statistics(self) -> tuple[Statistic, ...]:
        """The statistics, in order."""
        return self.layout.statistics()

    def summary(self, chunk: Rows) -> Chunk:
        """The summary of the rows of one chunk."""
        return summary_of(chunk, self.layout, self.grids)

    def standard(self, values: np.ndarray, middle: np.ndarray, inside: bool = False) -> np.ndarray:
        """Chunk statistics in robust spreads from the reference's median, not yet winsorised."""
        return (self.daily.residual(values, middle, inside) - self.centre) / self.spread

    def winsorised(self, values: np.ndarray, middle: np.ndarray, inside: bool = False) -> np.ndarray:
        """The same, cut at WINSOR spreads; NaN for a statistic that is not followed."""
        cut = np.clip(self.standard(values, middle, inside), -WINSOR, WINSOR)
        return np.where(self.followed, cut, np.nan)


def summary_of(rows: Rows, layout: Layout, grids: list[np.ndarray]) -> Chunk:
    """The statistics of one chunk in the order of the layout, its means and its times."""
    if layout.aggregated:
        values = surface(rows, [], grids, layout)
    else:
        scores, shares, ordered = normal_scores(rows.numeric)
        values = np.concatenate([surface(rows, ordered, grids, layout), structural(rows, scores, shares, layout)])
    there = np.isfinite(rows.numeric)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        margins = np.where(there, rows.numeric, 0.0).sum(0) / there.sum(0)
    margins = np.clip(margins, -LARGEST, LARGEST)
    return Chunk(values.astype(np.float32), margins.astype(np.float32), int(rows.time[0]), int(rows.time[-1]))


def cut(rows: Rows, length: int) -> list[Rows]:
    """The full chunks of the rows; what is left over is not among them."""
    return [rows[first : first + length] for first in range(0, len(rows) - length + 1, length)]


def learn_reference(
    frame: pl.DataFrame, *, signals: tuple[str, ...] | None, chunk_rows: int | None, now: int, aggregated: bool = False
) -> Reference:
    """Learn from the reference rows. Raises InputError, with a sentence, where they do not allow a monitor."""
    if not len(frame):
        raise InputError("The reference has no rows: choose another --reference, for example 0.4.")
    layout, notes = learn(frame, signals)
    baseline = Baseline() if aggregated else learn_baseline(frame, chunk_rows or FEWEST_ROWS)
    layout = dataclasses.replace(
        layout,
        dimensions=baseline.embedding.basis.shape[1] if baseline.embedding else 0,
        flips=baseline.items is not None,
        two_answers=baseline.answers is not None,
        aggregated=aggregated,
        classes=() if aggregated else layout.classes,
    )
    given = from_frame(frame.with_columns(pl.lit(True).alias("__reference")), layout, baseline)
    arranged = arrange(given, None, None, np.zeros(0, np.uint64), now)
    rows = arranged.rows
    if not len(rows):
        raise InputError(f"The reference has no usable rows: {'; '.join(arranged.notes)}.")
    if len(rows) > 1 and rows.time[0] == rows.time[-1]:
        raise InputError(
            f"All {len(rows)} rows of the reference have the time {shown(rows.time[0])}: drift is a matter of order; "
            "name the column that tells it with --map time=NAME."
        )
    length, tau = (1, 1.0) if aggregated else first_length(len(rows), rows.numeric, chunk_rows)
    if aggregated and len(rows) < FEWEST_CHUNKS:
        raise InputError(f"The reference has {len(rows)} aggregated rows, at least {FEWEST_CHUNKS} are needed.")
    grids = [grid_of(column) for column in rows.numeric.T]
    settled = _settled(rows, layout, baseline, grids, length, tau, chunk_rows, [*notes, *arranged.notes])
    return dataclasses.replace(settled, columns=tuple(frame.columns))


def _settled(
    rows: Rows,
    layout: Layout,
    baseline: Baseline,
    grids: list[np.ndarray],
    length: int,
    tau: float,
    chunk_rows: int | None,
    notes: list[str],
) -> Reference:
    """Double the chunk until neighbouring chunks are independent enough, or refuse."""
    statistics = layout.statistics()
    kinds = np.array([f"{s.family} {s.kind}" for s in statistics])
    first = length
    while True:
        chunks = [summary_of(chunk, layout, grids) for chunk in cut(rows, length)]
        values = np.stack([chunk.values for chunk in chunks]).astype(float)
        middle = np.array([chunk.middle for chunk in chunks])
        matched = daily(values, middle)
        residual = matched.residual(values, middle, inside=True)
        centre, spread, varies = _usual(residual)
        z = np.clip((residual - centre) / spread, -WINSOR, WINSOR)
        worst, kind, alone = dependent(np.where(varies, detrended(z), np.nan), kinds)
        if worst <= NEIGHBOURS_MAX:
            break
        if chunk_rows is not None or len(rows) // (2 * length) < FEWEST_CHUNKS or layout.aggregated:
            larger = " or a larger --chunk-rows" if chunk_rows is not None else ""
            raise InputError(
                f"Neighbouring chunks of {length} rows are not independent: their {kind} statistics correlate by more than "
                f"{worst:.2f} (limit {NEIGHBOURS_MAX}), and the reference of {len(rows)} rows holds fewer than "
                f"{FEWEST_CHUNKS} chunks of twice the length: take a longer --reference{larger}."
            )
        length *= 2
    notes += _set_aside(statistics, alone & varies)
    chunking = Chunking(length, tau, worst, _sentence(length, first, tau, chunk_rows, layout.aggregated))
    end = int(rows.time[-1])
    return Reference(
        layout,
        baseline,
        grids,
        chunking,
        values,
        np.stack([chunk.margins for chunk in chunks]),
        middle,
        matched,
        centre,
        spread,
        varies & ~alone,
        end,
        rows.identity[rows.time == end],
        (),
        tuple(notes),
    )


def _usual(residual: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Median, robust spread, and whether there is a spread in at least `FEWEST_CHUNKS` chunks that have the statistic."""
    seen = np.isfinite(residual)
    enough = seen.sum(0) >= FEWEST_CHUNKS
    safe = np.where(enough, residual, 0.0)
    centre = np.nanmedian(safe, axis=0)
    spread = _MAD * np.nanmedian(np.abs(safe - centre), axis=0)
    alike = (np.abs(safe - centre) <= _NO_SPREAD).mean(0)
    varies = enough & (spread > _NO_SPREAD) & (alike <= _ALIKE)
    return centre, np.where(varies, spread, 1.0), varies


def _set_aside(statistics: tuple[Statistic, ...], alone: np.ndarray) -> list[str]:
    names = [f"{s.kind} of {' and '.join(s.edge)}" for s, one in zip(statistics, alone, strict=True) if one]
    if not names:
        return []
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return [f"not followed, because neighbouring chunks correlate: {', '.join(dict.fromkeys(names[:3]))}{more}"]


def _sentence(length: int, first: int, tau: float, chunk_rows: int | None, aggregated: bool) -> str:
    if aggregated:
        return "each row is an aggregate and a chunk of its own; only its surface can be followed"
    why = "as asked" if chunk_rows is not None else f"the slowest signal keeps an autocorrelation for {tau:.1f} rows"
    grown = f", grown from {first} until neighbouring chunks were independent" if length > first else ""
    short = f"; fewer than {FEWEST_ROWS} rows a chunk: weak dependence will not be seen" if length < FEWEST_ROWS else ""
    return f"a chunk is {length} rows ({why}{grown}){short}"
