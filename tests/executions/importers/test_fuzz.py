"""Hostile files of every format: whatever is changed, an import gives tables, rejected rows or one InputError.

A few examples here; `make fuzz` runs thousands of them a format (`DIVERGENCE_FUZZ`), drawn anew in each run: a third is
damage to bytes, a sixth to lines, and half to values. Seeds are genuine files of other tools, where they are at hand, and
`tests/corpus/imports`, which holds every input that was once read wrongly, made anew as small as it can be.
"""

import gzip
import json
import os
import resource
import tempfile
import zipfile
from pathlib import Path

import polars as pl
import pytest
from damage import EDIT, LINES, MEMORY, ODD, STEPS, changed, peak, replaced, shuffled, survives
from genuine_logs import genuine, rewritten, rewritten_cells
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from divergence.errors import InputError
from divergence.executions.importers import foreign_files, formats, import_log

CORPUS = sorted((Path(__file__).parents[2] / "corpus" / "imports").iterdir())
ASKED = int(os.environ.get("DIVERGENCE_FUZZ", "0"))
SMALL = 200_000  # bytes of a file that is changed again and again
FILES = 6  # of one format


def settled(files, share):
    """How many examples of one file: those asked for of a format are shared out."""
    return settings(
        max_examples=-(-round(ASKED * share) // len(files)) or 12,
        deadline=None,
        derandomize=not ASKED,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )


@pytest.fixture(autouse=True)
def bounded():
    """Thousands of files one after the other take no more memory than a few."""
    yield
    assert not ASKED or peak() < MEMORY


def smallest(name):
    files = sorted(genuine(SMALL).get(name, ()), key=lambda path: path.stat().st_size)
    files = list({path.read_bytes(): path for path in reversed(files)}.values())[::-1]
    own = [path for path in CORPUS if path.name.startswith(f"{name}--")]
    if not files and not own:
        pytest.skip(f"no genuine file of {name} under ../shared")
    return own[: FILES // 2] + files[: FILES - FILES // 2] if ASKED else (files or own)[:2]


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.name)
def test_the_corpus(path):
    survives({path.name: path.read_bytes()}, path.name, path.name.split("--")[0])


@pytest.mark.parametrize("name", formats())
def test_bytes_of_every_format(name):
    check_content(name, EDIT, changed, 1 / 3)


@pytest.mark.parametrize("name", formats())
def test_lines_of_every_format(name):
    check_content(name, LINES, shuffled, 1 / 6)


def check_content(name, edit, change, share):
    files = smallest(name)
    for path in files:
        check_file(path, name, edit, change, settled(files, share))


def check_file(path, name, edit, change, how_many):
    content = path.read_bytes()

    @how_many
    @given(st.lists(edit, min_size=1, max_size=3))
    def check(edits):
        survives({path.name: change(content, edits)}, path.name, name)

    check()


@pytest.mark.parametrize("name", formats())
def test_values_of_every_format(name):
    files = smallest(name)
    for path in files:
        check_values(path, name, settled(files, 1 / 2))


def check_values(path, name, how_many):
    @how_many
    @given(st.lists(st.tuples(STEPS, st.sampled_from(ODD)), min_size=1, max_size=3))
    def check(changes):
        def change(document):
            for steps, new in changes:
                document = replaced(document, steps, new)
            return document

        with tempfile.TemporaryDirectory() as folder:
            target = Path(folder) / path.name
            try:
                made = rewritten(path, target, change) or rewritten_cells(path, target, change)
            except (UnicodeEncodeError, TypeError, OverflowError, ValueError, pl.exceptions.PolarsError):
                return  # such a file cannot be written at all
            if made:
                survives({path.name: target.read_bytes()}, path.name, name)

    check()


def sample(**more):
    return {"id": "a", "epoch": 1, "uuid": "u", "scores": {"match": {"value": "C"}}, **more}


HEADER = {"version": 2, "status": "success", "eval": {"task": "t", "model": "m", "run_id": "r"}, "plan": {}}


def archive(path, members, method=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", method) as file:
        for name, content in members.items():
            file.writestr(name, content if isinstance(content, bytes) else json.dumps(content))
    return path


def test_a_bomb_is_refused_before_it_fills_the_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(foreign_files, "ARCHIVE_FLOOR", 10_000_000)
    nothing = b'{"id": "a", "x": "' + b"0" * 5_000_000 + b'"}'
    members = {f"samples/{n}_epoch_1.json": nothing for n in range(40)}
    path = archive(tmp_path / "bomb.eval", {"header.json": HEADER, **members})
    assert sum(len(nothing) for _ in members) > 500 * path.stat().st_size
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(InputError, match="unpacks to more than 100 times its size"):
        import_log([path])
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    assert grown < 100_000_000  # of 200 MB: the bytes of a few members, their text, and one parsed document


def test_one_large_member_is_one_rejected_row(tmp_path, monkeypatch):
    monkeypatch.setattr(foreign_files, "MEMBER_BYTES", 1000)
    members = {"samples/a_epoch_1.json": sample(), "samples/b_epoch_1.json": sample(uuid="v", x="0" * 2000)}
    imported = import_log([archive(tmp_path / "a.eval", {"header.json": HEADER, **members})])
    assert imported.rows == 1
    assert "unpacks to more than" in imported.rejected["sentence"][0]


def test_a_line_of_a_hundred_megabytes_is_one_rejected_row(tmp_path):
    line = json.dumps({"doc_id": 0, "filtered_resps": ["a"], "metrics": ["acc"], "acc": 1.0, "filter": "none"}).encode()
    path = tmp_path / "samples_t_2026-01-01T00-00-00.0.jsonl"
    path.write_bytes(
        line + b'\n{"doc_id": 1, "x": "' + b"0" * 100_000_000 + b'"}\n' + line.replace(b": 0", b": 2", 1) + b"\n"
    )
    imported = import_log([path], constants={"model": "m"})
    assert imported.executions["item"].to_list() == ["t/0", "t/2"]
    assert imported.rejected.select("row", "rule").rows() == [(2, "record_readable")]
    assert "longer than 64 MiB" in imported.rejected["sentence"][0]


def test_names_that_climb_out_of_an_archive_write_nothing(tmp_path):
    inside = tmp_path / "inside"
    inside.mkdir()
    members = {"../../samples/a_epoch_1.json": sample(), "samples/../../b_epoch_1.json": sample(uuid="v")}
    import_log([archive(inside / "a.eval", {"header.json": HEADER, **members})])
    assert [path.name for path in tmp_path.iterdir()] == ["inside"]
    assert [path.name for path in inside.iterdir()] == ["a.eval"]


@pytest.mark.parametrize("kind", ["truncated", "checksum", "nested", "utf8"])
def test_damaged_archives_and_documents_are_one_sentence_or_rejected_rows(tmp_path, kind):
    content = {"nested": b"[" * 100_000, "utf8": b'{"id": "\xff\xfe", "epoch": 1, "scores": {"match": {"value": "C"}}}'}.get(
        kind, json.dumps(sample(uuid="v")).encode()
    )
    path = archive(
        tmp_path / "a.eval",
        {"header.json": HEADER, "samples/a_epoch_1.json": sample(), "samples/b_epoch_1.json": content},
        zipfile.ZIP_STORED,
    )
    data = path.read_bytes()
    if kind == "truncated":
        path.write_bytes(data[:-60])
        with pytest.raises(InputError, match="not a whole ZIP"):
            import_log([path])
        return
    if kind == "checksum":
        path.write_bytes(data.replace(b'"uuid": "v"', b'"uuid": "w"', 1))
    imported = import_log([path])
    assert imported.rows == 1
    assert imported.rejected.height == 1


def test_a_gzip_bomb_of_one_document_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(foreign_files, "DOCUMENT_BYTES", 10_000_000)
    path = tmp_path / "log.json.gz"
    path.write_bytes(gzip.compress(b'{"status": "success", "eval": {"model": "m"}, "x": "' + b"0" * 20_000_000 + b'"}'))
    with pytest.raises(InputError, match="which one JSON document may have"):
        import_log([path])
