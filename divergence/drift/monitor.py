"""A monitor: learns from a reference, takes batches of rows as they come, and says what has changed.

    monitor = dv.monitor(reference, horizon=40)
    verdict = monitor.update(batch)

A batch may be any number of rows in any order; only full chunks count, the rest waits. The verdict depends on the rows, not
on how they were cut into batches. An alarm stays: a family that passed the threshold has passed it.
"""

from __future__ import annotations

import dataclasses
import time as clock

import numpy as np
import polars as pl

from divergence.calling import sentences
from divergence.drift.chunking import HELD, NEIGHBOURS_MAX
from divergence.drift.edges import edges_of
from divergence.drift.evidence import Evidence, family_weights
from divergence.drift.history import History
from divergence.drift.hold import carriers, neighbours
from divergence.drift.layout import FAMILIES, weights_of
from divergence.drift.ordering import arrange, shown
from divergence.drift.reference import Chunk, Reference, cut, learn_reference
from divergence.drift.rows import Rows, from_frame
from divergence.drift.settings import Changed, cause, changes, settings
from divergence.drift.verdict import BOTH, NONE, Alarm, Verdict, promise
from divergence.errors import InputError

ALPHA = 0.05
"""Bound on false alarms, of both families together."""
LONGEST_TRAIL = 2000
"""Chunks of one run whose evidence is kept for `evidence.parquet`; not part of the state."""
MOST_NOTES = 40
"""Sentences about the stream that are kept: a monitor without an end stays small."""
MARGIN = 0.1
"""Change of an edge on its statistic's scale that matters (on atanh r: a correlation .50 -> .57; see `edges.MARGINS`)."""


@dataclasses.dataclass(frozen=True)
class Promise:
    """What was asked of a monitor."""

    alpha: float = ALPHA
    """Bound on false alarms."""
    horizon: int | None = None
    """Planned chunks; None: endless."""
    margin: float = MARGIN
    """Change that matters, on a statistic's own scale."""


class Monitor:
    """Use `monitor(...)` to make one."""

    def __init__(self, reference: Reference, asked: Promise, known: dict[str, tuple[str, ...]]) -> None:
        self.reference, self.asked, self.known = reference, asked, known
        self.statistics = reference.statistics
        self.family, kind = weights_of(self.statistics)
        self.weight = np.zeros(len(self.statistics))
        followed = reference.followed
        self.weight[followed] = family_weights(self.family[followed], kind[followed])
        self.evidence = Evidence.start(reference.winsorised(reference.values, reference.middle, inside=True), asked.horizon)
        self.history = History.empty(reference, len(FAMILIES))
        self.pending: Rows | None = None
        self.counted_to, self.counted = reference.end, reference.last
        self.alarms: dict[str, Alarm] = {}
        self.peak: dict[str, float] = dict.fromkeys(FAMILIES, 0.0)
        self.held = np.zeros(len(self.statistics), bool)
        self.notes: dict[str, None] = dict.fromkeys(
            (reference.chunking.sentence, reference.daily.sentence, *reference.notes)
        )
        self.changed: dict[str, Changed] = {}
        self.trail: list[np.ndarray] = []
        self.rows = self.skipped = 0

    def note(self, sentence: str) -> None:
        """Remember a sentence for the reader, the last `MOST_NOTES` of them beside those of the reference."""
        own = 2 + len(self.reference.notes)
        if sentence not in self.notes and len(self.notes) >= own + MOST_NOTES:
            del self.notes[list(self.notes)[own]]
        self.notes[sentence] = None

    @property
    def length(self) -> int:
        """Rows of a chunk."""
        return self.reference.chunking.rows

    def update(self, batch: pl.DataFrame, *, now: int | None = None) -> Verdict:
        """Take more rows; the verdict after them. `now`: the clock in microseconds.

        Raises InputError for rows without time.
        """
        if len(batch):
            self._take(batch, now)
        return self.verdict()

    def _take(self, batch: pl.DataFrame, now: int | None) -> None:
        layout = self.reference.layout
        given = from_frame(batch, layout, self.reference.baseline)
        self._look(batch)
        arranged = arrange(given, self.pending, self.counted_to, self.counted, now or clock.time_ns() // 1000)
        for note in arranged.notes:
            self.note(note)
        self.skipped += arranged.skipped
        chunks = cut(arranged.rows, self.length)
        for chunk in chunks:
            self.add(self.reference.summary(chunk))
        if chunks:
            self.counted_to = int(chunks[-1].time[-1])
            self.counted = chunks[-1].identity[chunks[-1].time == self.counted_to]
        self.pending = arranged.rows[len(chunks) * self.length :]
        self.rows += len(chunks) * self.length

    def add(self, chunk: Chunk) -> None:
        """One finished chunk by its summary: what `update` does for each, and a merge of partitions for all."""
        self.evidence.add(self.reference.winsorised(chunk.values.astype(float), np.array(chunk.middle)))
        self.history.add(chunk, len(FAMILIES))
        self.trail = [*self.trail[1 - LONGEST_TRAIL :], self.evidence.mixture]
        self._notice_missing(chunk)
        for number, family in enumerate(FAMILIES):
            log_e = self._log_evidence(family)
            if log_e >= np.log(1 / self.asked.alpha) and family not in self.alarms:
                log_e = self._hold(family)
            self.history.evidence[-1, number] = log_e
            self.peak[family] = max(self.peak[family], log_e)
            if log_e >= np.log(1 / self.asked.alpha) and family not in self.alarms:
                self.alarms[family] = self._alarm(family)

    def _contribution(self, family: str) -> np.ndarray:
        return np.where((self.family == family) & ~self.held, self.weight * self.evidence.mixture, 0.0)

    def _log_evidence(self, family: str) -> float:
        """Evidence of a family divided among the families: log of its mean e over their number."""
        total = self._contribution(family).sum() if self.weight[self.family == family].any() else 1.0
        return float(np.log(max(total, 1e-300) / len(FAMILIES)))

    def _hold(self, family: str) -> float:
        """Set aside the statistics behind an alarm whose chunks depend on each other; the evidence that is left."""
        contribution = self._contribution(family)
        chosen = carriers(contribution)
        reference = self.reference
        series = np.vstack(
            [
                reference.winsorised(reference.values, reference.middle, inside=True)[:, chosen],
                reference.winsorised(self.history.values.astype(float), self.history.middle)[:, chosen],
            ]
        )
        begin = self.begin(family)[0]
        place = len(reference.values) + int(np.searchsorted(self.history.number, begin))
        r = neighbours(series, place)
        error = 1 / np.sqrt(len(series))
        edges = {self.statistics[number].edge for number in chosen[r - error / 2 > HELD]}
        dependent = np.array([n for n in chosen if self.statistics[n].edge in edges], np.int64)
        self.held[dependent] = True
        for number in dependent[:5]:
            s = self.statistics[number]
            self.note(
                f"held at {shown(self.history.end[-1])}: {s.kind} of {' and '.join(s.edge)}, because its "
                "neighbouring chunks correlate; a larger --chunk-rows would let it count"
            )
        sure = np.maximum(r - error, 0.0)  # what is left of the correlation less its standard error
        contribution = self._contribution(family)
        contribution[chosen] = np.where(self.held[chosen], 0.0, self.weight[chosen] * self.evidence.shrunk(chosen, sure))
        log_e = float(np.log(max(contribution.sum(), 1e-300) / len(FAMILIES)))
        left = ~self.held[chosen]
        if log_e >= np.log(1 / self.asked.alpha) and left.any() and r[left].max() > NEIGHBOURS_MAX:
            s = self.statistics[chosen[left][r[left].argmax()]]
            self.note(
                f"the {family} alarm rests on {s.kind} of {' and '.join(s.edge)}, whose neighbouring chunks correlate by "
                f"{r[left].max():.2f} (limit {NEIGHBOURS_MAX}): its bound on false alarms is not sure with these chunks"
            )
        return log_e

    def begin(self, family: str) -> tuple[int, int, int]:
        """The chunk (from 1) at which the change most likely begins, and the earliest and latest of 90 % of the evidence."""
        contribution = self.evidence.by_restart @ np.where((self.family == family) & ~self.held, self.weight, 0.0)
        share = np.cumsum(contribution) / contribution.sum()
        restarts = self.evidence.restarts
        return (
            int(restarts[contribution.argmax()]),
            int(restarts[np.searchsorted(share, 0.05)]),
            int(restarts[min(np.searchsorted(share, 0.95), len(restarts) - 1)]),
        )

    def _alarm(self, family: str) -> Alarm:
        _, early, late = self.begin(family)
        place = np.clip(np.searchsorted(self.history.number, [early, late]), 0, len(self.history.number) - 1)
        return Alarm(
            family,
            self.evidence.chunks,
            shown(self.history.end[-1]),
            shown(int(self.history.start[int(place[0])])),
            shown(int(self.history.end[int(place[1])])),
        )

    def _look(self, batch: pl.DataFrame) -> None:
        layout = self.reference.layout
        followed = {*layout.numeric, *(name for name, _ in layout.classes)}
        for name in sorted(followed - set(batch.columns)):
            self.note(f"the signal {name} of the reference has vanished from the stream")
        fresh = [c for c in batch.columns if c not in self.reference.columns and not c.startswith("__")]
        if fresh:
            self.note(f"not a signal of the reference and not followed: {', '.join(fresh)}")
        for one in changes(batch, self.known):
            if one.sentence not in self.changed:
                self.changed[one.sentence] = one

    def _notice_missing(self, chunk: Chunk) -> None:
        for name, mean in zip(self.reference.layout.numeric, chunk.margins, strict=True):
            key = f"{name} has no value in a chunk"
            if not np.isfinite(mean) and not any(note.startswith(key) for note in self.notes):
                self.note(f"{key} that begins at {shown(chunk.start)}; such chunks say nothing about it")

    def verdict(self) -> Verdict:
        """What is known after the last full chunk."""
        alarms = tuple(sorted(self.alarms.values(), key=lambda alarm: alarm.chunk))
        notes = [*self.notes, *self.changed]
        why = cause(list(self.changed.values()))
        notes += [why] if why else []
        if self.asked.horizon is not None and self.evidence.chunks > self.asked.horizon:
            notes.append(f"the planned run of {self.asked.horizon} chunks is over: a later change would hardly be seen")
        return Verdict(
            NONE if not alarms else BOTH if len(alarms) == 2 else alarms[0].family,
            alarms,
            edges_of(self),
            {f: float(self.history.evidence[-1, n]) if self.evidence.chunks else 0.0 for n, f in enumerate(FAMILIES)},
            dict(self.peak),
            self._conformal(),
            self.asked.alpha,
            self.asked.horizon,
            self.evidence.chunks,
            self.rows,
            0 if self.pending is None else len(self.pending),
            self.skipped,
            self.length,
            promise(self.asked.alpha, self.asked.horizon),
            tuple(notes),
            tuple(f"{s.kind} of {' and '.join(s.edge)}" for s, one in zip(self.statistics, self.held, strict=True) if one),
        )

    def _conformal(self) -> dict[str, float]:
        from divergence.drift.conformal import conformal

        out, reference = {}, self.reference
        if not len(self.history.number) or not self.alarms:
            return dict.fromkeys(FAMILIES, 0.0)
        inside = reference.standard(reference.values, reference.middle, inside=True)
        stream = reference.standard(self.history.values.astype(float), self.history.middle)
        for family in FAMILIES:
            chosen = (self.family == family) & reference.followed & ~self.held
            capital = conformal(inside[:, chosen], stream[:, chosen], self.weight[chosen]) if chosen.any() else np.ones(1)
            out[family] = float(np.log(max(capital[-1], 1e-300)))
        return out


@sentences
def monitor(
    reference: pl.DataFrame,
    *,
    horizon: int | None = None,
    alpha: float = ALPHA,
    margin: float = MARGIN,
    signals: tuple[str, ...] | list[str] | None = None,
    chunk_rows: int | None = None,
    now: int | None = None,
) -> Monitor:
    """Follow a stream as it comes: has its regime changed?

    `reference`: the rows to learn from, a frame with `time` (an instant with its zone) and columns of numbers or labels.

    `horizon`: planned chunks, over which P(ever a false alarm) <= alpha; None: endless, 1/alpha chunks or more between
    false alarms on average. `signals`: the columns to follow (default: all). `chunk_rows`: default from the
    autocorrelation. `alpha` (0..1): bound on false alarms. `margin`: change of an edge that matters, on its own scale.
    `now`: chunks already looked at.

    Returns a `Monitor`; `update(batch)` gives the verdict so far. Raises InputError, with a sentence, where the reference
    does not allow a monitor.

    >>> from divergence.simulate import stream
    >>> rows = stream("coupling", seed=0)
    >>> monitor(rows[:10_000], horizon=40).update(rows[10_000:]).verdict
    'structural'
    """
    if not 0 < alpha < 1:
        raise InputError(f"alpha is a probability between 0 and 1, seen {alpha}: take for example 0.05.")
    if horizon is not None and horizon < 1:
        raise InputError(f"horizon is a number of chunks, at least 1, seen {horizon}: take the length of the planned run.")
    if chunk_rows is not None and chunk_rows < 1:
        raise InputError(f"chunk_rows is a number of rows, at least 1, seen {chunk_rows}: leave it out to have it chosen.")
    if margin < 0:
        raise InputError(f"margin is a size of change, 0 or more, seen {margin}.")
    aggregated = chunk_rows == 1
    learnt = learn_reference(
        reference,
        signals=tuple(signals) if signals is not None else None,
        chunk_rows=chunk_rows,
        now=now or clock.time_ns() // 1000,
        aggregated=aggregated,
    )
    return Monitor(learnt, Promise(alpha, horizon, margin), settings(reference))
