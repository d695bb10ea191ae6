"""Text that is parsed once and packed: the same rows, there as long as anything reads them, and no longer."""

import gc
import gzip
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import polars as pl
import pytest

import divergence as dv
from divergence.errors import InputError
from divergence.executions import held_sources
from divergence.temporary_folders import TemporaryFolder, remove_temporary_folders


@pytest.fixture
def packed(tmp_path, monkeypatch):
    """Every text is packed, into this folder."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(held_sources, "IN_MEMORY", 0)
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture(params=["log.jsonl", "log.csv"])
def log(request, tmp_path):
    rows = pl.DataFrame(
        {
            "regime": ["evaluation", "deployment"] * 300,
            "model": ["a", "b", " "] * 200,
            "item": [f"i{k}" for k in range(600)],
            "score": [k % 2 for k in range(600)],
            "context": ["c", None] * 300,
        }
    )
    path = tmp_path / request.param
    rows.write_csv(path) if path.suffix == ".csv" else rows.write_ndjson(path)
    return path


def test_packed_rows_are_the_rows(packed, log, monkeypatch):
    read = dv.read(log, accept_rejected=1)
    assert list(packed.glob("*/*/rows.arrow"))
    monkeypatch.setattr(held_sources, "IN_MEMORY", 2**30)
    plain = dv.read(log, accept_rejected=1)
    assert read.counts == plain.counts and read.counts.rejected == {"model_given": 200}
    assert read.valid.equals(plain.valid) and read.rejected.equals(plain.rejected)
    for plan in (
        lambda rows: rows.head(7).filter(pl.col("score") == 1),
        lambda rows: rows.filter(pl.col("score") == 1).head(7),
    ):
        assert plan(read.scan()).collect().equals(plan(plain.scan()).collect())


def test_they_are_there_as_long_as_a_plan_reads_them(packed, log):
    rows = dv.read(log, accept_rejected=1).scan().select("model", "item")
    gc.collect()
    assert rows.collect().height == 400 and list(packed.iterdir())
    del rows
    gc.collect()
    assert not list(packed.iterdir())


def test_without_room_and_with_long_texts_the_text_is_passed_over(packed, log, monkeypatch, tmp_path):
    monkeypatch.setattr(held_sources, "ROOM", shutil.disk_usage(packed).total)
    assert dv.read(log, accept_rejected=1).counts.valid == 400 and not list(packed.iterdir())
    monkeypatch.setattr(held_sources, "ROOM", 2)
    path = tmp_path / "long.jsonl"
    row = {"regime": "evaluation", "model": "m", "score": 1, "context": "c", "prompt": "word " * 100}
    path.write_text("\n".join(json.dumps(row | {"item": f"i{k}"}) for k in range(50)))
    assert dv.read(path).counts.valid == 50 and not list(packed.iterdir())


FORKED = """
import gc, os, sys
import divergence as dv
from divergence.executions import held_sources
from divergence.temporary_folders import remove_temporary_folders

held_sources.IN_MEMORY = 0
read = dv.read(sys.argv[1], accept_rejected=1)
child = os.fork()
if not child:
    del read
    gc.collect()
    remove_temporary_folders()
    os._exit(0)
os.waitpid(child, 0)
print(len(os.listdir(os.environ["TMPDIR"])), read.scan().collect().height)
"""


def test_a_forked_child_leaves_the_folder_to_its_parent(log, tmp_path):
    folder = tmp_path / "temporary"
    folder.mkdir()
    # In a process of its own: what else this one has imported need not like a fork.
    command = [sys.executable, "-c", FORKED, str(log)]
    done = subprocess.run(command, env=os.environ | {"TMPDIR": str(folder)}, capture_output=True, timeout=120, check=False)
    assert done.stdout.split() == [b"1", b"400"], done.stderr.decode()
    assert not list(folder.iterdir())


@pytest.mark.usefixtures("packed")
def test_a_folder_goes_with_its_block_and_with_all_others():
    with TemporaryFolder("test") as path:
        (path / "x").write_text("y")
    kept = TemporaryFolder("test")
    assert not path.exists() and kept.path.is_dir()
    remove_temporary_folders()
    assert not kept.path.exists()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_command_leaves_none(how, tmp_path):
    """Interrupted while the packed rows are there: a report that fits for a while."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    rows = [
        f"{r},m{m},i{i},{(i * m) % 2},c{c}"
        for r in ("evaluation", "deployment")
        for m in range(9)
        for i in range(400)
        for c in range(9)
    ]
    (tmp_path / "log.csv").write_text("regime,model,item,score,context\n" + "\n".join(rows) + "\n")
    code = (
        "from divergence.executions import held_sources; held_sources.IN_MEMORY = 0; from divergence.cli import main; main()"
    )
    command = [sys.executable, "-c", code, "report", "log.csv", "-o", "out"]
    run = subprocess.Popen(command, cwd=tmp_path, env=os.environ | {"TMPDIR": str(folder)}, stderr=subprocess.PIPE)
    for _ in range(600):
        if list(folder.glob("divergence-*/read-*/rows.arrow")) or run.poll() is not None:
            break
        time.sleep(0.05)
    run.send_signal(how)
    said = run.communicate(timeout=60)[1].decode()
    assert run.returncode == 2 and "interrupted; nothing was written" in said
    assert not list(folder.iterdir())


@pytest.mark.parametrize("name", ["log.csv", "log.csv.gz"])
@pytest.mark.parametrize("held", [0, 2**30])
def test_a_row_with_too_many_fields_is_seen_though_no_question_reads_the_last_column(name, held, tmp_path, monkeypatch):
    monkeypatch.setattr(held_sources, "IN_MEMORY", held)
    rows = [f"{r},a,i{i},{i % 2},x,p" for r in ("evaluation", "deployment") for i in range(200)]
    text = (
        "regime,model,item,score,context,prompt\n" + "\n".join([*rows[:50], "evaluation,a,one,0,1,x,p", *rows[50:]]) + "\n"
    )
    (tmp_path / name).write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    with pytest.raises(InputError, match="line 52 has 7 fields, the header 6"):
        dv.read(tmp_path / name)
