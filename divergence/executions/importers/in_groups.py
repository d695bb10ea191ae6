"""The files of an import, group by group, in processes of their own or on a Ray cluster: the bytes of one process.

Groups are cut by `groups`, read by `drafting` and put together by `joined`, in their order whatever finishes first. Where
groups cannot be read apart (an error, or calls that belong together) the files of that format are read at once, here, so
that results and errors are those of one process.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from divergence.errors import InputError
from divergence.executions.importers import refused_files
from divergence.executions.importers.drafting import Drafted, FileGroup, Reading, in_a_process, on_a_node, place_of
from divergence.executions.importers.groups import groups, traces_by_folder
from divergence.executions.importers.joined import join
from divergence.executions.importers.mapping import Draft
from divergence.executions.importers.registry import ADDRESS, module
from divergence.temporary_folders import TemporaryFolder

LARGE = 256 * 2**20
"""Bytes of files from which processes are started unasked: reading them takes ten times as long as starting Python."""

Progress = Callable[[str], None] | None


def drafts(
    files: Mapping[str, Sequence[Path]],
    readings: Mapping[str, Reading],
    workers: int | None,
    ray: str | None,
    told: Progress,
) -> Iterator[Draft]:
    """The finished draft of each format, in the order of `files` (format -> its files).

    `workers` processes read groups of files (0 = this process reads all at once; by default several where there are
    several groups and the files are large), or the Ray cluster at the address `ray`. Raises InputError for what cannot be
    read.
    """
    rules = {name: module(name).FORMAT.apart for name in files}
    cut = {name: groups(rules[name], given, readings[name].privacy) for name, given in files.items()}
    count = workers if workers is not None else _unasked(cut)
    if not count and ray is None:
        for name, given in files.items():
            yield refused_files.drafted(readings[name], given, told)
        return
    with TemporaryFolder("import") as folder:
        pairs = [(name, tuple(group)) for name, given in cut.items() for group in given]
        jobs = [FileGroup(n, group, readings[name], None if ray else folder) for n, (name, group) in enumerate(pairs)]
        done = _read(jobs, count, ray, folder, told)
        for name, given in files.items():
            parts = [done[job.number] for job in jobs if job.reading.format == name]
            draft = readings[name].draft(told)
            problem = next((part.problem for part in parts if part.problem), "")
            if problem or not join(parts, folder, draft, rules[name] is traces_by_folder):
                if told:
                    told(f"The files of {name} are read at once: {problem or 'calls of several folders belong together.'}")
                draft = refused_files.drafted(readings[name], given, told)
            yield draft


def _unasked(cut: Mapping[str, Sequence[Sequence[Path]]]) -> int:
    """How many processes an import takes that nobody asked for."""
    found = [file for given in cut.values() for group in given for file in group if not ADDRESS.match(str(file))]
    if sum(file.stat().st_size for file in found) < LARGE:
        return 0
    several = sum(map(len, cut.values()))
    return min(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1, several)


def _read(jobs: list[FileGroup], count: int, ray: str | None, folder: Path, told: Progress) -> dict[int, Drafted]:
    done: dict[int, Drafted] = {}
    for part in _on_ray(jobs, ray, folder) if ray is not None else _in_processes(jobs, count, told):
        if part.lost:
            raise InputError(f"{jobs[part.number].files[0]} could not be read: {part.lost}.")
        done[part.number] = part
        if told:
            told(f"{len(done)} of {len(jobs)} groups of files read")
    return done


def _in_processes(jobs: list[FileGroup], count: int, told: Progress) -> Iterator[Drafted]:
    from divergence.processes import in_processes

    def tell(number: int, sentence: str) -> None:
        if told:
            told(f"group {number + 1} of {len(jobs)}: {sentence}")

    return in_processes(jobs, count, in_a_process, _lost, tell)


def _lost(job: FileGroup, how: str, words: str) -> Drafted:
    return Drafted(job.number, lost=how + (f": {words[:300]}" if words else ""))


def _on_ray(jobs: list[FileGroup], address: str, folder: Path) -> Iterator[Drafted]:
    from divergence.ray_cluster import connected, in_tasks

    with connected(address) as ray:
        for job, part, error in in_tasks(ray, jobs, on_a_node):
            if error is not None:
                yield Drafted(job.number, lost=f"{type(error).__name__}: {' '.join(str(error).split())[:300]}")
                continue
            for name, content in part.tables.items():
                place_of(folder, job.number, name).write_bytes(content)
            yield part
