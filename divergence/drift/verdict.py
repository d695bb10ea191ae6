"""What a monitor says: has the regime changed, since when, in which couplings, and what that statement promises.

Unit: log evidence in nats, already divided among the families, so that the threshold is log(1/alpha) for each.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

from divergence.drift.trend import Rate

NONE, BOTH = "none", "both"


@dataclasses.dataclass(frozen=True)
class Edge:
    """A signal, or a pair of signals, whose behaviour changed."""

    family: str
    """`surface` or `structural`."""
    a: str
    """The signal, or the first (for a lag: the leading) one."""
    b: str | None
    """The other one of a pair."""
    kind: str
    """The statistic of the edge with the most evidence."""
    detail: str | None
    """Its level, pair of levels, or lag in rows."""
    log_e: float
    """Evidence of the edge, nats: weighted mean of its statistics."""
    settled: bool
    """Does e-BH keep it: expected share of false edges at most alpha?"""
    before: float
    """The statistic before the change, in words' units (a correlation, a share, standard units of the reference)."""
    after: float
    """The same since."""
    shift: float
    """Change on the statistic's own scale (atanh of a correlation, arcsine of a share, log odds, ...)."""
    lower: float
    """Lower end of its confidence sequence, at the monitor's alpha."""
    upper: float
    """Upper end."""
    material: bool | None
    """Is it shown to be larger than the margin (True), shown to be smaller (False), or neither (None)?"""
    rate: Rate | None = None
    """How it moves with time: a jump, or a slope with an interval, in words' units per hour."""

    @property
    def name(self) -> str:
        """The edge as a reader writes it."""
        return self.a if self.b is None else f"{self.a} with {self.b}"

    @property
    def sentence(self) -> str:
        """What changed, in words."""
        moving = f", {self.rate.sentence}" if self.rate and self.rate.shape != "jump" else ""
        return f"{self.name}: {_words(self.kind, self.detail)} {_shown(self.before)} -> {_shown(self.after)}{moving}"


@dataclasses.dataclass(frozen=True)
class Alarm:
    """A family whose evidence passed the threshold."""

    family: str
    """`surface` or `structural`."""
    chunk: int
    """Number of the chunk of the stream (from 1) at whose end it did."""
    time: str
    """The end of that chunk, ISO 8601."""
    change_from: str
    """Earliest time at which the change may have begun (90 % of the evidence), ISO 8601."""
    change_to: str
    """Latest one."""


@dataclasses.dataclass(frozen=True)
class Verdict:
    """The state of a monitor after its last full chunk."""

    verdict: str
    """none, surface, structural or both."""
    alarms: tuple[Alarm, ...]
    """The families that passed, the earlier first."""
    edges: tuple[Edge, ...]
    """The edges with most evidence: structural ones first, settled ones before the others."""
    log_evidence: dict[str, float]
    """Evidence of each family now, nats."""
    peak: dict[str, float]
    """The most that it ever was, nats."""
    conformal: dict[str, float]
    """Cross-check: log of the exact conformal martingale of each family, nats."""
    alpha: float
    """The bound on false alarms."""
    horizon: int | None
    """Planned chunks, None: endless."""
    chunks: int
    """Full chunks of the stream so far."""
    rows: int
    """Rows counted in them."""
    waiting: int
    """Rows that wait for their chunk to fill."""
    skipped: int
    """Rows that were not counted."""
    chunk_rows: int
    """Rows of a chunk."""
    promise: str
    """What the verdict promises."""
    notes: tuple[str, ...]
    """What a reader should know about the data and the method."""
    held: tuple[str, ...]
    """Statistics whose evidence was held, and why."""

    @property
    def threshold(self) -> float:
        """log(1/alpha), nats."""
        return math.log(1 / self.alpha)

    @property
    def time(self) -> str | None:
        """When the first alarm was raised, ISO 8601; None without one."""
        return self.alarms[0].time if self.alarms else None

    @property
    def headline(self) -> str:
        """The sentence for an incident review."""
        if self.verdict == NONE:
            return f"No drift: in {self.chunks} chunks of {self.chunk_rows} rows the evidence stayed below the alarm."
        since = min(alarm.change_from for alarm in self.alarms), max(alarm.change_to for alarm in self.alarms)
        parts = []
        for family in ("structural", "surface"):
            named = [e.sentence for e in self.edges if e.family == family and e.settled][
                : 2 if family == "structural" else 1
            ]
            if any(alarm.family == family for alarm in self.alarms):
                what = "how signals go together changed" if family == "structural" else "single signals moved"
                parts.append(what + (f" ({'; '.join(named)})" if named else ""))
        quiet = "" if self.verdict != "structural" else "; no single signal left its limits"
        return f"Between {since[0]} and {since[1]} {' and '.join(parts)}{quiet}; the alarm was raised at {self.time}."

    def to_json(self) -> dict[str, object]:
        """The object that `--json` prints; a number that is unknown or without a bound is null."""
        return _finite(self._contract())

    def _contract(self) -> dict[str, Any]:
        return {
            "verdict": self.verdict,
            "time": self.time,
            "edges": [dataclasses.asdict(edge) for edge in self.edges],
            "log_evidence": self.log_evidence | {"threshold": self.threshold},
            "false_alarm_bound": self.alpha,
            "promise": self.promise,
            "headline": self.headline,
            "alarms": [dataclasses.asdict(alarm) for alarm in self.alarms],
            "peak": self.peak,
            "conformal": self.conformal,
            "horizon": self.horizon,
            "chunks": self.chunks,
            "chunk_rows": self.chunk_rows,
            "rows": self.rows,
            "waiting": self.waiting,
            "skipped": self.skipped,
            "held": list(self.held),
            "notes": list(self.notes),
        }

    def __repr__(self) -> str:
        return f"Verdict: {self.verdict}\n{self.headline}\n{self.promise}"


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def readable(kind: str, value: np.ndarray) -> np.ndarray:
    """Statistics in the unit that people read: a correlation for its atanh, a share for its arcsine."""
    if kind in ("correlation", "lagged", "level"):
        return np.tanh(value)
    if kind in ("share", "missing", "item_flips"):
        return np.sin(np.clip(value, 0, np.pi / 2)) ** 2
    if kind.startswith("tail_"):
        return np.square(value)
    return np.asarray(value)


def _words(kind: str, detail: str | None) -> str:
    words = {
        "correlation": "rank correlation",
        "level": f"rank correlation with {detail}",
        "lagged": f"rank correlation {str(detail).lstrip('+')} rows later",
        "tail_both": "share of rows with both in the same outer tenth",
        "tail_upper": "share of rows with both in their upper tenth",
        "tail_lower": "share of rows with both in their lower tenth",
        "association": f"log odds ratio of {detail}",
        "spectrum": f"log eigenvalue {detail}",
        "item_flips": "items answered otherwise at equal accuracy",
        "share": f"share of {detail}",
        "missing": "share missing",
        "location": "mean",
        "scale": "log spread",
        "upper_quantile": "95 % point in spreads of the reference",
        "rate": "log rows per second",
        "answer_bias": "criterion",
        "competence": "d'",
        "embedding_location": f"mean in direction {detail}",
    }
    return words[kind]


def _shown(value: float) -> str:
    return f"{value:.2f}" if abs(value) < 100 else f"{value:.0f}"


def promise(alpha: float, horizon: int | None) -> str:
    """What a verdict promises, and what it does not."""
    if horizon is not None:
        return f"Over the planned {horizon} chunks the chance of ever a false alarm is at most {alpha:g}."
    return (
        f"Endless: without a change, {1 / alpha:.0f} chunks or more pass on average before a false alarm (error over "
        f"patience at most {alpha:g}); in the end some false alarm is certain, so no chance of 'ever' is promised. A "
        "planned run of 40 chunks promises more and sees a shift of three spreads about {delay} later."
    ).replace("{delay}", _delay(alpha))


def _delay(alpha: float) -> str:
    from divergence.drift.delay import chunks_to_alarm

    later = chunks_to_alarm(3.0, 40, alpha) - chunks_to_alarm(3.0, None, alpha)
    return f"{later} chunk{'s' * (later != 1)}"
