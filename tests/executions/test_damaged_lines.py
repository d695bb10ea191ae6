"""Lines that a fast reader and a slow one might take in two ways, and damage that is met while a file is told apart."""

import gzip
import json
import subprocess

import pytest

import divergence as dv
from divergence.errors import InputError
from divergence.executions import plain_lines
from divergence.executions.foreign import is_foreign
from divergence.executions.text_tables import as_utf8

ROWS = [
    {"regime": r, "model": m, "item": f"i{k}", "score": (k + len(m)) % 2, "context": "c", "meta": {"a": k}}
    for r in ("evaluation", "deployment")
    for m in ("a", "bb")
    for k in range(60)
]
SPAN = {
    "resourceSpans": [
        {
            "scopeSpans": [
                {
                    "spans": [
                        {
                            "traceId": "5b8efff798038103d269b633813fc60c",
                            "spanId": "eee19b7ec3c1b174",
                            "name": "chat gpt-4o",
                            "startTimeUnixNano": "1760000000000000000",
                            "endTimeUnixNano": "1760000001000000000",
                            "attributes": [{"key": "gen_ai.request.model", "value": {"stringValue": "gpt-4o"}}],
                        }
                    ]
                }
            ]
        }
    ]
}


def written(path, lines):
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize("odd", [0, 2**30])
def test_a_key_twice_counts_in_the_record_itself_alone(odd, tmp_path, monkeypatch):
    """However large the file is: what a nested value names twice is its text."""
    monkeypatch.setattr(plain_lines, "ODD_BYTES", odd)
    lines = [json.dumps(row) for row in ROWS]
    inner = [*lines[:7], lines[7].replace('"a": 7', '"a": 7, "a": 8'), *lines[8:]]
    outer = [*lines[:7], lines[7].replace('"item"', '"item": "i0", "item"'), *lines[8:]]
    assert dv.read(written(tmp_path / "inner.jsonl", inner)).counts.rejected == {}
    rejected = dv.read(written(tmp_path / "outer.jsonl", outer), accept_rejected=1).counts.rejected
    assert rejected == {"record_readable": 1}


@pytest.mark.parametrize("blank", ["", " \t", "\x0b", "\x0c", "\x85", "\u2028", "\u00a0", "\u3000"])
def test_a_line_of_space_is_none(blank, tmp_path):
    lines = [json.dumps(row) for row in ROWS]
    counts = dv.read(written(tmp_path / "log.jsonl", [*lines[:9], blank, *lines[9:]])).counts
    assert (counts.rows, counts.rejected) == (len(ROWS), {})


def test_a_list_with_a_number_beyond_all_floats_is_read(tmp_path):
    rows = [row | {"v": [1, 10**400 if k == 3 else 2]} for k, row in enumerate(ROWS)]
    assert dv.read(written(tmp_path / "log.jsonl", [json.dumps(row) for row in rows])).counts.valid == len(ROWS)


STRANGE = {"half a letter": {"\ud800": 1}, "huge": {"list": [10**400]}, "our name": {"__row": 1}, "empty": {"": 1}}


@pytest.mark.parametrize("strange", STRANGE)
def test_lines_of_another_tool_with_something_strange_are_still_its_lines(strange, tmp_path):
    path = written(tmp_path / "traces.jsonl", [json.dumps(SPAN | STRANGE[strange])] * 3)
    assert is_foreign(path, "deployment", dv.Configuration())


def test_a_packed_file_that_is_cut_is_a_sentence(tmp_path):
    path = tmp_path / "traces.jsonl.gz"
    packed = gzip.compress("\n".join(json.dumps(SPAN | {"k": k}) for k in range(4000)).encode())
    path.write_bytes(packed[: len(packed) // 2])
    with pytest.raises(InputError, match="cannot be read to its end"):
        dv.read(path)


@pytest.mark.parametrize("packed", [False, True])
def test_the_command_that_is_advised_for_wide_text_works(packed, tmp_path):
    text = "\n".join(json.dumps(row) for row in ROWS) + "\n"
    path = tmp_path / ("a log.jsonl.gz" if packed else "a log.jsonl")
    wide = text.encode("utf-16")
    path.write_bytes(gzip.compress(wide) if packed else wide)
    subprocess.run(as_utf8(path, "UTF-16"), shell=True, check=True, cwd=tmp_path)
    assert (tmp_path / "utf8-a log.jsonl").read_text() == text
