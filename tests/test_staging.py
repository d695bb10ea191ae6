"""Results appear whole: at every instant at which a run may be killed, a folder holds the old ones or the new ones."""

import os
import pathlib
import signal
import subprocess
import sys
import threading

import pytest

from divergence import staging as module
from divergence.errors import InputError
from divergence.staging import move_into, several, staging, whole

WRITE = """
import os, pathlib, signal, sys
from divergence.staging import _state, move_into, several, staging, whole
left = int(sys.argv[2])
EVENTS = ("os.rename", "os.link", "os.mkdir", "os.remove", "os.rmdir", "os.chmod", "os.chown", "shutil.rmtree")
def count(event, _):
    global left
    if event in EVENTS and %(when)s:
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(count)
folder = pathlib.Path(sys.argv[1])
with staging(folder) as fresh:
    for name in ("a", "b", "c"):
        (fresh / name).write_text("new")
    (fresh / "sub").mkdir()
    (fresh / "sub" / "d").write_text("new")
    move_into(fresh, folder, gone=("g",))
print("done")
"""


def old(folder: pathlib.Path) -> None:
    (folder / "sub").mkdir(parents=True)
    (folder / "kept" / "deep").mkdir(parents=True)
    for name in ("a", "b", "c", "g", "sub/d", "kept/deep/mine", "mine"):
        (folder / name).write_text("old")
    os.symlink("nowhere", folder / "link")


def contents(folder: pathlib.Path) -> dict[str, str]:
    return {
        str(p.relative_to(folder)): p.read_text() for p in sorted(folder.rglob("*")) if p.is_file() and not p.is_symlink()
    }


OLD = {name: "old" for name in ("a", "b", "c", "g", "kept/deep/mine", "mine", "sub/d")}
NEW = {name: "new" if name in ("a", "b", "c", "sub/d") else "old" for name in OLD if name != "g"}


def write(folder: pathlib.Path, text: str = "new") -> None:
    with staging(folder) as fresh:
        for name in ("a", "b", "c"):
            (fresh / name).write_text(text)
        (fresh / "sub").mkdir()
        (fresh / "sub" / "d").write_text(text)
        move_into(fresh, folder, gone=("g",))


@pytest.mark.parametrize("when", ["True", "_state['switching']"])
def test_a_kill_at_every_step_leaves_old_or_new_and_the_next_run_clears_up(tmp_path, when, capfd):
    found = set()
    for step in range(100):
        folder = tmp_path / f"{step}" / "out"
        old(folder)
        run = subprocess.run(
            [sys.executable, "-c", WRITE % {"when": when}, folder, str(step)], capture_output=True, text=True
        )
        assert run.returncode in (0, -signal.SIGKILL), run.stderr
        seen = contents(folder)
        assert seen in (OLD, NEW), step
        found.add(seen == NEW)
        write(folder)
        assert contents(folder) == NEW and (folder / "link").is_symlink()
        assert [path.name for path in folder.parent.iterdir()] == ["out"]
        if run.returncode == 0:
            break
    assert run.returncode == 0 and found == {False, True} and step > 5
    assert "which a run that was killed left behind" in capfd.readouterr().err


MERGE = """
import os, pathlib, signal, sys
from divergence.staging import _state, move_into, staging
left = int(sys.argv[2])
def count(event, _):
    global left
    if event in ("os.rename", "os.link", "os.mkdir", "os.remove", "os.chmod", "os.chown") and _state["switching"]:
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(count)
with staging(pathlib.Path(sys.argv[1])) as fresh:
    (fresh / "sub" / "own").mkdir(parents=True)
    for name in ("sub/d", "sub/e", "sub/own/f"):
        (fresh / name).write_text("new")
    move_into(fresh, pathlib.Path(sys.argv[1]), merged=True)
"""


def test_files_that_are_merged_appear_together_beside_those_of_others(tmp_path):
    before = {**dict.fromkeys(("a", "b", "c", "g", "kept/deep/mine", "mine", "sub/d"), "old"), "sub/theirs": "old"}
    after = {**before, **dict.fromkeys(("sub/d", "sub/e", "sub/own/f"), "new")}
    found = []
    for step in range(100):
        folder = tmp_path / f"{step}" / "out"
        old(folder)
        (folder / "sub" / "theirs").write_text("old")
        run = subprocess.run([sys.executable, "-c", MERGE, folder, str(step)], capture_output=True, text=True)
        assert run.returncode in (0, -signal.SIGKILL), run.stderr
        found.append(contents(folder))
        assert found[-1] in (before, after), step
        if run.returncode == 0:
            break
    assert before in found and found[-1] == after and step > 5
    (folder / "sub" / "own" / "f").write_text("theirs")
    with staging(folder) as fresh:
        (fresh / "sub").mkdir()
        (fresh / "sub" / "e").write_text("newer")
        move_into(fresh, folder, merged=True)
    assert contents(folder) == {**after, "sub/e": "newer", "sub/own/f": "theirs"}


@pytest.mark.parametrize("why", ["no exchange", "too many"])
def test_where_a_folder_cannot_be_exchanged_merged_files_come_one_by_one(tmp_path, monkeypatch, why, capfd):
    old(tmp_path / "out")
    (tmp_path / "out" / "sub" / "theirs").write_text("old")

    def refuse(*_):
        raise OSError(38, "not implemented")

    if why == "no exchange":
        monkeypatch.setattr(module, "_exchange", lambda: refuse)
    else:
        monkeypatch.setattr(module, "OTHERS_MAX", 3)
    with staging(tmp_path / "out") as fresh:
        (fresh / "sub" / "own").mkdir(parents=True)
        (fresh / "sub" / "own" / "f").write_text("new")
        move_into(fresh, tmp_path / "out", merged=True)
    assert contents(tmp_path / "out") == {**dict.fromkeys(OLD, "old"), "sub/theirs": "old", "sub/own/f": "new"}
    assert "one by one" in capfd.readouterr().err


def test_folders_that_others_make_during_the_exchange_are_kept(tmp_path, monkeypatch):
    real = module._exchange()
    if real is None:
        pytest.skip("this system does not exchange folders")

    def late(fresh, folder):
        for name in ("late/deep/file", "zz/file"):
            (folder / name).parent.mkdir(parents=True)
            (folder / name).write_text("theirs")
        real(fresh, folder)

    old(tmp_path / "out")
    monkeypatch.setattr(module, "_exchange", lambda: late)
    write(tmp_path / "out")
    assert contents(tmp_path / "out") == {**NEW, "late/deep/file": "theirs", "zz/file": "theirs"}


def test_a_file_of_an_own_name_is_not_written_over(tmp_path):
    (tmp_path / "lock").write_text("first")
    with pytest.raises(FileExistsError), several([tmp_path / "lock"], new=True) as (part,):
        part.write_text("second")
    assert contents(tmp_path) == {"lock": "first"}
    with several([tmp_path / "other"], new=True) as (part,):
        part.write_text("second")
        assert not (tmp_path / "other").exists()
    assert contents(tmp_path) == {"lock": "first", "other": "second"}


def test_what_else_a_folder_holds_stays_as_it_is(tmp_path):
    folder = tmp_path / "out"
    old(folder)
    folder.chmod(0o700)
    before = {name: (folder / name).stat().st_ino for name in ("mine", "kept/deep/mine")}
    with open(folder / "mine", "a") as file:  # somebody is appending meanwhile
        write(folder)
        file.write(" more")
    assert {name: (folder / name).stat().st_ino for name in before} == before
    assert (folder / "mine").read_text() == "old more"
    assert folder.stat().st_mode & 0o777 == 0o700


def test_a_link_to_a_folder_stays_a_link(tmp_path):
    old(tmp_path / "real")
    os.symlink("real", tmp_path / "out")
    write(tmp_path / "out")
    assert (tmp_path / "out").is_symlink() and contents(tmp_path / "real") == NEW


@pytest.mark.parametrize("there", [True, False])
def test_a_link_to_a_file_stays_a_link(tmp_path, there):
    (tmp_path / "real").mkdir()
    if there:
        (tmp_path / "real" / "file").write_text("old")
    os.symlink("real/file", tmp_path / "out")
    with whole(tmp_path / "out") as part:
        part.write_text("new")
    assert (tmp_path / "out").is_symlink() and (tmp_path / "real" / "file").read_text() == "new"
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "out", "real"]


def test_the_folder_one_stands_in_is_not_exchanged(tmp_path, monkeypatch, capfd):
    old(tmp_path / "out")
    number = (tmp_path / "out").stat().st_ino
    monkeypatch.chdir(tmp_path / "out")
    write(pathlib.Path("."))
    assert contents(tmp_path / "out") == NEW and (tmp_path / "out").stat().st_ino == number
    assert "one by one" in capfd.readouterr().err


@pytest.mark.parametrize("why", ["no exchange", "no links", "too many"])
def test_where_a_folder_cannot_be_exchanged_its_parts_are(tmp_path, monkeypatch, why, capfd):
    old(tmp_path / "out")

    def refuse(*_, **__):
        raise OSError(38, "not implemented")

    if why == "no exchange":
        monkeypatch.setattr(module, "_exchange", lambda: refuse)
    elif why == "no links":
        monkeypatch.setattr(os, "link", refuse)
    else:
        monkeypatch.setattr(module, "OTHERS_MAX", 3)
    write(tmp_path / "out")
    assert contents(tmp_path / "out") == NEW
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert "one by one" in capfd.readouterr().err


def test_a_mount_point_is_written_inside(tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", small], capture_output=True).returncode:
        pytest.skip("mounting a file system is not allowed here")
    try:
        write(small)
        assert contents(small) == {name: "new" for name in ("a", "b", "c", "sub/d")}
        with pytest.raises(InputError, match="No space left on device"), staging(small) as fresh:
            (fresh / "a").write_bytes(b"0" * 1_000_000)
        assert contents(small) == {name: "new" for name in ("a", "b", "c", "sub/d")}
    finally:
        subprocess.run(["umount", small], check=True)


def test_two_writers_wait_for_one_another(tmp_path):
    order = []

    def second():
        write(tmp_path / "out", "second")
        order.append("second")

    with staging(tmp_path / "out") as fresh:
        thread = threading.Thread(target=second)
        thread.start()
        thread.join(0.3)
        for name in ("a", "b", "c"):
            (fresh / name).write_text("first")
        move_into(fresh, tmp_path / "out")
        order.append("first")
    thread.join(10)
    assert order == ["first", "second"]
    assert set(contents(tmp_path / "out").values()) == {"second"}


def test_a_writer_that_waits_too_long_is_refused_by_name(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "WAIT_S", 0.1)
    with (
        staging(tmp_path / "out"),
        pytest.raises(InputError, match="another run is writing to"),
        staging(tmp_path / "out"),
    ):
        pass
    assert not list(tmp_path.iterdir())


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "out").write_text("mine")
    with pytest.raises(InputError, match="cannot be written: Not a directory"):
        write(tmp_path / "out")
    assert contents(tmp_path) == {"out": "mine"}


def test_files_are_whole_and_left_over_parts_go(tmp_path):
    target = tmp_path / "a[1].txt"
    (tmp_path / ".a[1].txt.999999.part").write_text("left by a killed run")
    (tmp_path / ".a1.txt.999999.part").write_text("of another file")
    with pytest.raises(RuntimeError), whole(target) as part:
        part.write_text("half")
        raise RuntimeError
    assert [path.name for path in tmp_path.iterdir()] == [".a1.txt.999999.part"]
    with whole(target) as part:
        part.write_text("one")
        with whole(target) as other:  # a second writer of the same file
            other.write_text("two")
    assert target.read_text() in ("one", "two")
    with several([target, tmp_path / "b"], gone=[tmp_path / ".a1.txt.999999.part"]) as (first, second):
        first.write_text("three")
        second.write_text("four")
        assert target.read_text() != "three"
    assert contents(tmp_path) == {"a[1].txt": "three", "b": "four"}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_nothing_and_one_in_the_switch_lets_it_finish(tmp_path, number):
    script = """
import os, pathlib, signal, sys
from divergence import cli, staging
signal.signal(signal.SIGINT, cli._interrupted); signal.signal(signal.SIGTERM, cli._as_interrupt)
folder = pathlib.Path(sys.argv[1])
def strike(): os.kill(os.getpid(), int(sys.argv[2]))
if sys.argv[3] == "inside":
    real = staging._switched
    staging._switched = lambda *a: (strike(), real(*a))[1]
with staging.staging(folder) as fresh:
    (fresh / "a").write_text("new")
    if sys.argv[3] == "before": strike()
    staging.move_into(fresh, folder)
    if sys.argv[3] == "after": strike()
"""
    for when, code, left, words in (
        ("before", 2, [], "nothing was written"),
        ("inside", 0, ["out"], ""),
        ("after", 2, ["out"], "results are written"),
    ):
        folder = tmp_path / when / "out"
        folder.parent.mkdir()
        run = subprocess.run([sys.executable, "-c", script, folder, str(int(number)), when], capture_output=True, text=True)
        assert (run.returncode, [path.name for path in folder.parent.iterdir()]) == (code, left), run.stderr
        assert words in run.stderr
