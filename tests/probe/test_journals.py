"""Is a journal with any damage read as far as it is whole, its loss counted, and what was lost asked again?"""

import datetime
import json
import math

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from journal_rows import journal_row

from divergence.executions import read
from divergence.probe import run, telemetry
from divergence.probe.store import NEEDED, Store

NOTHING = object()  # the field is not there
ODD = (NOTHING, None, True, 0, -1, 1.5, 2**63, 10**400, 1e308, math.nan, math.inf, "", "x", "1", "\ud800", "\x00", "9" * 400,
       "2026-01-01", "0001-01-01T00:00:00+00:00", "2026-13-01T00:00:00+00:00", [], ["x"], {}, {"a": [{}]})  # fmt: skip
LINES = (
    b"5",
    b"null",
    b"[]",
    b"{}",
    b"x",
    b"\xff\xfe",
    b'"\\ud800"',
    b"[" * 100_000,
    b"9" * 5000,
    b'{"a": 1',
    b"\x00",
    b"\r",
    b" ",
)


def changed(row: dict, field: str, value: object) -> dict:
    return {name: old for name, old in row.items() if name != field} | ({} if value is NOTHING else {field: value})


def lines_of(*rows: dict) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


@pytest.fixture(scope="module")
def whole():
    """Rows with every field that any probe writes."""
    more = dict.fromkeys(("ttft_s", "tpot_s", "queue_s", "cost_usd", "task_length"), 0.5)
    more |= dict.fromkeys(("input_tokens", "cached_tokens", "reasoning_tokens", "draft_tokens", "accepted_tokens"), 2)
    more |= dict.fromkeys(("turn", "calls", "tool_calls", "attempts"), 1)
    more |= dict.fromkeys(
        ("finish_reason", "served_model", "system_fingerprint", "session", "engine", "engine_version"), "x"
    )
    return journal_row(**more)


def test_any_field_may_be_anything(whole, tmp_path):
    """A row that is kept can be written, each with all the others; what a row needs is there in each."""
    fields = [*whole, "embedding", "execution_id", "prompt_hash", "unknown"]
    kept = 0
    for field in fields:
        odd = [changed(changed(whole, "item", f"odd {n}"), field, value) for n, value in enumerate(ODD)]
        path = tmp_path / field / "executions.journal"
        path.parent.mkdir()
        path.write_bytes(lines_of({"plan": "h"}, whole, *odd))
        with Store(path.parent, "h") as store:
            rows = store.rows()
            assert len(store.done) == len(rows) == len(odd) + 1 - store.damaged >= 1 and rows[0] == whole
            assert all(row[name] is not None for row in rows for name in NEEDED)
            table = pl.read_parquet(store.finish())
        assert table.height == len(rows) and whole["item"] in table["item"]
        kept += len(rows) - 1
        if field not in ("unknown", "execution_id"):
            assert store.damaged >= 4, field
    assert kept > len(fields)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.binary(max_size=30) | st.sampled_from(LINES), max_size=6))
def test_any_bytes_may_stand_between_rows(tmp_path_factory, between):
    folder = tmp_path_factory.mktemp("journal")
    rows = [journal_row(item=f"i{n}") for n in range(len(between))]
    content = lines_of({"plan": "h"})
    for row, odd in zip(rows, between, strict=True):
        content += lines_of(row) + odd + b"\n"
    (folder / "executions.journal").write_bytes(content + lines_of(journal_row()))
    with Store(folder, "h") as store:
        assert store.rows() == [*rows, journal_row()]
        ended = sum(1 for odd in between for part in odd.split(b"\n") if part)
        assert store.damaged == ended
        assert pl.read_parquet(store.finish()).height == len(rows) + 1


def test_what_was_damaged_is_asked_again_and_counted(write_plan, tmp_path, stub):
    plan, out = write_plan({f"ok {n}": f"{n}" for n in range(6)}), tmp_path / "out"
    first = pl.read_parquet(run(plan, out, quiet=True).path)
    journal = out / "executions.journal"
    head, *lines = journal.read_bytes().splitlines(keepends=True)
    rows = [json.loads(line) for line in lines]
    damaged = [changed(rows[0], "retries", NOTHING), changed(rows[1], "time", "x"), changed(rows[2], "latency_s", "x")]
    damaged += [changed(rows[3], "item", ["x"]), changed(rows[4], "error_type", NOTHING), rows[5]]
    journal.write_bytes(head + lines_of(*damaged, *rows[5:]) + b"\xff\n")
    stub.requests.clear()
    summary = run(plan, out, quiet=True)
    assert len(stub.requests) == 5 and summary.damaged == 7 and summary.rows == 12
    assert "no whole rows: 7; they were left out, and their items asked again" in str(summary)
    again = pl.read_parquet(summary.path)
    same = ["execution_id", "context", "item", "score", "answer"]
    assert again.select(same).sort(same).equals(first.select(same).sort(same)) and read(out).counts.valid == 12
    assert run(plan, out, quiet=True).damaged == 7  # nothing is thrown away, and what was said is said again


WINDOW = {"window_start": 1.8e9, "window_s": 5.0, "instance": "a", "model": None, "values": {"requests_running": 2.0}}


def test_telemetry_may_be_damaged_anywhere(tmp_path):
    journal, target = tmp_path / "telemetry.journal", tmp_path / "telemetry.parquet"
    odd = [changed(WINDOW, field, value) for field in WINDOW for value in (*ODD, 1e300, -1e12, 1e18)]
    odd += [changed(WINDOW, "values", {"x": value}) for value in ODD[1:]] + [changed(WINDOW, "values", {"\ud800": 1.0})]
    journal.write_bytes(b"\n".join(LINES) + b"\n" + lines_of(*odd, WINDOW) + b'{"window_start": 1.8e9, "wind')
    count, damaged = telemetry.finish(journal, target)
    table = pl.read_parquet(target)
    assert table.height == count and len(odd) > damaged - len(LINES) > len(odd) / 2
    at = datetime.datetime.fromtimestamp(1.8e9, datetime.UTC)
    assert (at, 5.0, "a", None, "requests_running", 2.0) in table.rows()
    journal.write_bytes(b"\n".join(LINES) + b"\n")
    assert telemetry.finish(journal, tmp_path / "none") == (0, len(LINES)) and not (tmp_path / "none").exists()


def test_a_window_is_not_written_onto_the_half_of_one(tmp_path):
    journal = tmp_path / "telemetry.journal"
    for half in (b"", b'{"window_st', lines_of(WINDOW), lines_of(WINDOW) + b"{"):
        journal.write_bytes(half)
        with telemetry._appended(journal) as file:
            file.write(json.dumps(WINDOW) + "\n")
        assert telemetry.finish(journal, tmp_path / "t.parquet") == (
            half.count(b"\n") + 1,
            half not in (b"", lines_of(WINDOW)),
        )
