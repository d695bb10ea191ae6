"""How do the results of a run take their places? In a folder all at once, with the manifest that names them.

A run makes its results aside, in `UNFINISHED` within the folder, and a run that goes on finds them there. When all
partitions are done, one exchange puts the new results beside those that are still right: whoever reads the folder reads
what the last run left, or what this one does. An object store has no such step: there the manifest goes before the first
result changes, and comes last.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
import shutil

from pyarrow import fs

from divergence.scoring import manifest
from divergence.scoring.filesystems import Filesystem, place
from divergence.scoring.jobs import PartitionOutcome
from divergence.scoring.outputs import ASIDE, UNFINISHED, record
from divergence.staging import move_into, staging


@dataclasses.dataclass(frozen=True)
class Changes:
    """What a run changes in the folder of its results; every name is one in it."""

    finished: tuple[str, ...]
    """Results that were made aside."""
    aside: tuple[str, ...]
    """Earlier results whose partitions could not be scored again: they lose their names, so that nobody reads them."""
    again: tuple[str, ...]
    """What was put aside, and is made again."""
    outdated: tuple[str, ...]
    """What lies aside then."""
    left_over: tuple[str, ...]
    """Results of earlier runs that belong to no partition of this one."""


def changes(target: Filesystem, outcomes: list[PartitionOutcome]) -> Changes:
    """What the outcomes of a run change in the folder `target`."""
    right = {o.job.name for o in outcomes if o.record is not None}
    aside = tuple(o.job.name for o in outcomes if o.record is None and record(o.job.target) is not None)
    there = _ending(target, f".parquet{ASIDE}")
    outdated = {*there, *(name + ASIDE for name in aside)} - {name + ASIDE for name in right}
    results = [name for name in _ending(target, ".parquet") if name not in right.union(aside)]
    return Changes(
        finished=tuple(o.job.name for o in outcomes if o.record is not None and _is_aside(o)),
        aside=aside,
        again=tuple(name for name in there if name not in outdated),
        outdated=tuple(sorted(outdated)),
        left_over=tuple(name for name in results if record(target.child(name)) is not None),
    )


def put_in_place(changed: Changes, made: dict, target: Filesystem) -> None:
    """Let the results and their manifest `made` appear. Raises OSError or InputError where they cannot."""
    if not target.local:
        _in_a_store(changed, target)
    if target.local and (changed.finished or changed.aside or changed.again):
        _in_one_step(changed, made, pathlib.Path(target.path))
    else:
        manifest.write(made, target)
    if target.local:  # what an earlier run had finished, where this one needs none of it
        shutil.rmtree(pathlib.Path(target.path) / UNFINISHED, ignore_errors=True)


def _in_one_step(changed: Changes, made: dict, folder: pathlib.Path) -> None:
    with staging(folder) as fresh:
        for name in changed.finished:
            _linked(folder / UNFINISHED / name, fresh / name)
        for name in changed.aside:
            _linked(folder / name, fresh / (name + ASIDE))
        manifest.write(made, place(fresh))
        move_into(fresh, folder, [UNFINISHED, *changed.aside, *changed.again], merged=True)


def _in_a_store(changed: Changes, target: Filesystem) -> None:
    if changed.aside:
        manifest.withdraw(target)
    for name in changed.aside:
        target.files.move(target.child(name).path, target.child(name + ASIDE).path)
    for name in changed.again:
        target.files.delete_file(target.child(name).path)


def _is_aside(outcome: PartitionOutcome) -> bool:
    """Is the result of a partition not in its place yet? There may be an older one."""
    found = None if outcome.record is None else outcome.job.finished(outcome.record["key"])
    return found is not None and found[0].path != outcome.job.target.path


def _linked(source: pathlib.Path, target: pathlib.Path) -> None:
    """The same file under a second name, so that a run that ends before the switch loses nothing."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:  # a file system without links
        shutil.copyfile(source, target)


def _ending(target: Filesystem, end: str) -> list[str]:
    """Names in the folder that end so."""
    selector = fs.FileSelector(target.path, recursive=True, allow_not_found=True)
    base = len(target.path.rstrip("/")) + 1
    names = (about.path[base:] for about in target.files.get_file_info(selector) if about.path.endswith(end))
    return sorted(name for name in names if not name.startswith(f"{UNFINISHED}/"))
