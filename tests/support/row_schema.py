"""The canonical table and its row rules as a dataframely schema: a second engine's verdict on every row."""

from __future__ import annotations

import dataframely as dy
import polars as pl

from divergence.executions.rules import ROW_RULES, SCORE_RULES
from divergence.executions.schema import EXECUTIONS


def row_schema() -> type[dy.Schema]:
    """The schema: every column of the table nullable, and the rules that need nothing but the table."""
    kinds = {
        pl.String(): dy.String,
        pl.Float64(): dy.Float64,
        pl.Int64(): dy.Int64,
        pl.List(pl.Float32): lambda **options: dy.List(dy.Float32(nullable=True), **options),
        pl.Datetime("us", "UTC"): lambda **options: dy.Datetime(time_unit="us", time_zone="UTC", **options),
    }
    body: dict[str, object] = {c.name: kinds[c.dtype](nullable=True) for c in EXECUTIONS}
    for rule in ROW_RULES + SCORE_RULES:
        if rule.table:
            body[rule.name] = dy.rule()(lambda cls, holds=rule.holds: holds)  # noqa: ARG005
    return type("ExecutionRows", (dy.Schema,), body)
