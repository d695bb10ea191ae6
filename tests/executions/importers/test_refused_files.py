"""One file that cannot be read is named, and the others are imported; nothing is written where none can be."""

import gzip
import json

import pytest

from divergence.cli import main
from divergence.comparison import compare
from divergence.errors import InputError
from divergence.executions import read
from divergence.executions.importers import import_log, refused_files

SAMPLE = {"id": "a", "epoch": 1, "uuid": "u", "scores": {"match": {"value": "C"}}}


def spans(folder, name="traces.json", model="m"):
    span = {"traceId": "a" * 32, "spanId": "b" * 16, "name": "chat", "startTimeUnixNano": str(10**18)}
    named = [("gen_ai.operation.name", "chat"), ("gen_ai.request.model", model)]
    attributes = [{"key": key, "value": {"stringValue": value}} for key, value in named]
    span |= {"endTimeUnixNano": str(10**18 + 10**9), "attributes": attributes}
    (folder / name).write_text(json.dumps({"resourceSpans": [{"scopeSpans": [{"scope": {}, "spans": [span]}]}]}))


@pytest.fixture
def mixed(tmp_path, inspect_log):
    """Two good logs of two formats, a truncated archive, a damaged gzip, a document that is none, and a note."""
    inspect_log([SAMPLE])
    spans(tmp_path)
    (tmp_path / "cut.eval").write_bytes(b"PK\x03\x04" + b"\0" * 40)
    whole = gzip.compress(b'{"resourceSpans": []}' * 5000)
    (tmp_path / "damaged.json.gz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "broken.json").write_text('{"resourceSpans": [\n{"scopeSpans": ')
    (tmp_path / "notes.txt").write_text("nothing of interest")
    return tmp_path


def code(*arguments):
    """The exit code of the command."""
    with pytest.raises(SystemExit) as ended:
        main(["import", *map(str, arguments)])
    return ended.value.code


def unread(imported):
    return imported.rejected.filter(imported.rejected["rule"] == "file_readable")


@pytest.mark.parametrize("workers", [0, 2])
def test_the_others_are_imported_and_the_refused_are_named(mixed, workers):
    imported = import_log([mixed], workers=workers)
    assert imported.rows == 2 and set(imported.format.split(", ")) == {"inspect", "otlp"}
    named = unread(imported)
    assert {name.rpartition("/")[2] for name in named["file"]} == {"cut.eval", "damaged.json.gz", "broken.json"}
    assert named["row"].null_count() == 3
    assert all(sentence.startswith(file) for file, sentence in named.select("file", "sentence").rows())
    assert any("1 files of" in note and "notes.txt" in note for note in imported.notes)


def test_the_command_writes_the_others_and_ends_with_one(mixed, capsys):
    out = mixed / "out" / "a.parquet"
    assert code(str(mixed), "-o", str(out), "--json") == 1 and out.exists()
    said = json.loads(capsys.readouterr().out)
    assert said["rows"] == 2 and len(said["refused"]) == 3 and said["rejected_by"]["file_readable"] == 3
    assert read(str(out)).counts.valid == 2
    assert code(str(mixed), "-o", str(out)) == 1
    assert capsys.readouterr().err.count("\nnot read: ") == 3


def test_good_files_alone_end_with_zero_and_bad_ones_alone_with_two(mixed, capsys):
    target = str(mixed / "new.parquet")
    assert code(mixed / "cut.eval", mixed / "broken.json", "-o", target) == 2
    assert "None of these 2 files can be read" in capsys.readouterr().err
    assert code(mixed / "cut.eval", "-o", target) == 2
    said = capsys.readouterr().err
    assert "is not a whole ZIP" in said and "None of" not in said and not (mixed / "new.parquet").exists()
    assert code(str(mixed / "traces.json"), "-o", target) == 0 and (mixed / "new.parquet").exists()


def test_named_files_of_no_known_format_do_not_stop_the_others(mixed):
    imported = import_log([mixed / "traces.json", mixed / "notes.txt"])
    assert imported.rows == 1
    assert "is in no format that is recognised" in unread(imported)["sentence"][0]


@pytest.mark.parametrize("damaged", [1, 4])
def test_every_damaged_file_of_many_is_named_whatever_its_place(tmp_path, damaged):
    for number in range(8):
        spans(tmp_path, f"{number}.json", f"m{number}")
        text = (tmp_path / f"{number}.json").read_text().replace("b" * 16, f"{number:016x}")
        (tmp_path / f"{number}.json").write_text(text[:-4] if number % 8 < damaged else text)
    imported = import_log([tmp_path])
    assert imported.rows == 8 - damaged and unread(imported).height == damaged
    assert sorted(imported.executions["model"]) == [f"m{number}" for number in range(damaged, 8)]


def test_what_no_file_is_to_blame_for_refuses_the_import(tmp_path):
    spans(tmp_path, "a.json")
    spans(tmp_path, "b.json")
    with pytest.raises(InputError, match="No judgement with numbers is named"):
        import_log([tmp_path], primary="helpful")


def test_a_report_stops_at_a_file_that_cannot_be_read_until_that_is_accepted(mixed):
    with pytest.raises(InputError, match="--accept-rejected 1"):
        read([str(mixed / "log.json"), str(mixed / "broken.json")])
    assert read([str(mixed / "log.json"), str(mixed / "broken.json")], accept_rejected=1.0).counts.valid == 1


def test_a_comparison_stops_at_a_file_that_cannot_be_read(mixed):
    logs = mixed / "before"
    logs.mkdir()
    for name in ("log.json", "cut.eval"):
        (mixed / name).rename(logs / name)
    with pytest.raises(InputError, match="is not a whole ZIP archive"):
        compare(logs, logs)


def test_a_file_is_known_by_its_path_its_name_or_its_folder(tmp_path):
    files = [tmp_path / "a.json", tmp_path / "b" / "a.json.gz", tmp_path / "b" / "c.json"]
    named = refused_files._named
    assert named(f"{files[1]} cannot be read: x.", files) == files[1]
    assert named("c.json does not say which model answered.", files) == files[2]
    assert named("The results of c.json name no model.", files) == files[2]
    deep = [tmp_path / ("d" * 100) / ("e" * 100) / name for name in ("one.json", "two.json")]
    assert named(str(InputError(f"{deep[0]} cannot be read: x.")), deep) == deep[0]
    assert named(str(InputError(f"{deep[0].parent} cannot be read: {'x' * 200}.")), deep) in deep
    assert named("15 calls name no model.", files) is None


def test_a_file_that_lies_deep_keeps_its_name_and_what_is_wrong_with_it(mixed):
    deep = mixed.joinpath(*["a folder of many logs of one night".replace(" ", "_")] * 4)
    deep.mkdir(parents=True)
    for name in ("log.json", "cut.eval"):
        (mixed / name).rename(deep / name)
    with pytest.raises(InputError, match=r"cut\.eval is not a whole ZIP archive") as told:
        compare(deep, deep)
    assert len(str(told.value)) <= 300
