"""The files of a log and what was declared of them, as lazy frames of canonical columns: all of them, or each apart."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable

import polars as pl

from divergence.configuration import Configuration
from divergence.errors import InputError
from divergence.executions.columns import canonical, graded, scaled
from divergence.executions.executions import ALWAYS
from divergence.executions.files import Source
from divergence.executions.further_tables import FurtherTable, metric, metrics, read_table
from divergence.executions.guess import advice
from divergence.executions.names import COPY, DUPLICATE, FAILED, GIVEN_REGIME
from divergence.executions.on_scale import regimes_on_scale
from divergence.executions.recognise import Tables, listed
from divergence.executions.rules import Rule
from divergence.executions.schema import COLUMNS, Column


@dataclasses.dataclass(frozen=True)
class DeclaredLog:
    """The files of a log and what was declared, on their way through reading."""

    tables: Tables
    configuration: Configuration
    extra: dict[str, Column]
    rules: tuple[Rule, ...]
    accept_rejected: float
    progress: Callable[[str], None] | None = None
    copies: str = ""
    cautions: tuple[str, ...] = ()
    ray: str | None = None

    @property
    def sources(self) -> list[Source]:
        return self.tables["executions"]

    @functools.cached_property
    def outcomes(self) -> FurtherTable | None:
        return self._table("outcomes")

    @functools.cached_property
    def telemetry(self) -> FurtherTable | None:
        return self._table("telemetry")

    @property
    def embeddings(self) -> pl.LazyFrame | None:
        frames = [source.frame.select(source.columns) for source in self.tables["embeddings"]]
        return pl.concat(frames, how="diagonal_relaxed") if frames else None

    @functools.cached_property
    def on_scale(self) -> dict[str, tuple[str, ...]]:
        """Outcomes with a declared scale -> the regimes whose values are on it."""
        found = {}
        for name, meaning in self.configuration.values.items():
            if meaning.scale is None or name != self.configuration.outcome:
                continue
            frame, present = _unscaled(self, self.sources)
            if name in present:
                found[name] = regimes_on_scale(name, meaning, frame)
        return found

    def _table(self, name: str) -> FurtherTable | None:
        return read_table(name, self.tables[name], self.where(name), self.accept_rejected, self.configuration.values)

    def where(self, table: str) -> dict[str, tuple[str, ...]]:
        """The conditions on rows that concern one table: those whose column one of its files has."""
        made = self.configuration.columns if table == "executions" else {}
        names = {*made, *(name for source in self.tables[table] for name in source.columns)}
        return {name: levels for name, levels in self.configuration.where.items() if name in names}


def assembled(log: DeclaredLog, sources: Iterable[Source]) -> tuple[pl.LazyFrame, set[str]]:
    """All files as one lazy frame of canonical columns on their declared scales, and the names that any file has."""
    frame, present = _unscaled(log, sources)
    return _scaled(frame, log), present


def assembled_apart(log: DeclaredLog, sources: Iterable[Source]) -> list[pl.LazyFrame]:
    """The same rows file by file, each with the columns of all."""
    frames = _canonical(log, sources)
    schema = pl.concat(frames, how="diagonal").collect_schema()
    whole = [f.with_columns(_absent(schema, f.collect_schema().names())).select(schema.names()) for f in frames]
    return [_scaled(_completed(frame, log)[0], log) for frame in whole]


def _canonical(log: DeclaredLog, sources: Iterable[Source]) -> list[pl.LazyFrame]:
    where = log.where("executions")
    return [canonical(s, number, log.configuration, log.extra, where) for number, s in enumerate(sources)]


def _absent(schema: pl.Schema, present: list[str]) -> list[pl.Expr]:
    return [pl.lit(None, kind).alias(name) for name, kind in schema.items() if name not in present]


def _scaled(frame: pl.LazyFrame, log: DeclaredLog) -> pl.LazyFrame:
    values = log.configuration.values
    return frame.with_columns(scaled(name, values[name], where) for name, where in log.on_scale.items())


def _unscaled(log: DeclaredLog, sources: Iterable[Source]) -> tuple[pl.LazyFrame, set[str]]:
    frames = _canonical(log, sources)
    return _completed(pl.concat(frames, how="diagonal") if len(frames) > 1 else frames[0], log)


def _completed(frame: pl.LazyFrame, log: DeclaredLog) -> tuple[pl.LazyFrame, set[str]]:
    """The frame with its outcome, and with every column that a log always has; the names that it has by itself."""
    outcome = log.configuration.outcome
    present = set(frame.collect_schema().names())
    if outcome not in present:
        frame = _with_metric(frame, present, log)
        present |= {outcome, "scorer"}
    absent = []
    for name in dict.fromkeys((*ALWAYS, outcome)):
        if name not in present:
            absent.append(pl.lit(None, COLUMNS[name].dtype).alias(name))
        if name not in present or FAILED + name not in frame.collect_schema():
            absent.append(pl.lit(None, pl.String).alias(FAILED + name))
    frame = frame.with_columns(*absent, pl.lit(False).alias(DUPLICATE), pl.lit(False).alias(COPY))
    return frame.with_columns(pl.coalesce("regime", GIVEN_REGIME).alias("regime")), present


def _with_metric(frame: pl.LazyFrame, present: set[str], log: DeclaredLog) -> pl.LazyFrame:
    """The outcome from the outcomes table, where no column of the log has its name."""
    outcome = log.configuration.outcome
    names = metrics(log.outcomes.frame) if log.outcomes else []
    chosen = outcome if outcome in names else names[0] if outcome == "score" and len(names) == 1 else None
    if log.outcomes is None or chosen is None or "execution_id" not in present:
        raw = dict.fromkeys(name for source in log.sources for name in source.columns)
        also = f"; the outcomes table has {listed(names)}" if names else ""
        raise InputError(
            f"No file of the log has the outcome {outcome}: columns are {listed(raw)}{also}."
            + advice(log.sources, f"Name its column with --map {outcome}=NAME, or another outcome with --outcome NAME.")
        )
    values = metric(log.outcomes.frame, chosen).rename({"value": outcome, "scorer": "__scorer"})
    frame = frame.join(values, on="execution_id", how="left", maintain_order="left")
    if log.configuration.grades:
        frame = frame.with_columns(graded(outcome, outcome, pl.Float64(), log.configuration.grades))
    scorer = pl.coalesce("__scorer", "scorer") if "scorer" in present else pl.col("__scorer")
    return frame.with_columns(scorer.alias("scorer")).drop("__scorer")
