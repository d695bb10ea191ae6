"""Going on after any interruption: what is finished is kept, what changed is done again, nothing is half-written."""

import functools
import os
import pathlib
import random
import resource
import shutil
import signal
import subprocess
import sys
import time

import polars as pl
import pytest
import small_scorer
from small_scorer import ENGINES, ITEMS, MODELS, requests, tree

from divergence.errors import InputError
from divergence.scoring.filesystems import place
from divergence.scoring.outputs import record
from divergence.scoring.score import Progress, score_log

score = functools.partial(score_log, load=small_scorer.load, workers=0)


def inodes(folder):
    """Which file each name is: a result that was kept is the same file."""
    return {p.relative_to(folder).as_posix(): p.stat().st_ino for p in sorted(folder.rglob("*.parquet"))}


def test_finished_partitions_are_skipped_and_changed_ones_done_again(model, logs, tmp_path):
    out = tmp_path / "out"
    score(model, [logs], out)
    first, whole = inodes(out), tree(out)
    score(model, [logs], out)
    assert inodes(out) == first
    (out / "part-1.parquet").unlink()
    requests(50, 9).write_parquet(logs / "part-2.parquet")
    (out / "part-3.parquet").write_bytes((out / "part-3.parquet").read_bytes()[:-40])
    pl.DataFrame({"a": [1]}).write_parquet(out / "part-4.parquet")
    score(model, [logs], out)
    now = inodes(out)
    assert {n for n in now if now[n] != first.get(n)} >= {"part-2.parquet", "part-3.parquet", "part-4.parquet"}
    assert now["part-0.parquet"] == first["part-0.parquet"] and now["late/part-5.parquet"] == first["late/part-5.parquet"]
    assert {n for n, h in tree(out).items() if h != whole[n]} == {"part-2.parquet", "manifest.json"}


def test_a_changed_model_or_declaration_does_all_again(model, logs, tmp_path):
    out = tmp_path / "out"
    score(model, [logs], out)
    before = tree(out)
    small_scorer.save(model, MODELS, ENGINES, ITEMS, seed=1)
    score(model, [logs], out)
    assert not {n for n, h in tree(out).items() if before[n] == h}
    before = inodes(out)
    score(model, [logs], out, accept_rejected=0.5)
    assert not {n for n, i in inodes(out).items() if before[n] == i}


def test_a_file_that_no_score_wrote_keeps_its_name(model, logs, tmp_path):
    (tmp_path / "out").mkdir()
    pl.DataFrame({"a": [1]}).write_parquet(tmp_path / "out/part-1.parquet")
    (logs / "part-1.parquet").write_bytes(b"broken")
    assert score(model, [logs], tmp_path / "out").manifest["outdated"] == []
    assert pl.read_parquet(tmp_path / "out/part-1.parquet").columns == ["a"]


@pytest.mark.parametrize("kills", [3, pytest.param(20, marks=pytest.mark.prove)])
def test_killed_at_random_moments_it_goes_on_to_the_same_bytes(kills, tmp_path, logs):
    """`kill -9` of the run in the middle of its work, each time at another moment, two worker processes included."""
    dice = random.Random(8)
    model = small_scorer.save(tmp_path / "slow", MODELS, ENGINES, ITEMS, misbehave={"slow": "m0"})
    begin = time.monotonic()
    score(model, [logs], tmp_path / "whole")
    length = time.monotonic() - begin
    out, interrupted = tmp_path / "out", 0
    program = (
        "import sys, small_scorer; from divergence.scoring.score import score_log\n"
        "if __name__ == '__main__':\n    print('ready', flush=True)\n"
        "    score_log(sys.argv[1], [sys.argv[2]], sys.argv[3], load=small_scorer.load, workers=int(sys.argv[4]))\n"
    )
    script = tmp_path / "run.py"
    script.write_text(program)
    path = os.pathsep.join([str(pathlib.Path(__file__).parents[2]), str(pathlib.Path(small_scorer.__file__).parent)])
    for kill in range(kills):
        if kill % 5 == 0:
            shutil.rmtree(out, ignore_errors=True)
        workers = 2 if kill % 4 == 2 else 0
        run = subprocess.Popen(
            [sys.executable, script, model, logs, out, str(workers)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": path},
        )
        assert run.stdout.readline() == b"ready\n"
        time.sleep(dice.uniform(0, length) + (1.0 if workers else 0))
        run.send_signal(signal.SIGKILL)
        _, error = run.communicate()
        assert run.returncode in (0, -signal.SIGKILL), error
        interrupted += run.returncode != 0
        for path_ in out.rglob("*.parquet"):  # whatever has a result's name is whole
            assert record(place(path_)) is not None and pl.read_parquet(path_).height > 0
    assert interrupted
    for _ in range(100):  # the workers of a killed run end by themselves
        try:
            score(model, [logs], out)
            break
        except InputError:
            time.sleep(0.1)
    assert tree(out) == tree(tmp_path / "whole")


def test_a_full_disk_fails_with_a_sentence_and_loses_nothing(model, logs, tmp_path):
    """A limit on the size of files stands for a disk that is full: large partitions fail, small ones are kept."""
    requests(60000, 9).write_parquet(logs / "part-9.parquet")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, before[1]))
    try:
        scored = score(model, [logs], tmp_path / "out")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [f["partition"] for f in scored.failed] == [str(logs / "part-9.parquet")]
    assert "file too large" in scored.failed[0]["reason"]
    assert len(inodes(tmp_path / "out")) == 6 and not list((tmp_path / "out").rglob("*.part"))
    score(model, [logs], tmp_path / "whole")
    score(model, [logs], tmp_path / "out")
    assert tree(tmp_path / "out") == tree(tmp_path / "whole")


def test_a_full_file_system_fails_with_a_sentence(model, logs, tmp_path):
    """The same on a real file system of 200 kB, where mounting one is allowed."""
    small = tmp_path / "small"
    small.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", small], capture_output=True)
    if done.returncode:
        pytest.skip("mounting a file system is not allowed here")
    try:
        requests(60000, 9).write_parquet(logs / "part-9.parquet")
        scored = score(model, [logs], small / "out")
        assert "no space left" in " ".join(f["reason"] for f in scored.failed)
        assert not list(small.rglob("*.part"))
        for path in small.rglob("*.parquet"):
            assert record(place(path)) is not None
    finally:
        subprocess.run(["umount", small], check=True)


def test_output_that_cannot_be_written_is_one_sentence(model, logs, tmp_path):
    (tmp_path / "file").write_text("")
    for output in (tmp_path / "file", tmp_path / "file" / "out", "/proc/out"):
        with pytest.raises(InputError, match="cannot be written"):
            score(model, [logs], output)


def test_an_input_that_vanishes_or_changes_while_it_is_read_is_one_failure(model, logs, tmp_path):
    class Meddler(Progress):
        def done(self, outcome):
            name = pathlib.Path(outcome.job.partition.name).name
            if name == "part-5.parquet":  # the first in order
                (logs / "part-3.parquet").unlink()

        def tell(self, rows, _):
            if rows == 2200:
                requests(2200, 77).write_parquet(logs / "part-2.parquet")

    scored = score(model, [logs], tmp_path / "out", progress=Meddler())
    reasons = {pathlib.Path(f["partition"]).name: f["reason"] for f in scored.failed}
    assert reasons == {
        "part-2.parquet": "it changed while it was read; run again",
        "part-3.parquet": "no such file or directory",
    }
    assert sorted(p.name for p in (tmp_path / "out").rglob("*.parquet")) == [f"part-{k}.parquet" for k in (0, 1, 4, 5)]


def test_two_runs_never_share_an_output(model, logs, tmp_path):
    class Other(Progress):
        def start(self, *_):
            with pytest.raises(InputError, match="another run is writing"):
                score(model, [logs], tmp_path / "out")

    score(model, [logs], tmp_path / "out", progress=Other())
