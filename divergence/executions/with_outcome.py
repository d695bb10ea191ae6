"""The same log read for another outcome: a column of it, or a metric of its table of outcomes."""

from __future__ import annotations

import dataclasses

import polars as pl

from divergence.errors import InputError
from divergence.executions.executions import Executions
from divergence.executions.further_tables import metric, metrics
from divergence.executions.outcome import infer_kind, usable, usable_values, without_place
from divergence.executions.profile import outcome_count
from divergence.executions.recognise import listed
from divergence.executions.schema import COLUMNS


def with_outcome(log: Executions, name: str) -> Executions:
    """The log with `name` as its outcome, its kind inferred in one pass; rows that broke a rule stay set aside.

    Raises InputError where the log has no such column or metric, or no value of it that can be used.
    """
    if name == log.outcome:
        return log
    frame = _with_values(log, log.frame, name)
    counts = outcome_count(frame, name)
    configuration = dataclasses.replace(log.configuration.about(name), kind=None, grades=())
    kind, reason = infer_kind(configuration, counts)
    value = usable(name, kind).alias("outcome")
    used = usable_values(kind, counts)
    if not used:
        raise InputError(f"The outcome {name} has no usable value in {log.counts.valid} valid rows: name another one.")
    sample, by_file, told = log.sample, log.by_file, without_place(name, kind, counts)

    def chosen(rows: pl.LazyFrame) -> pl.LazyFrame:
        return _with_values(log, rows, name).with_columns(value)

    return dataclasses.replace(
        log,
        frame=frame.with_columns(value),
        tally=None,
        configuration=configuration,
        outcome=name,
        sample=None if sample is None else (lambda *asked: chosen(sample(*asked))),
        by_file=None if by_file is None else (lambda *asked: [chosen(rows) for rows in by_file(*asked)]),
        kind=kind,
        kind_reason=reason,
        cautions=(told,) if told else (),
        counts=dataclasses.replace(log.counts, unjudged=log.counts.valid - used),
    )


def _with_values(log: Executions, rows: pl.LazyFrame, name: str) -> pl.LazyFrame:
    """Rows of the log with a column of that name which holds numbers."""
    schema = rows.collect_schema()
    if name in schema and schema[name].is_numeric() and not name.startswith("__"):
        return rows.with_columns(pl.col(name).cast(pl.Float64))
    known = metrics(log.outcomes) if log.outcomes is not None else []
    reason = dict(log.unused).get(name)
    if log.outcomes is None or name not in known or reason or name in COLUMNS:
        numbers = [c for c, kind in schema.items() if kind.is_numeric() and c not in ("outcome", "row") and c[:2] != "__"]
        raise InputError(
            f"The log has no outcome {name}"
            + (f": {reason}" if reason else "")
            + f"; choose one of {listed([*numbers, *known])}."
        )
    values = metric(log.outcomes, name).rename({"value": name, "scorer": "__scorer"})
    frame = rows.join(values, on="execution_id", how="left", maintain_order="left")
    return frame.with_columns(pl.coalesce("__scorer", "scorer").alias("scorer")).drop("__scorer")
