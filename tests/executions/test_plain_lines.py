"""The fast test of JSON lines: what it calls plain is read alike by every reader, and what it does not is looked at."""

import json
import random

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from divergence.configuration import Configuration
from divergence.executions import foreign, json_records, plain_lines

FIRST = '{"a": 1, "b": "x", "c": null}'
ODD = [
    '{"a": 1, "a": 2, "c": 1}',  # a name twice
    '{"a": 1, "b": "x", "c": 1',  # cut
    '{"a": 1, "b": "x",',  # cut behind a comma
    '{"a": 1, "b": "x",}',
    '{"a": 1 "b": "x"}',
    '{"a": NaN}',
    '{"a": 1e999}',
    '{"a": 12345678901234567890}',  # more digits than every reader keeps
    '{"a": 01}',
    '{"a": +1}',
    '{"a": 1, "late": 1}',
    '{"a": 1, "b": {"x": 1}}',
    '{"a": 1, "b": [1]}',
    '{"a": 1, "b": "\\ud800"}',
    '{"a": 1, "b": "\\u12"}',
    '{"a": 1, "b": "\t"}',
    '{"\\u0061": 1, "b": "x"}',
    '{"b": 1}',  # without the name that all others have
    "[1]",
    "x",
    '{"a": 1} {"a": 2}',
    "\ufeff" + FIRST,
]
PLAIN = [
    FIRST,
    '{"a":-0.5e-3,"b":"","c":true}',
    ' { "a" : 1 , "c" : false } ',
    '{"a": 1, "b": "\\" \\\\ \\n \\u00e9 \\ud83d\\ude00 é \U0001f600"}',
    '{"a": null}',
]


@pytest.mark.parametrize("line", PLAIN + ODD)
def test_which_lines_are_plain(line):
    told = plain_lines.plain([json.loads(FIRST)], [])
    assert pl.DataFrame({"line": [line]}).select(told).item() == (line in PLAIN)


@pytest.mark.parametrize("line", ['{"a": [1, -2.5]}', '{"a": []}', '{"a": null}'])
def test_lists_of_numbers_are_plain_where_the_first_lines_have_them(line):
    frame = pl.DataFrame({"line": [line]})
    assert frame.select(plain_lines.plain([{"a": [1]}], ["a"])).item()
    assert frame.select(plain_lines.plain([{"a": 1}], [])).item() == ("[" not in line)
    for other in ('{"a": [1, null]}', '{"a": [true]}', '{"a": [[1]]}', '{"a": 1}', '{"a": [1,]}'):
        assert not pl.DataFrame({"line": [other]}).select(plain_lines.plain([{"a": [1]}], ["a"])).item()


def test_names_that_come_and_go_stand_in_the_order_of_the_records():
    names, draw = [f"n{k}" for k in range(12)], random.Random(3)
    records = [{"a": 1} | {name: 1 for name in names if draw.random() < 0.5} for _ in range(40)]
    assert plain_lines.in_order(records) == ["a", *names]
    assert plain_lines.in_order([{"a": 1, "b": 1}, {"b": 1, "a": 1}]) == ["a", "b"]


def test_many_names_are_read_without_the_expression(tmp_path):
    path = tmp_path / "log.jsonl"
    for count in (plain_lines.NAMES, plain_lines.NAMES + 1, 3000):
        row = {f"n{k}": k for k in range(count)}
        assert (plain_lines.plain([row], []) is None) == (count > plain_lines.NAMES)
        path.write_text(f"{json.dumps(row)}\n" * 20)
        assert json_records.scan_ndjson(path).collect().shape == (20, count + 1)


def test_records_without_a_common_name_have_no_plain_lines():
    assert plain_lines.plain([{"a": 1}, {"b": 1}], []) is None


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    st.lists(st.sampled_from(PLAIN + ODD), min_size=1, max_size=4),
    st.integers(0, 1200),
)
def test_odd_lines_among_many_plain_ones_are_read_as_line_by_line(tmp_path_factory, lines, before):
    path = tmp_path_factory.mktemp("lines") / "log.jsonl"
    path.write_text("\n".join([FIRST] * before + lines + [FIRST]) + "\n")
    try:
        slow = json_records.scan_by_line(path).collect()
    except (ValueError, pl.exceptions.PolarsError) as error:
        with pytest.raises(type(error)):
            json_records.scan_ndjson(path).collect()
        return
    fast = json_records.scan_ndjson(path).collect()
    failed = json_records.FAILED_RECORD
    slow = slow if failed in fast.columns else slow.drop(failed)
    assert fast.equals(slow), lines


def test_a_large_file_of_plain_lines_is_not_looked_at_line_by_line(tmp_path, monkeypatch):
    path = tmp_path / "log.jsonl"
    whole, looked = json_records.record, []
    monkeypatch.setattr(json_records, "record", lambda line: looked.append(line) or whole(line))
    monkeypatch.setattr(json_records, "needs_care", None)
    late = '{"a": 2, "late": "y"}'
    path.write_text("\n".join([FIRST] * 5000 + [late, ""]) + "\n")
    read = json_records.scan_ndjson(path)
    assert read.collect_schema().names() == ["__row", "a", "b", "c", "late"]
    assert looked == [FIRST + "\n"] * 1000 + [late]
    for bad, seen in (('{"a": NaN, "b": "z"}', "z"), ('{"a": 3, "b": "\\ud83d"}', "\ufffd"), ('{"a": 1, "a": 2}', None)):
        path.write_text("\n".join([FIRST] * 3000 + [late, bad] + [FIRST] * 3000) + "\n")
        looked.clear()
        read = json_records.scan_ndjson(path).collect()
        assert read["b"][3001] == seen and looked.count(bad) == 2 and len(looked) == 1004
        assert read.equals(json_records.scan_by_line(path).collect())


@pytest.mark.parametrize(
    "first, odd",
    [('{"a": 1, "b": null}', '{"a": 1, "b": [1]}'), ('{"a": 1, "b": [1]}', '{"a": 1, "b": 2}'), (FIRST, '{"a": [1]}')],
)
def test_a_name_of_two_kinds_is_decided_over_the_whole_file(tmp_path, first, odd):
    path = tmp_path / "log.jsonl"
    for second in (first, '{"a": 1, "b": "x"}', '{"a": NaN}'):
        path.write_text("\n".join([first] * 1100 + [second, odd]) + "\n")
        fast, slow = json_records.scan_ndjson(path).collect(), json_records.scan_by_line(path).collect()
        assert fast.equals(slow.select(fast.columns))


def test_many_odd_lines_are_looked_at_as_a_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(plain_lines, "ODD_BYTES", 100)
    path = tmp_path / "log.jsonl"
    path.write_text("\n".join([FIRST] * 1500 + ['{"a": 2, "late": "y"}'] * 10) + "\n")
    read = json_records.scan_ndjson(path).collect()
    assert read["late"].drop_nulls().to_list() == ["y"] * 10
    assert read.equals(json_records.scan_by_line(path).drop(json_records.FAILED_RECORD).collect())


def first_read(path):
    found = json_records.first_records(path)
    assert found is not None
    return found.collect()


def test_whether_lines_are_a_table_is_told_by_the_first_ones(tmp_path, monkeypatch):
    path, row = tmp_path / "log.jsonl", {"resourceSpans": [], "model": "m", "score": 1, "data": {"x": [1, 2]}}
    path.write_text("\n".join([json.dumps({"resourceSpans": []})] * 3 + [json.dumps(row)] * 3) + "\n")
    assert first_read(path).equals(json_records.scan_by_line(path).drop(json_records.FAILED_RECORD).collect())
    monkeypatch.setattr(foreign, "open_sources", None)
    assert not foreign.is_foreign(path, None, Configuration())  # a table, whatever else its lines hold
    path.write_text("\n".join([json.dumps({"resourceSpans": []})] * 3) + "\n")
    assert foreign.is_foreign(path, None, Configuration())
    assert first_read(path).height == 3
    monkeypatch.setattr(json_records, "HEAD", 8)
    assert json_records.first_records(path) is None
