"""Files that are no logs, or cannot be read as they are: one short sentence that names the reason."""

import gzip
import json
import os

import pytest

from divergence.errors import InputError
from divergence.executions.importers import import_log

LINE = {
    "resourceSpans": [
        {
            "scopeSpans": [
                {
                    "spans": [
                        {
                            "traceId": "a" * 32,
                            "spanId": "b" * 16,
                            "attributes": [
                                {"key": "gen_ai.operation.name", "value": {"stringValue": "chat"}},
                                {"key": "gen_ai.request.model", "value": {"stringValue": "m"}},
                            ],
                        }
                    ]
                }
            ]
        }
    ]
}


def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="no regular file"):
        import_log([tmp_path / "pipe"])


@pytest.mark.parametrize("damage", [lambda packed: packed[:-6], lambda packed: b"x" + packed], ids=["cut", "not gzip"])
def test_a_damaged_gzip_says_what_is_wrong(tmp_path, damage):
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(damage(gzip.compress(json.dumps(LINE).encode())))
    with pytest.raises(InputError, match=r"cannot be read: (Compressed file ended|Not a gzipped file)"):
        import_log([path])


def test_the_mark_of_a_byte_order_is_no_part_of_a_log(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps(LINE), encoding="utf-8-sig")
    assert import_log([tmp_path / "a.json"]).rows == 1


@pytest.mark.parametrize("path", ["a.txt", "."])
def test_what_is_unknown_is_said_shortly(tmp_path, path):
    (tmp_path / "a.txt").write_text("nothing that a tool writes")
    with pytest.raises(InputError, match=r"docs/formats\.md") as refused:
        import_log([tmp_path / path])
    assert len(str(refused.value).replace(str(tmp_path), "")) < 200


def test_a_file_given_twice_is_said_once_and_compared_once(logs, tmp_path):
    log = logs("openai_evals") / "before.jsonl"
    copy = tmp_path / "copy.jsonl"
    copy.write_bytes(log.read_bytes())
    imported = import_log([log, copy])
    assert imported.rows == imported.rejected.height == 30
    assert [note for note in imported.notes if "copy" in note] == [
        f"{copy} repeats executions of other files, and gives none of its own."
    ]


def test_an_exception_of_many_lines_keeps_its_class(logs):
    pytest.importorskip("zipfile_zstd")
    errors = import_log([logs("inspect") / "errors"]).executions["error_type"].drop_nulls()
    assert sorted(errors) == ["ModelGenerateError"] * 2 + ["RuntimeError"] * 2


def test_a_time_to_a_token_is_no_secret(logs):
    imported = import_log([logs("aiperf") / "acc-before"])
    assert not any("secret" in note for note in imported.notes)
