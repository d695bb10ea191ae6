"""A state in which any one field is damaged is refused in one sentence that names it; one that was sealed anew as if it were
right is refused, or is a monitor that works."""

import io
import json
import zipfile

import numpy as np
import pytest
from damaged_fields import of_arrays, of_words, tried

from divergence.drift import monitor
from divergence.drift.one_run import evidence_table, page
from divergence.drift.state import _bytes, _digest, load, save
from divergence.errors import InputError
from divergence.sealed import SEAL, with_seal
from divergence.simulate import stream

SOME = 60  # damages of words and of arrays in the tests; all of them in `make prove`
REFERENCE = 2_000


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A state with alarms and rows that wait: its words and arrays, and the rows that come next."""
    path = tmp_path_factory.mktemp("state") / "state"
    rows = stream("coupling", 1, reference_rows=REFERENCE, chunks=30, chunk_rows=100, change=5)
    items = rows["row"] % 400 if "row" in rows.columns else np.arange(len(rows)) % 400
    rows = rows.with_columns(item=np.asarray(items).astype(str), score=np.arange(len(rows)) // 3 % 2 * 1.0)
    made = monitor(rows[:REFERENCE], horizon=40, chunk_rows=100)
    made.update(rows[REFERENCE:-330])
    save(made, path)
    with zipfile.ZipFile(path) as archive:
        words = json.loads(archive.read("header.json"))
        arrays = {name: np.load(io.BytesIO(archive.read(name))) for name in archive.namelist() if name != "header.json"}
    assert words["alarms"] and words["items"] and "pending.time" in arrays
    words = {name: value for name, value in words.items() if name not in ("version", "digest", SEAL)}
    return words, arrays, rows[-330:]


def written(path, words, arrays, sealed=True):
    body = {name: _bytes(array) for name, array in arrays.items()}
    whole = {"version": 1, "digest": _digest(body)}
    seal = with_seal(words | whole)[SEAL] if sealed else "0" * 64
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("header.json", json.dumps(words | whole | {SEAL: seal}))
        for name, content in body.items():
            archive.writestr(name, content)


def used(path, rows, drawn=False) -> str:
    try:
        made = load(path)
        verdict = made.update(rows)
        json.dumps(verdict.to_json())
        if drawn:
            page(made, verdict, (), ()).encode()
            evidence_table(made)
            save(made, path)
            load(path)
    except InputError as error:
        assert str(error).isprintable() and len(str(error)) <= 300 and str(path.name) in str(error)
        return str(error)
    return "works"


def check(saved, path, most):
    words, arrays, rows = saved
    written(path, words, arrays)
    assert used(path, rows, drawn=True) == "works"
    cases = [[(what, other, arrays) for what, other in of_words(words)]]
    cases += [[(what, words, other) for what, other in of_arrays(arrays)]]

    def use(number, _, other, others):
        if number % 5 == 0:
            written(path, other, others, sealed=False)
            assert "is damaged" in used(path, rows)
        written(path, other, others)
        return used(path, rows, drawn=number % 7 == 0)

    number, refused = tried(cases, most, use)
    print(f"{number} damaged fields, {refused} refused, the others are monitors that work")
    assert refused > number / 2


@pytest.mark.filterwarnings("ignore")
def test_some_damaged_fields_of_a_state(saved, tmp_path):
    check(saved, tmp_path / "state", SOME)


@pytest.mark.prove
@pytest.mark.filterwarnings("ignore")
def test_every_damaged_field_of_a_state(saved, tmp_path):
    check(saved, tmp_path / "state", None)


@pytest.mark.parametrize("header", [b"[" * 200_000, b"[]", b"5", b"\xff", b'{"version": 1}', b'{"a": ' * 50_000])
def test_a_header_that_is_none(header, tmp_path):
    path = tmp_path / "state"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("header.json", header)
    assert "is damaged" in used(path, None)


def test_an_archive_that_unpacks_to_more_than_a_state_is_not_unpacked(tmp_path):
    path = tmp_path / "state"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive, archive.open("x", "w") as part:
        for _ in range(33):
            part.write(bytes(1 << 25))
    assert "larger than 1,024 MiB" in used(path, None)


def test_a_state_of_an_earlier_version_without_a_hash_is_read(saved, tmp_path):
    path, (words, arrays, rows) = tmp_path / "state", saved
    written(path, words, arrays)
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    header = json.loads(parts["header.json"])
    del header[SEAL]
    with zipfile.ZipFile(path, "w") as archive:
        for name, part in {**parts, "header.json": json.dumps(header)}.items():
            archive.writestr(name, part)
    assert used(path, rows) == "works"
