"""The state: small, bound, refused where it is damaged, never half-written, never counting a row twice."""

import os
import pathlib
import random
import signal
import subprocess
import sys
import time
import zipfile

import pytest

from divergence.drift import monitor
from divergence.drift.state import load, locked, save
from divergence.errors import InputError
from divergence.simulate import stream

REFERENCE = 5_000


@pytest.fixture(scope="module")
def rows():
    return stream("coupling", 1, reference_rows=REFERENCE, chunks=20, change=5)


def test_a_night_between_changes_nothing(rows, tmp_path):
    whole, nightly, path = monitor(rows[:REFERENCE], horizon=40), monitor(rows[:REFERENCE], horizon=40), tmp_path / "state"
    expected = whole.update(rows[REFERENCE:])
    for first in range(REFERENCE, len(rows), 777):
        verdict = nightly.update(
            rows[max(first - 50, REFERENCE) : first + 777]
        )  # each night repeats the end of the last one
        save(nightly, path)
        nightly = load(path)
    same = {name: value for name, value in verdict.to_json().items() if name not in ("notes", "skipped")}
    assert same == {name: value for name, value in expected.to_json().items() if name in same}
    assert verdict.skipped > 0 and os.path.getsize(path) < 1_000_000


def test_another_configuration_version_or_damage_is_refused(rows, tmp_path):
    path = tmp_path / "state"
    save(monitor(rows[:REFERENCE], horizon=40), path)
    with pytest.raises(InputError, match=r"made with alpha = 0.05, asked is 0.01: ask for the same"):
        load(path, {"alpha": 0.01})
    content = path.read_bytes()
    for place in (100, len(content) // 2, len(content) - 40):
        path.write_bytes(content[:place] + bytes([content[place] ^ 255]) + content[place + 1 :])
        with pytest.raises(InputError, match="is damaged"):
            load(path)
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match="is damaged"):
        load(path)
    path.write_text("{}")
    with pytest.raises(InputError, match="is damaged"):
        load(path)
    path.write_bytes(content)
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    parts["header.json"] = parts["header.json"].replace(b'"version": 1', b'"version": 9')
    with zipfile.ZipFile(path, "w") as archive:
        for name, part in parts.items():
            archive.writestr(name, part)
    with pytest.raises(InputError, match="of version 9, this is version 1"):
        load(path)
    with pytest.raises(InputError, match="cannot be read"):
        load(tmp_path / "none")


def test_two_runs_cannot_share_a_state(tmp_path):
    with locked(tmp_path / "state"), pytest.raises(InputError, match="locked by another run"), locked(tmp_path / "state"):
        pass
    with locked(tmp_path / "state"):
        pass


WRITER = """
import pathlib, sys
from divergence.drift import monitor
from divergence.drift.state import load, locked, save
from divergence.simulate import stream

path = pathlib.Path(sys.argv[1])
rows = stream("null", 1, reference_rows=2000, chunks=400, chunk_rows=100)
with locked(path):
    made = load(path) if path.exists() else monitor(rows[:2000], horizon=400, chunk_rows=100)
    if not path.exists():
        save(made, path)
    print("ready", flush=True)
    while made.rows < 40_000:
        made.update(rows[2000 + made.rows : 2000 + made.rows + 100])
        save(made, path)
"""


@pytest.mark.parametrize("kills", [3, pytest.param(20, marks=pytest.mark.prove)])
def test_killed_again_and_again_it_is_whole(kills, tmp_path):
    path = tmp_path / "state"
    environment = {**os.environ, "PYTHONPATH": str(pathlib.Path(__file__).parents[2])}
    seen, rng = 0, random.Random(3)
    for _ in range(kills):
        process = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, env=environment)
        process.stdout.readline()
        time.sleep(rng.uniform(0.02, 0.25))
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        made = load(path)  # whole, and its lock is free
        assert made.rows >= seen and made.rows == made.evidence.chunks * 100
        seen = made.rows
    rows = stream("null", 1, reference_rows=2000, chunks=400, chunk_rows=100)
    once = monitor(rows[:2000], horizon=400, chunk_rows=100)
    once.update(rows[2000 : 2000 + seen])
    assert made.evidence.mixture.tobytes() == once.evidence.mixture.tobytes()  # no row was lost or counted twice
