"""Which files of a log are counted by their distinct rows before anything is asked of them, see `tally`."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from divergence.configuration import Configuration
from divergence.executions.columns import is_no_label, renamed, sampled
from divergence.executions.files import Source
from divergence.executions.schema import SERVING_FACTORS
from divergence.executions.session_rows import SessionRows
from divergence.executions.tally import Wanted, tally

ROWS_MIN = 1_000_000  # below it reading row by row takes a second
LABELS = ("regime", "model", "score_n", "scorer", "task", "wave", "context", "probability")
CLUSTERS = ("item", "session", "answer")


@dataclasses.dataclass(frozen=True)
class Counted:
    """A log's distinct rows, on their way through reading."""

    sources: tuple[Source, ...]
    """Sources of combinations of raw labels, with `TIMES` and `GROUP`."""
    columns: frozenset[str]
    """Canonical columns that the combinations tell apart."""
    blocks: np.ndarray
    """Rows by group and block of clusters, shape (groups, 128)."""
    sessions: tuple[SessionRows | None, ...]
    """Rows of some sessions of each of the sources, where they are held."""

    def of_sessions(self, configuration: Configuration, every: int) -> list[Source] | None:
        """Sources of the raw rows of one in `every` sessions; None where not all of them are held."""
        held = [rows for rows in self.sessions if rows is not None and rows.every <= every]
        if len(held) < len(self.sources):
            return None
        frames = [rows.of(source.frame.collect()) for source, rows in zip(self.sources, held, strict=True)]
        some = [dataclasses.replace(s, frame=frame.lazy()) for s, frame in zip(self.sources, frames, strict=True)]
        return [sampled(source, configuration, ("session",), every) for source in some]


def distinct_rows(
    sources: list[Source],
    configuration: Configuration,
    where: Mapping[str, tuple[str, ...]],
    progress: Callable[[str], None] | None = None,
    ray: str | None = None,
) -> Counted | None:
    """The distinct rows of large Parquet files; None for everything else, and for damaged files, which reading names.

    `progress` is told now and then how many rows were counted, and how fast. `ray`: the cluster that counts them.
    """
    try:
        rows = _rows(sources)
        return _distinct_rows(sources, configuration, where, _Clock(rows, progress), ray) if rows >= ROWS_MIN else None
    except (pa.ArrowException, OSError):
        return None


class _Clock:
    """Tells every second or so how far counting is."""

    def __init__(self, rows: int, progress: Callable[[str], None] | None) -> None:
        self.rows, self.progress, self.done = rows, progress, 0
        self.begin = self.told = time.monotonic()

    def __call__(self, rows: int) -> None:
        self.done += rows
        now = time.monotonic()
        if self.progress is not None and now - self.told >= 1:
            self.told = now
            self.progress(f"counting rows: {self.done:,} of {self.rows:,}, {self.done / (now - self.begin):,.0f} a second")


def _distinct_rows(
    sources: list[Source], configuration: Configuration, where: Mapping[str, tuple[str, ...]], clock: _Clock, ray: str | None
) -> Counted | None:
    factors = configuration.factors or SERVING_FACTORS
    labels = dict.fromkeys((*LABELS, configuration.outcome, *factors))
    kinds: dict[tuple, tuple[list[Source], Wanted]] = {}
    for source in sources:
        wanted = _wanted(source, configuration, where, list(labels))
        if wanted is None:
            return None
        key = (source.regime, wanted, tuple(source.schema[name] for name in wanted.names))
        kinds.setdefault(key, ([], wanted))[0].append(source)
    found = []
    for same, wanted in kinds.values():
        one = tally(same, wanted, sum(len(done.blocks) for done in found), clock, ray)
        if one is None:
            return None
        found.append(one)
    blocks = np.concatenate([one.blocks for one in found])
    told_apart = frozenset((*labels, *CLUSTERS))
    return Counted(tuple(one.source for one in found), told_apart, blocks, tuple(one.sessions for one in found))


def _rows(sources: list[Source]) -> int:
    """Rows of Parquet files; 0 where something else is among them."""
    if any(
        source.reshaped or source.path is None or source.path.suffix.lower() not in (".parquet", ".pq") for source in sources
    ):
        return 0
    return sum(pq.read_metadata(source.path).num_rows for source in sources)


def _wanted(
    source: Source, configuration: Configuration, where: Mapping[str, tuple[str, ...]], labels: list[str]
) -> Wanted | None:
    """The raw columns of one file, or None where they do not play one part each."""
    names = renamed(source, configuration)
    made = configuration.constants
    if (
        configuration.values
        or configuration.outcome not in names
        or any(name in made and name not in names for name in CLUSTERS)
    ):
        return None  # an outcome of another table or scale, or one session for all rows
    if "execution_id" in names and is_no_label(source.schema[names["execution_id"]]):
        return None  # ids are no labels, and every one of these breaks a rule that combinations cannot see
    raw = [names[name] for name in labels if name in names]
    if configuration.regime and configuration.regime.column in source.columns:
        raw.append(configuration.regime.column)
    raw += [name if name in source.columns else names.get(name, "") for name in where]
    clusters = [names.get(name) for name in CLUSTERS]
    told_apart = tuple(dict.fromkeys(name for name in raw if name))
    given = [name for name in clusters if name is not None]
    if len({*given, *told_apart}) < len(given) + len(told_apart) or any(
        isinstance(source.schema[name], pl.List) for name in told_apart
    ):
        return None  # a column in two parts, or filtered by
    return Wanted(told_apart, *clusters)
