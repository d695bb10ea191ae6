"""Partitions in worker processes of this machine (`divergence.processes`): a worker that dies costs its partition."""

from __future__ import annotations

from collections.abc import Iterator

from divergence.processes import in_processes
from divergence.scoring.filesystems import scrubbed
from divergence.scoring.jobs import Job, PartitionOutcome
from divergence.scoring.partitions import Tell, attempt, silent


def in_workers(jobs: list[Job], count: int, tell: Tell = silent) -> Iterator[PartitionOutcome]:
    """The jobs in `count` processes; outcomes in the order in which they finish."""
    yield from in_processes(jobs, count, attempt, _lost, tell)


def _lost(job: Job, how: str, words: str) -> PartitionOutcome:
    return PartitionOutcome(job, None, how + (f": {scrubbed(words)[:300]}" if words else ""))
