"""Results are made beside their place and put there when complete: nobody ever reads half of one, or parts of two.

A folder of results is made in a work folder (`.NAME.divergence` beside it) and takes its place in one step of the file
system: a renaming where there is no folder yet, else an exchange of the two (`renameat2` of Linux), after which what else
the old folder held is there as before. A run that is killed at any instant leaves the old results or the new ones; its
work folder is named and removed by the next run that writes there. Two runs that write at once wait for one another,
`WAIT_S` at most.

Where the file system cannot exchange (a mount point, another system than Linux), where the folder is the one that this
process stands in, or where it holds more than `OTHERS_MAX` other things, parts are moved one by one. `TOLD` then gets a
sentence, as for what was left over; the command prints both.
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import errno
import functools
import glob
import itertools
import os
import pathlib
import re
import shutil
import stat
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import IO

from divergence.errors import InputError

WAIT_S = 30.0  # another run needs seconds for what it does under the lock: it draws a page
OTHERS_MAX = 5000  # entries of a folder that are linked into the new one, which takes a tenth of a second
EXCHANGE, HERE = 2, -100  # RENAME_EXCHANGE and AT_FDCWD of Linux
_open: set[pathlib.Path] = set()
_numbers = itertools.count()
_state = {"switching": False, "published": False}


def _print(sentence: str) -> None:
    with contextlib.suppress(OSError, ValueError):
        print(f"note: {sentence}", file=sys.stderr)


TOLD: list[Callable[[str], None]] = [_print]
"""Who is told what was found and done beyond the asked: left-over work folders, a switch that was not one step."""


@dataclasses.dataclass(frozen=True)
class _Place:
    """Where a folder is made, and where it belongs."""

    folder: pathlib.Path
    """The folder of the results, links followed."""
    work: pathlib.Path
    """The work folder; it holds what is made as `new`."""


_places: dict[pathlib.Path, _Place] = {}


@contextlib.contextmanager
def staging(folder: pathlib.Path) -> Iterator[pathlib.Path]:
    """A fresh folder that belongs to `folder` (see `move_into`), removed at the end whatever happens.

    Raises InputError when none can be made, and when another run is writing there and goes on for `WAIT_S`.
    """
    try:
        real = pathlib.Path(os.path.realpath(folder))
        real.parent.mkdir(parents=True, exist_ok=True)
        inside = real.is_dir() and (os.path.ismount(real) or not os.access(real.parent, os.W_OK))
        work = (real / ".divergence") if inside else real.with_name(f".{real.name}.divergence")
        with alone(work.with_name(f"{work.name}-lock"), folder):
            if work.exists():
                TOLD[0](f"removed {work}, which a run that was killed left behind")
                shutil.rmtree(work)
            fresh = work / "new"
            work.mkdir()
            _open.add(work)
            fresh.mkdir()
            fresh.chmod(0o755)
            _places[fresh] = _Place(real, work)
            try:
                with _disk_errors():
                    yield fresh
            finally:
                shutil.rmtree(work, ignore_errors=True)
                _open.discard(work)
                _places.pop(fresh, None)
    except OSError as error:
        raise InputError(f"{_shown(folder)} cannot be written: {error.strerror or error}") from None


def _shown(folder: pathlib.Path) -> pathlib.Path:
    """The folder as a user knows it: where one is written into the fresh folder of another, that other."""
    return next((place.folder for fresh, place in _places.items() if folder.is_relative_to(fresh)), folder)


def _is_place(path: pathlib.Path) -> bool:
    """Is it a place of results, and not one within a fresh folder?"""
    return not any(path.is_relative_to(fresh) for fresh in _places)


@contextlib.contextmanager
def _disk_errors() -> Iterator[None]:
    """What Polars says of a full disk, as the OSError that it is."""
    polars = sys.modules.get("polars")
    kinds: tuple[type[Exception], ...] = (polars.exceptions.PolarsError,) if polars else ()
    try:
        yield
    except kinds as error:
        found = re.search(r"\(os error (\d+)\)", str(error))
        if found is None:
            raise
        raise OSError(int(found[1]), os.strerror(int(found[1]))) from error


@contextlib.contextmanager
def whole(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """A file beside `path` to write into; it takes its place when the block ends well, and is removed when not."""
    with several([path]) as (part,):
        yield part


def hold(file: IO | int) -> bool:
    """Keep other processes out of an open file until this one ends or closes it. Raises BlockingIOError where one has it.

    Where the system has no such lock (Windows) nothing is held: False.
    """
    try:
        import fcntl
    except ImportError:
        return False
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return True


@contextlib.contextmanager
def several(
    paths: Sequence[pathlib.Path], gone: Iterable[pathlib.Path] = (), new: bool = False
) -> Iterator[list[pathlib.Path]]:
    """Files beside these paths to write into; all take their places, the first one last, when the block ends well, and
    those in `gone` go; all are removed when not. Parts of these files that killed runs left behind are removed. A link stays
    one: the file that it leads to is written.

    `new`: files that are there are not written over. Raises FileExistsError for those, and InputError where nothing can be
    written.
    """
    try:
        with _beside(paths, gone, new) as parts:
            yield parts
    except FileExistsError:
        raise
    except OSError as error:
        raise InputError(f"{_shown(paths[0])} cannot be written: {error.strerror or error}") from None


@contextlib.contextmanager
def _beside(paths: Sequence[pathlib.Path], gone: Iterable[pathlib.Path], new: bool) -> Iterator[list[pathlib.Path]]:
    parts, paths = [], [pathlib.Path(os.path.realpath(path)) if path.is_symlink() else path for path in paths]
    with contextlib.ExitStack() as held:
        for path in paths:
            _clear(path)
            part = path.with_name(f".{path.name}.{os.getpid()}-{next(_numbers)}.part")
            held.callback(_forget, part)
            _open.add(part)
            _locked(held.enter_context(open(part, "wb")).fileno())
            parts.append(part)
        with _disk_errors():
            yield parts
        _state["switching"] = True
        try:
            for part, path in reversed(list(zip(parts, paths, strict=True))):
                (_named if new else os.replace)(part, path)
            for path in gone:
                path.unlink(missing_ok=True)
            _state["published"] |= any(map(_is_place, paths))
        finally:
            _state["switching"] = False


def _named(part: pathlib.Path, path: pathlib.Path) -> None:
    """Give a part its name, which no file may have. Raises FileExistsError where one has it."""
    try:
        os.link(part, path)
    except FileExistsError:
        raise
    except OSError:  # no links on this file system: two writers at one instant are not told apart
        if os.path.lexists(path):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST)) from None
        os.rename(part, path)


def _clear(path: pathlib.Path) -> None:
    """Remove parts of a file that nobody is writing any more."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.part"):
        with contextlib.suppress(OSError), left.open("rb") as file:
            if _locked(file.fileno()):
                left.unlink()


def _forget(part: pathlib.Path) -> None:
    part.unlink(missing_ok=True)
    _open.discard(part)


def abandon() -> bool | None:
    """For a process that ends now: remove all that is still being made. Was a result put in its place before?

    None while one is just being put there: that must be let finish.
    """
    if _state["switching"]:
        return None
    for fresh in tuple(_open):
        if fresh.is_dir():
            shutil.rmtree(fresh, ignore_errors=True)
            fresh.with_name(f"{fresh.name}-lock").unlink(missing_ok=True)
        else:
            fresh.unlink(missing_ok=True)
    return _state["published"]


def move_into(fresh: pathlib.Path, folder: pathlib.Path, gone: Iterable[str] = (), merged: bool = False) -> None:
    """Put the parts of `fresh` into `folder`, in one step where `fresh` was made for it by `staging`.

    An older part of the same name is replaced, those named in `gone` go, others stay. A part is what lies in `fresh` itself,
    a folder with all that it holds; `merged`: every file of it, so that what else lies in folders of the same names stays.
    """
    place = _places.get(fresh)
    replaced = set(_parts(fresh, merged)) | set(gone)
    _state["switching"] = True
    try:
        if place is None or not _switched(fresh, place, replaced):
            _moved(fresh, folder, replaced)
        _state["published"] |= _is_place(folder)
    finally:
        _state["switching"] = False


def _parts(fresh: pathlib.Path, merged: bool) -> list[str]:
    """The parts of a fresh folder, relative to it."""
    parts = [path for path in fresh.rglob("*") if not path.is_dir()] if merged else list(fresh.iterdir())
    return [str(part.relative_to(fresh)) for part in parts]


def _moved(fresh: pathlib.Path, folder: pathlib.Path, replaced: set[str]) -> None:
    """Part by part; records, which name what belongs together, go before the first part and come last."""
    folder.mkdir(exist_ok=True)
    for name in replaced if len(replaced) > 1 else ():
        if name.endswith(".json"):
            (folder / name).unlink(missing_ok=True)
    for name in sorted(replaced, key=lambda name: (name.endswith(".json"), name)):
        target = folder / name
        if target.is_dir() and not target.is_symlink():
            shutil.rmtree(target)
        if os.path.lexists(fresh / name):
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(fresh / name, target)
        else:
            target.unlink(missing_ok=True)


def _switched(fresh: pathlib.Path, place: _Place, replaced: set[str]) -> bool:
    """Whether the folder was put in its place in one step."""
    folder = place.folder
    if not folder.exists():
        os.rename(fresh, folder)
        return True
    if not folder.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
    exchange = _exchange()
    if exchange is None or place.work.parent == folder or _stands_in(folder):
        TOLD[0](f"the parts of {folder} are put in place one by one: the folder cannot be exchanged as a whole")
        return False
    linked: list[pathlib.Path] = []
    try:
        others = list(itertools.islice(_others(folder, replaced), OTHERS_MAX + 1))
        if len(others) > OTHERS_MAX:
            TOLD[0](f"the parts of {folder} are put in place one by one: it holds more than {OTHERS_MAX} other files")
            return False
        for other in others:
            if not (fresh / other).is_dir():  # one of the same name is made already
                linked.append(fresh / other)
                _link(folder / other, fresh / other)
        _like(folder, fresh)
        exchange(fresh, folder)
    except OSError:  # no links, or no exchange, on this file system
        for path in reversed(linked):
            with contextlib.suppress(FileNotFoundError):
                path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
        TOLD[0](f"the parts of {folder} are put in place one by one: its file system does not exchange folders")
        return False
    with contextlib.suppress(OSError):
        _bring_back(fresh, folder, replaced)
    return True


def _others(folder: pathlib.Path, replaced: set[str]) -> Iterator[pathlib.Path]:
    """What else is in a folder, relative to it, folders before what they hold. Raises OSError for what cannot be listed."""

    def fail(error: OSError) -> None:
        raise error

    for at, folders, files in os.walk(folder, onerror=fail):
        here = pathlib.Path(at).relative_to(folder)
        folders[:] = [name for name in folders if str(here / name) not in replaced]
        yield from (here / name for name in sorted([*folders, *files]) if str(here / name) not in replaced)


def _link(source: pathlib.Path, target: pathlib.Path) -> None:
    """The same file under a second name."""
    if source.is_dir() and not source.is_symlink():
        target.mkdir()
        _like(source, target)
    else:
        os.link(source, target, follow_symlinks=False)


def _like(folder: pathlib.Path, other: pathlib.Path) -> None:
    """Give a folder the rights and the owner of another."""
    status = folder.stat()
    other.chmod(stat.S_IMODE(status.st_mode))
    with contextlib.suppress(OSError):
        os.chown(other, status.st_uid, status.st_gid)


def _bring_back(old: pathlib.Path, folder: pathlib.Path, replaced: set[str]) -> None:
    """What others put into the old folder while it was exchanged goes into the new one."""
    for relative in list(_others(old, replaced)):
        if not os.path.lexists(folder / relative) and os.path.lexists(old / relative):  # not with the folder around it
            os.rename(old / relative, folder / relative)


def _stands_in(folder: pathlib.Path) -> bool:
    try:
        return pathlib.Path.cwd().is_relative_to(folder)
    except OSError:
        return False


@functools.cache
def _exchange() -> Callable[[pathlib.Path, pathlib.Path], None] | None:
    """A function that exchanges two paths in one step; None where the system has none."""
    if not sys.platform.startswith("linux"):
        return None
    try:
        call = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        return None

    def exchange(one: pathlib.Path, other: pathlib.Path) -> None:
        if call(HERE, os.fsencode(one), HERE, os.fsencode(other), EXCHANGE):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))

    return exchange


@contextlib.contextmanager
def alone(lock: pathlib.Path, folder: object, wait_s: float | None = None) -> Iterator[None]:
    """Hold a lock file while the block runs; it is removed at the end. Raises InputError when another run holds it, and goes
    on to after `wait_s` seconds (default: `WAIT_S`); `folder` is named to the user."""
    waited = time.monotonic() + (WAIT_S if wait_s is None else wait_s)
    while True:
        file = lock.open("ab")
        try:
            held = _locked(file.fileno())
            if held and lock.exists() and os.path.samestat(lock.stat(), os.fstat(file.fileno())):
                break  # else it was removed by the run before, between opening and locking
        except FileNotFoundError:
            pass
        file.close()
        if time.monotonic() > waited:
            raise InputError(f"another run is writing to {folder} ({lock}): wait for it, or name another folder")
        time.sleep(0.05)
    try:
        yield
    finally:
        lock.unlink(missing_ok=True)
        file.close()


def _locked(number: int) -> bool:
    """Lock an open file; False where another process has it. Where there are no such locks (Windows), True."""
    try:
        hold(number)
    except BlockingIOError:
        return False
    return True
