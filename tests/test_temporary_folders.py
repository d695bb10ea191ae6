"""Folders for what waits on disk: gone with their process, and those that a killed one left gone with the next."""

import os
import pathlib
import signal
import subprocess
import sys
import tempfile

import pytest

from divergence import temporary_folders
from divergence.temporary_folders import TemporaryFolder, remove_left

HELD = """
import os, sys, time
from divergence.temporary_folders import TemporaryFolder
kept = TemporaryFolder("test")
(kept.path / "rows").write_text("x")
if sys.argv[1:] == ["fork"] and os.fork():
    time.sleep(60)
print(os.getpid(), flush=True)
sys.stdin.read()
"""
RACE = """
import sys
from divergence.temporary_folders import TemporaryFolder, remove_left
print("ready", flush=True)
sys.stdin.readline()
for number in range(300):
    with TemporaryFolder("race") as folder:
        (folder / "rows").write_text("x")
        remove_left()
        assert (folder / "rows").read_text() == "x", number
"""
pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no such locks on this system")


@pytest.fixture
def place(tmp_path, monkeypatch):
    """The folder for temporary folders, of this process and of those that it starts."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def started(place, code, *arguments):
    pipe = subprocess.PIPE
    environment = os.environ | {"TMPDIR": str(place)}
    return subprocess.Popen([sys.executable, "-c", code, *arguments], env=environment, stdin=pipe, stdout=pipe, text=True)


def rows(place):
    return list(place.glob("divergence-*/test-*/rows"))


def test_what_a_killed_process_left_goes_with_the_next_start(place):
    with started(place, HELD) as process:
        process.stdout.readline()
        remove_left()
        assert len(rows(place)) == 1  # it lives
        process.kill()
        process.wait()
        assert len(rows(place)) == 1
        with started(place, HELD) as another:
            another.stdout.readline()
            assert len(list(place.iterdir())) == len(rows(place)) == 1
            another.stdin.close()
            another.wait()
    assert not list(place.iterdir())


def test_a_child_that_outlives_its_parent_keeps_what_it_may_read(place):
    with started(place, HELD, "fork") as process:
        child = int(process.stdout.readline())
        process.kill()
        process.wait()
        remove_left()
        assert len(rows(place)) == 1
        os.kill(child, signal.SIGKILL)
        assert process.stdout.read() == ""  # the child has ended
        remove_left()
    assert not list(place.iterdir())


def test_only_folders_of_our_own_name_kind_and_user_are_removed(place, monkeypatch):
    elsewhere = place / "elsewhere"
    elsewhere.mkdir()
    spared = [elsewhere, place / "divergence-import-old", place / "divergence-x.of-another-machine"]
    spared += [place / f"others{temporary_folders.HELD}"]
    for path in spared:
        path.mkdir(exist_ok=True)
        (path / "rows").write_text("x")
    (place / f"divergence-link{temporary_folders.HELD}").symlink_to(elsewhere)
    (place / f"divergence-file{temporary_folders.HELD}").write_text("x")
    left = place / f"divergence-left{temporary_folders.HELD}"
    left.mkdir()
    before = {*place.iterdir()}
    with monkeypatch.context() as patch:
        patch.setattr(os, "geteuid", lambda: os.getuid() + 1)
        remove_left()
    assert {*place.iterdir()} == before
    remove_left()
    assert {*place.iterdir()} == before - {left}
    assert all((path / "rows").exists() for path in spared)


def test_without_locks_folders_are_made_and_removed_and_never_taken_for_left(place, monkeypatch):
    def refused(*_):
        raise OSError("no locks on this file system")

    monkeypatch.setattr("fcntl.flock", refused)
    kept = TemporaryFolder("test")
    (home,) = place.iterdir()
    remove_left()
    assert not home.name.endswith(temporary_folders.HELD) and kept.path.is_dir()
    kept.remove()
    assert not list(place.iterdir())


def test_all_lie_in_one_that_goes_with_the_last_and_comes_again(place):
    first, second = TemporaryFolder("test"), TemporaryFolder("test")
    assert first.path.parent == second.path.parent and list(place.iterdir()) == [first.path.parent]
    first.remove()
    assert second.path.is_dir()
    second.remove()
    assert not list(place.iterdir())
    with TemporaryFolder("test") as path:
        assert path.is_dir()


def test_it_is_made_where_the_system_says_now(place, tmp_path_factory, monkeypatch):
    other = tmp_path_factory.mktemp("other")
    first = TemporaryFolder("test")
    monkeypatch.setattr(tempfile, "tempdir", str(other))
    second = TemporaryFolder("test")
    assert first.path.is_relative_to(place) and second.path.is_relative_to(other)
    first.remove()
    second.remove()
    assert not list(place.iterdir()) and not list(other.iterdir())


def test_one_whose_home_was_swept_away_by_others_is_made_anew(place):
    first = TemporaryFolder("test")
    for path in [first.path, first.path.parent]:
        path.rmdir()
    with TemporaryFolder("test") as second:
        assert second.is_dir()
    first.remove()
    assert not list(place.iterdir())


def test_processes_that_make_and_sweep_at_once_never_take_each_others(place):
    processes = [started(place, RACE) for _ in range(3)]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()
    for process in processes:
        process.stdin.close()
        process.stdout.close()
        assert process.wait(60) == 0
    assert not list(pathlib.Path(place).iterdir())
