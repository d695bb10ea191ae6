"""Files that are no logs, or cannot be read as they are: one short sentence that names the reason."""

import dataclasses
import gzip
import json
import os

import polars as pl
import pytest

import divergence as dv
from divergence.configuration import Configuration
from divergence.errors import InputError
from divergence.executions.importers import import_log
from divergence.executions.text_tables import wide_text

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


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"])
def test_wide_text_is_named_with_the_way_to_utf_8(tmp_path, encoding):
    path = tmp_path / "folder" / "a b.json"
    path.parent.mkdir()
    path.write_text(json.dumps(LINE), encoding=encoding)
    named = encoding.upper() if encoding[-2:].isdigit() else encoding[:6].upper() + encoding[-2:].upper()
    for given in (path, path.parent):
        with pytest.raises(InputError) as refused:
            import_log([given])
        assert f"it is {named}, and logs are read in UTF-8 (iconv -f {named} -t UTF-8 '" in str(refused.value)
    (path.parent / "b.json").write_text(json.dumps(LINE))
    assert import_log([path.parent]).rejected["rule"].to_list() == ["file_readable"]


@pytest.mark.parametrize("content", [b"", b"\0" * 64, b"a\0", b"PAR1\0\0\0\0" * 9, "\u4e00\u4e8c".encode("utf-16-le") * 40])
def test_what_may_be_anything_is_not_called_wide_text(content):
    assert wide_text(content) is None


@pytest.mark.parametrize("name", ["", " ", "\t", "\u3000", "\u200b", "\u00a0\ufeff", "\x00\x07"])
def test_a_name_of_which_nothing_is_to_be_seen_is_none(tmp_path, name):
    span = LINE["resourceSpans"][0]["scopeSpans"][0]["spans"][0]
    attributes = [span["attributes"][0], {"key": "gen_ai.request.model", "value": {"stringValue": name}}]
    line = {"resourceSpans": [{"scopeSpans": [{"spans": [span, span | {"spanId": "c" * 16, "attributes": attributes}]}]}]}
    (tmp_path / "a.json").write_text(json.dumps(line))
    assert import_log([tmp_path / "a.json"]).rejected["rule"].to_list() == ["model_given"]
    rows = [
        {"request_id": f"r{k}", "model": model, "startTime": "2025-01-01T00:00:00", "spend": 0.1}
        for k, model in enumerate(("m", name))
    ]
    (tmp_path / "b.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert import_log([tmp_path / "b.jsonl"], "litellm").rejected["rule"].to_list() == ["model_given"]
    with pytest.raises(InputError, match="model cannot be set to"):
        import_log([tmp_path / "a.json"], constants={"model": name})
    for column, rule in (("model", "model_given"), ("item", "item_given"), ("context", None)):
        log = pl.DataFrame({"regime": "evaluation", "model": "m", "item": ["i", "j"], "score": 1, "context": "c"})
        log = log.with_columns(pl.Series(column, ["a", name]))
        read = dv.read(log, accept_rejected=1)
        assert read.counts.rejected == ({rule: 1} if rule else {})
        assert rule or read.valid["context"].to_list() == ["a", "not logged"]


def test_a_model_that_is_declared_as_nothing_to_be_seen_is_none():
    log = pl.DataFrame({"regime": "evaluation", "model": ["m", "n"], "item": "i", "score": 1, "context": "c"})
    declared = dataclasses.replace(Configuration(), models={"n": "\u3000"})
    assert dv.read(log, configuration=declared, accept_rejected=1).counts.rejected == {"model_given": 1}


@pytest.mark.parametrize("named", [str, lambda path: path, lambda path: [str(path)], lambda path: iter((path,))])
def test_one_path_is_read_as_a_list_of_it(tmp_path, named):
    (tmp_path / "t.json").write_text(json.dumps(LINE))
    imported = import_log(named(tmp_path / "t.json"))
    assert imported.rows == 1
    assert list(imported.sources) == list(import_log([tmp_path / "t.json"]).sources)


def test_one_path_that_is_not_there_is_named_whole(tmp_path):
    with pytest.raises(InputError, match=f"{tmp_path.name}/absent does not exist"):
        import_log(str(tmp_path / "absent"))


@pytest.mark.parametrize(("given", "seen"), [(None, "None"), (3, "3"), ([b"a"], "a list with a bytes"), ([None], "a list")])
def test_what_is_no_path_is_a_sentence_with_the_line_to_write(given, seen):
    with pytest.raises(InputError, match=rf"paths is a path or a list of paths, seen {seen}.*import_log\('logs/run.json'\)"):
        import_log(given)
