"""A disk that is full: a verb says so in one sentence, and leaves nothing else than was there. (`score` has its own tests.)

The disk is a file system of a few kilobytes, where mounting one is allowed.
"""

import os
import pathlib
import subprocess
import sys

import pytest
from killed_verbs import Case


@pytest.fixture
def disk(tmp_path):
    """A mounted file system of two pages."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8k", "tmpfs", folder], capture_output=True).returncode:
        pytest.skip("mounting a file system is not allowed here")
    yield folder
    subprocess.run(["umount", folder], check=True)


def check(verb: str, disk: pathlib.Path, folder: pathlib.Path, filled: bool = False) -> None:
    case = Case(verb, folder, disk / "results")
    if filled:
        (disk / "other").write_bytes(bytes(8192))
    try:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "divergence", *map(str, case.second)]
        run = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    finally:
        case.close()
    assert run.returncode == 2 and run.stderr.count("\n") == 1, run.stderr
    assert "cannot be written" in run.stderr and "No space left on device" in run.stderr
    left = [path.name for path in disk.rglob("*") if path.is_file() and path.name != "other"]
    assert left in ([], ["executions.journal"])  # a probe keeps what was measured


@pytest.mark.parametrize("verb", ["import", "compare", "simulate"])
def test_a_full_disk_is_one_sentence(verb, disk, tmp_path):
    check(verb, disk, tmp_path)


@pytest.mark.parametrize("verb", ["init", "preregister", "export", "loop"])
def test_a_disk_without_a_page_is_one_sentence(verb, disk, tmp_path):
    check(verb, disk, tmp_path, filled=True)


@pytest.mark.prove
@pytest.mark.parametrize("verb", ["drift", "probe", "fit", "report", "plan"])
def test_a_full_disk_is_one_sentence_of_the_slow_verbs(verb, disk, tmp_path):
    check(verb, disk, tmp_path)
