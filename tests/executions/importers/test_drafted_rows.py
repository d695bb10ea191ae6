"""Rows of an import while it is read: in order, each execution once, on disk where they are many."""

import collections

import numpy as np
import polars as pl
import pytest

from divergence.executions.importers import drafted_rows
from divergence.executions.importers.drafted_rows import DraftedRows
from divergence.executions.importers.seen_hashes import Repetitions, SeenHashes


def take(rows, identities, chunk=3):
    again = []
    for number, identity in enumerate(identities):
        row = {"execution_id": identity, "model": "m", "score": float(number)}
        rows.add(row, [("acc", float(number), None, "s")], "f", number)
        if number % chunk == chunk - 1:
            again += rows.settle()
    return again + list(rows.settle())


@pytest.mark.parametrize("in_memory", [2, 10**6])
def test_an_execution_is_taken_once_within_and_across_chunks(monkeypatch, in_memory):
    monkeypatch.setattr(drafted_rows, "IN_MEMORY", in_memory)
    rows = DraftedRows()
    identities = ["a", "b", "a", "c", "b", "d", "e", "e", "a", "f"]
    again = take(rows, identities)
    assert [(number, identity) for _, number, identity in again] == [(2, "a"), (4, "b"), (7, "e"), (8, "a")]
    executions, outcomes = (frame.collect() for frame in rows.frames())
    assert executions["execution_id"].to_list() == ["a", "b", "c", "d", "e", "f"]
    assert executions["score"].to_list() == outcomes["value"].to_list() == [0.0, 1.0, 3.0, 5.0, 6.0, 9.0]
    assert rows.height == 6
    assert executions.columns[: len(drafted_rows.schema.COLUMNS)] == list(drafted_rows.schema.COLUMNS)


def test_many_rows_wait_on_disk_and_leave_nothing_behind(monkeypatch):
    monkeypatch.setattr(drafted_rows, "IN_MEMORY", 10)
    rows = DraftedRows()
    assert take(rows, [str(n) for n in range(1000)], chunk=7) == []
    folder = rows._tables["executions"].folder.path
    assert len(list(folder.iterdir())) > 50
    outcomes = rows._tables["outcomes"].folder.path
    frame, _ = rows.frames()
    assert frame.select(pl.col("score").sum()).collect().item() == 999 * 500
    del rows
    assert not folder.exists() and not outcomes.exists()


def test_what_was_seen_is_known_among_a_million():
    seen = SeenHashes()
    names = pl.Series([f"{block}-{n}" for block in range(100) for n in range(1000)]).hash().to_numpy()
    assert all(seen.first(names[start : start + 1000]).all() for start in range(0, len(names), 1000))
    assert seen.first(pl.Series(["99-5", "new", "0-0"]).hash().to_numpy()).tolist() == [False, True, False]
    assert sum(map(len, seen._sorted)) == 100_001
    assert len(seen._sorted) < 20


def test_repetitions_are_numbered_as_one_by_one():
    generator, counted, oracle = np.random.default_rng(20261129), Repetitions(), collections.Counter()
    for size in (0, 1, 50, 400, 3):
        hashes = generator.integers(0, 60, size)
        expected = []
        for value in hashes.tolist():
            oracle[value] += 1
            expected.append(oracle[value])
        assert counted.number(hashes).tolist() == expected
