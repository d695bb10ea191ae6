"""The mapping by columns says what the mapping record by record says, on values of every kind."""

import random

import polars as pl
import pytest

from divergence.executions.importers import blocks, convert, written
from divergence.executions.importers.mapping import Draft, Field, Place

SEED = 20261129
FIELDS = (
    Field("execution_id", "id", convert.text, needed=True),
    Field("model", "model", convert.text, needed=True, aliases=("name",)),
    Field("time", "start", written.nanoseconds),
    Field("input_tokens", "in", written.whole, aliases=("in_old",)),
    Field("latency_s", "ms", written.milliseconds),
    Field("latency_s", "s", written.amount),
    Field("finish_reason", "why", written.finish),
    Field("error_type", "error", convert.label),
)
ODD = ("", "0", "7", "-1", "1.5", "3.0", "nan", "inf", "1e3", "abc", " 12 ", "9" * 25, "\ud800", "é", "x" * 300)
VALUES = (
    *ODD,
    0,
    5,
    -2,
    2.5,
    4.0,
    float("nan"),
    float("inf"),
    True,
    False,
    ["stop", "stop"],
    {"a": 1},
    None,
    1795960072161938118,
)


def test_both_ways_give_the_same_rows_notes_and_rejections():
    generator = random.Random(SEED)
    paths = sorted(blocks.paths_of(FIELDS))
    records = []
    for number in range(3000):
        record = {path: generator.choice(VALUES) for path in paths if generator.random() < 0.7}
        records.append({**record, "id": f"r{number % 2900}"} if generator.random() < 0.95 else record)
    single, many = Draft(FIELDS, (), {}), Draft(FIELDS, (), {})
    gathered = blocks.Gathered(paths)
    for row, record in enumerate(records, start=1):
        single.add(record, (), Place("f", row))
        gathered.add(row, record, "f")
    many.extend(blocks.mapped(many, gathered))
    single.settle()
    frame, oracle = (draft.rows.frames()[0].collect() for draft in (many, single))
    assert frame.height > 1000 and frame.equals(oracle)
    key = ("row", "rule")
    assert {tuple(r[k] for k in key) for r in many.rejected} == {tuple(r[k] for k in key) for r in single.rejected}


@pytest.mark.parametrize("conversion", list(written.FAST), ids=lambda conversion: conversion.__name__)
@pytest.mark.parametrize("value", ODD[:12] + ODD[13:])
def test_a_fast_conversion_never_contradicts_the_scalar_one(conversion, value):
    fast = pl.select(written.FAST[conversion](pl.lit(pl.Series([value], dtype=pl.String)))).to_series()[0]
    if fast is not None:
        assert fast == conversion(value)
