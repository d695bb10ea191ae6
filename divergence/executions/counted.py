"""Which files of a log are counted by their distinct rows before anything is asked of them, see `tally`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from divergence.configuration import Configuration
from divergence.executions.columns import renamed
from divergence.executions.files import Source
from divergence.executions.schema import SERVING_FACTORS
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


def distinct_rows(sources: list[Source], configuration: Configuration, where: Mapping[str, tuple[str, ...]]
                  ) -> Counted | None:
    """The distinct rows of large Parquet files; None for everything else, and for damaged files, which reading names."""
    try:
        return _distinct_rows(sources, configuration, where) if _large(sources) else None
    except (pa.ArrowException, OSError):
        return None


def _distinct_rows(sources: list[Source], configuration: Configuration, where: Mapping[str, tuple[str, ...]]
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
        one = tally(same, wanted, sum(len(done.blocks) for done in found))
        if one is None:
            return None
        found.append(one)
    blocks = np.concatenate([one.blocks for one in found])
    return Counted(tuple(one.source for one in found), frozenset((*labels, *CLUSTERS)), blocks)


def _large(sources: list[Source]) -> bool:
    if any(source.path is None or source.path.suffix.lower() not in (".parquet", ".pq") for source in sources):
        return False
    return sum(pq.read_metadata(source.path).num_rows for source in sources) >= ROWS_MIN


def _wanted(source: Source, configuration: Configuration, where: Mapping[str, tuple[str, ...]], labels: list[str]
            ) -> Wanted | None:
    """The raw columns of one file, or None where they do not play one part each."""
    names = renamed(source, configuration)
    made = configuration.constants
    if configuration.outcome not in names or any(name in made and name not in names for name in CLUSTERS):
        return None  # an outcome of another table, or one session for all rows
    raw = [names[name] for name in labels if name in names]
    if configuration.regime and configuration.regime.column in source.columns:
        raw.append(configuration.regime.column)
    raw += [name if name in source.columns else names.get(name, "") for name in where]
    clusters = [names.get(name) for name in CLUSTERS]
    told_apart = tuple(dict.fromkeys(name for name in raw if name))
    given = [name for name in clusters if name is not None]
    if len({*given, *told_apart}) < len(given) + len(told_apart) or any(
            isinstance(source.schema[name], pl.List) for name in told_apart):
        return None  # a column in two parts, or filtered by
    return Wanted(told_apart, *clusters)
