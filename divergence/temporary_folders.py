"""Folders for what waits on disk: each is there as long as the object that holds it, or the process that made it.

All folders of a process lie in one, which goes with the last of them. A forked child never removes its parent's. The command
removes them when it is interrupted. What ends a process at once (SIGKILL, or `os._exit` in a host application) leaves them:
the next process of the same user that makes one removes them first.

Which were left is told by a lock on the folder: the system takes it from a process however that ends, and a forked child,
which may read what its parent packed, has it as well. (Numbers of processes are given out again, and mean nothing in another
container.) A folder gets the name by which it is looked for when it is locked already, so that none is taken for left while
it is made. Where there are no such locks it never gets that name, and is left as before. The name says which machine made
it, as not every shared disk shows one machine the locks of another.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pathlib
import re
import shutil
import tempfile
import threading
import weakref

from divergence.staging import hold

OURS = "divergence-"
_MACHINE = os.uname().nodename if hasattr(os, "uname") else ""
HELD = f".of-{re.sub(r'[^A-Za-z0-9-]', '-', _MACHINE)}"
"""The end of the name of a folder that is locked as long as its process lives."""


@dataclasses.dataclass(eq=False)
class _Home:
    """The folder that holds those of a process; another one where `tempfile` names another place in between."""

    path: pathlib.Path
    lock: int | None
    """The open folder that is locked; None where there are no locks."""
    users: int = 0


@dataclasses.dataclass
class _Process:
    """What this process holds; a forked child begins anew, and keeps its parent's folders locked as it may read them."""

    home: _Home | None = None
    guard: threading.RLock = dataclasses.field(default_factory=threading.RLock)
    """Reentrant, as an object may be finalised at any step."""
    live: dict[pathlib.Path, _Home] = dataclasses.field(default_factory=dict)
    swept: bool = False


class TemporaryFolder:
    """A folder that is removed with this object, at the end of a `with`, or at the end of the process that made it."""

    def __init__(self, purpose: str) -> None:
        process = _this[0]
        home = _entered(process)
        try:
            self.path = pathlib.Path(tempfile.mkdtemp(prefix=f"{purpose}-", dir=home.path))
        except BaseException:
            _left(process, home)
            raise
        process.live[self.path] = home
        self._removed = weakref.finalize(self, _remove, process, self.path)

    def __enter__(self) -> pathlib.Path:
        return self.path

    def __exit__(self, *_: object) -> None:
        self.remove()

    def remove(self) -> None:
        """Remove it now."""
        self._removed()


def remove_temporary_folders() -> None:
    """Remove all that this process still holds: for an end at which no object is finalised."""
    for path in list(_this[0].live):
        _remove(_this[0], path)


_this = [_Process()]
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=lambda: _this.__setitem__(0, _Process(swept=True)))


def _remove(process: _Process, path: pathlib.Path) -> None:
    if process is not _this[0]:  # its parent's
        return
    home = process.live.pop(path, None)
    if home is not None:
        shutil.rmtree(path, ignore_errors=True)
        _left(process, home)


def _entered(process: _Process) -> _Home:
    """The home of this process, with one user more: made, where there is none in the folder that the system names."""
    if not process.swept:
        process.swept = True
        remove_left()
    with process.guard:
        home = process.home
        if home is None or home.path.parent != pathlib.Path(tempfile.gettempdir()) or not home.path.is_dir():
            home = process.home = _made()
        home.users += 1
        return home


def _left(process: _Process, home: _Home) -> None:
    """One user less; with the last one the home goes."""
    with process.guard:
        home.users -= 1
        if home.users:
            return
        if process.home is home:
            process.home = None
        with contextlib.suppress(OSError):
            home.path.rmdir()
        if home.lock is not None:
            os.close(home.lock)


def _made() -> _Home:
    path = pathlib.Path(tempfile.mkdtemp(prefix=OURS))
    lock = _locked(path)
    if lock is None:
        return _Home(path, None)
    held = path.with_name(path.name + HELD)
    path.rename(held)
    return _Home(held, lock)


def remove_left() -> None:
    """Remove the folders of this user's processes on this machine that have ended."""
    with contextlib.suppress(OSError), os.scandir(tempfile.gettempdir()) as entries:
        for path in [pathlib.Path(e.path) for e in entries if e.name.startswith(OURS) and e.name.endswith(HELD)]:
            lock = _locked(path)
            if lock is not None:
                shutil.rmtree(path, ignore_errors=True)
                os.close(lock)


def _locked(path: pathlib.Path) -> int | None:
    """A folder of this user, open and locked; None where a process has it, it is another's or a link, or locks are none."""
    try:
        number = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except (AttributeError, OSError):  # a system without locks has no such openings either
        return None
    with contextlib.suppress(OSError):
        status = os.fstat(number)
        # Where the path is another folder by now, another process has just removed it.
        if status.st_uid == os.geteuid() and hold(number) and os.path.samestat(path.lstat(), status):
            return number
    os.close(number)
    return None
