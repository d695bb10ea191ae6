"""Ten thousand streams at once: one verdict each, computed together.

For fleets (a stream a tenant, a route, a replica) with a few numeric signals each. The statistics of a chunk are a subset of
those of one stream (location, log scale; normal-score correlations, joint tails), computed for all streams in blocks; the
evidence is the same. Over the streams e-BH keeps the expected share of false alarms among the streams named at most alpha;
each stream by itself has its own promise. Unit: nats.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy.special import ndtri

from divergence.drift.chunking import FEWEST_CHUNKS
from divergence.drift.evidence import WINSOR, Evidence, e_bh, family_weights
from divergence.drift.layout import FAMILIES, STRUCTURAL, SURFACE
from divergence.drift.structural import TAIL
from divergence.errors import InputError

BLOCK = 2_000_000
"""Values that are ranked at a time: 16 MB."""
_MAD = 1.4826
_NO_SPREAD = 1e-9


@dataclasses.dataclass(frozen=True)
class Fleet:
    """The verdicts of many streams."""

    alarm: np.ndarray
    """Chunk (from 1) of the first alarm of each stream and family, 0 without one, shape (streams, 2), as `FAMILIES`."""
    log_evidence: np.ndarray
    """Evidence after the last chunk, divided among the families, shape (streams, 2)."""
    named: np.ndarray
    """Streams that e-BH keeps at the end, by family, shape (streams, 2)."""
    chunks: int
    """Chunks of each stream."""


def fleet(values: np.ndarray, reference: int, chunk_rows: int, alpha: float = 0.05) -> Fleet:
    """Verdicts of many streams; `values` (streams, rows, signals) in order of time; the first `reference` rows are it.

    >>> import numpy as np
    >>> int(fleet(np.random.default_rng(0).standard_normal((3, 1500, 2)), 500, 50).alarm.sum())
    0
    """
    if values.ndim != 3 or values.shape[2] < 1 or not np.isfinite(values).all():
        raise InputError(
            f"Many streams come as finite numbers of shape (streams, rows, signals), seen shape {values.shape}."
        )
    streams, rows, _ = values.shape
    known, chunks = reference // chunk_rows, (rows - reference) // chunk_rows
    if known < FEWEST_CHUNKS or chunks < 1:
        raise InputError(
            f"{reference} reference rows are {known} chunks of {chunk_rows}, at least {FEWEST_CHUNKS} are needed, and "
            f"{chunks} chunks are left to look at, at least one: take other numbers."
        )
    used = np.concatenate([values[:, : known * chunk_rows], values[:, reference : reference + chunks * chunk_rows]], axis=1)
    alarm, log_e = np.zeros((streams, 2), np.int64), np.zeros((streams, 2))
    block = max(1, BLOCK // (used.shape[1] * used.shape[2]))
    for first in range(0, streams, block):
        part = slice(first, first + block)
        statistics, family, kind = _statistics(used[part], chunk_rows, known)
        alarm[part], log_e[part] = _run(statistics, family, kind, known, alpha)
    named = np.stack([e_bh(np.exp(log_e[:, n]), np.ones(streams), alpha) for n in range(2)], axis=1)
    return Fleet(alarm, log_e, named, chunks)


def _statistics(values: np.ndarray, length: int, known: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Chunk statistics (streams, chunks, p), and the family and kind of each."""
    streams, rows, signals = values.shape
    chunked = values.reshape(streams, rows // length, length, signals)
    rank = np.argsort(np.argsort(chunked, axis=2), axis=2)  # ties by order: for continuous signals
    shares = (rank + 0.5) / length
    scores = ndtri((np.arange(length) + 0.5) / length)[rank]
    middle, spread = _usual(values[:, : known * length], 1)
    standard = np.clip((chunked - middle[:, None, None]) / spread[:, None, None], -WINSOR, WINSOR)
    pairs = np.triu_indices(signals, 1)
    cross = np.einsum("skni,sknj->skij", scores, scores, optimize=True)[..., pairs[0], pairs[1]]
    correlation = np.arctanh(np.clip(cross / (np.square(scores[0, 0, :, 0]).sum()), -0.9999, 0.9999))
    tails = []
    for inside in (shares > TAIL, shares < 1 - TAIL):
        hits = inside.astype(np.float32)
        tails.append(np.sqrt(np.einsum("skni,sknj->skij", hits, hits, optimize=True)[..., pairs[0], pairs[1]] / length))
    with np.errstate(divide="ignore"):
        scale = np.log(np.maximum(standard.std(2), 1e-12))
    count = len(pairs[0])
    family = np.array([SURFACE] * (2 * signals) + [STRUCTURAL] * (3 * count))
    names = (
        ["location"] * signals
        + ["scale"] * signals
        + ["correlation"] * count
        + ["tail_upper"] * count
        + ["tail_lower"] * count
    )
    return np.concatenate([standard.mean(2), scale, correlation, *tails], axis=2), family, np.array(names)


def _usual(values: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    middle = np.median(values, axis=axis)
    spread = _MAD * np.median(np.abs(values - np.expand_dims(middle, axis)), axis=axis)
    return middle, np.where(spread > _NO_SPREAD, spread, 1.0)


def _run(
    statistics: np.ndarray, family: np.ndarray, kind: np.ndarray, known: int, alpha: float
) -> tuple[np.ndarray, np.ndarray]:
    """First alarm and last evidence of each stream and family: all statistics of all streams side by side."""
    streams, total, p = statistics.shape
    middle, spread = _usual(statistics[:, :known], 1)
    z = np.clip((statistics - middle[:, None]) / spread[:, None], -WINSOR, WINSOR)
    tied = np.median(np.abs(statistics[:, :known] - middle[:, None]), axis=1) <= _NO_SPREAD
    z = np.where(tied[:, None], np.nan, z)  # a statistic without a spread says nothing
    side = z.transpose(1, 0, 2).reshape(total, streams * p)
    evidence = Evidence.start(side[:known], total - known)
    weight = family_weights(family, kind)
    alarm, log_e = np.zeros((streams, 2), np.int64), np.zeros((streams, 2))
    for chunk in range(total - known):
        evidence.add(side[known + chunk])
        mixture = np.where(tied, 0.0, evidence.mixture.reshape(streams, p))
        for number, name in enumerate(FAMILIES):
            chosen = family == name
            if chosen.any():
                log_e[:, number] = np.log(np.maximum(mixture[:, chosen] @ weight[chosen], 1e-300) / len(FAMILIES))
                fresh = (alarm[:, number] == 0) & (log_e[:, number] >= np.log(1 / alpha))
                alarm[fresh, number] = chunk + 1
    return alarm, log_e
