"""What is worked out over all calls in pieces is what one expression over all of them gives."""

import datetime

import numpy as np
import polars as pl
import pytest

from divergence.executions.importers import span_tree, trace_buckets
from divergence.executions.importers.mapping import Draft

TIME = pl.Datetime("us", "UTC")


def drawn(draw, height, **columns):
    """Columns of few values, a fifth of them absent."""
    made = {}
    for name, dtype in columns.items():
        values = pl.Series(draw.integers(0, 6, height), dtype=pl.Int64)
        values = values.cast(pl.String) if dtype in (pl.String, pl.Categorical) else values
        made[name] = values.cast(dtype).set(pl.Series(draw.random(height) < 0.2), None)
    return pl.DataFrame(made)


@pytest.mark.parametrize("together", [500_000, 7], ids=["at once", "in pieces"])
def test_turns_are_the_rank_by_start_within_the_session(monkeypatch, together):
    monkeypatch.setattr(span_tree, "TOGETHER", together)
    draw, turns = np.random.default_rng(0), 0
    order = pl.struct("time", "__row").rank("ordinal").over("session") - 1
    shared = pl.col("session").is_not_null() & (pl.len().over("session") > 1)
    for _ in range(100):
        calls = drawn(draw, int(draw.integers(0, 60)), session=pl.UInt64, time=TIME, __row=pl.UInt32)
        calls = calls.with_columns(pl.col("__row").fill_null(0))
        expected = calls.select(turn=pl.when(shared).then(order.cast(pl.Int64)))["turn"]
        found = span_tree.in_sessions(calls)["turn"].cast(pl.Int64)
        assert found.to_list() == expected.to_list()
        turns += found.count()
    assert turns > 1000


@pytest.mark.parametrize("together", [500_000, 7], ids=["at once", "in pieces"])
def test_a_failed_call_has_the_version_of_the_last_call_before_it_else_of_the_first_after(monkeypatch, together):
    monkeypatch.setattr(span_tree, "TOGETHER", together)
    draw, filled = np.random.default_rng(1), 0
    for _ in range(60):
        height = int(draw.integers(1, 60))
        calls = drawn(draw, height, served=pl.String, version=pl.String)
        instants = pl.Series("time", 10**6 * (1 + draw.permutation(height))).cast(TIME)
        if draw.random() < 0.5:
            instants = instants.set(pl.Series(range(height)) == 0, None)  # one call without a time is before all others
        calls = calls.with_columns(pl.col("served").fill_null("0"), instants, failed=pl.Series(draw.random(height) < 0.5))
        rows, expected = calls.rows(named=True), []
        start = datetime.datetime.fromtimestamp(0, datetime.UTC)
        stated = sorted((r["time"] or start, r["served"], r["version"]) for r in rows if r["version"] is not None)
        for row in rows:
            met = [(when, version) for when, served, version in stated if served == row["served"]]
            before = [version for when, version in met if when <= (row["time"] or start)]
            asked = row["failed"] and row["version"] is None and met
            expected.append((before[-1] if before else met[0][1]) if asked else row["version"])
            filled += bool(asked)
        draft = Draft((), (), {})
        assert span_tree.served_version(calls, draft)["version"].to_list() == expected
    assert filled > 100


def test_buckets_hold_whole_traces_in_order_and_come_back_in_places(monkeypatch):
    monkeypatch.setattr(trace_buckets, "IN_MEMORY", 50)
    monkeypatch.setattr(trace_buckets, "HELD", 10)
    draw = np.random.default_rng(2)
    schema = {span_tree.TRACE: pl.UInt64(), "value": pl.Int64(), "never": pl.String()}
    columns = {span_tree.TRACE: draw.integers(0, 40, 500), "value": range(500), "never": [None] * 500}
    calls = pl.DataFrame(columns, schema=schema)
    calls = calls.with_row_index(span_tree.PLACE)
    buckets = trace_buckets.TraceBuckets(calls.clear(), calls.clear())
    for start in range(0, 500, 30):
        buckets.keep(trace_buckets.CALLS, calls[start : start + 30])
        buckets.keep(trace_buckets.SPANS, calls[start : start + 30])
    parts = list(buckets.cut())
    assert len(parts) == trace_buckets.BUCKETS
    traces = [set(part[span_tree.TRACE]) for part, _ in parts]
    assert sum(map(len, traces)) == len(set().union(*traces)) == calls[span_tree.TRACE].n_unique()
    assert all(part.equals(spans) and part["value"].is_sorted() for part, spans in parts)
    assert trace_buckets.in_places([part for part, _ in parts]).equals(calls)
