"""The same partitions on a Ray cluster: `score_partition` is a task, the cluster decides where it runs.

A task is idempotent (it writes one result, whole or not at all, and skips one that is finished), so a node that dies
costs time only: Ray runs its tasks again elsewhere. Results must go where every node and this machine can write: an
object store or a shared folder. The model travels as bytes with the job. Nothing of the environment is sent: each node
has its own credentials and an installed `eval-divergence`.
"""

from __future__ import annotations

import dataclasses
import functools
import pathlib
import tempfile
from collections.abc import Iterator

import pyarrow as pa

from divergence.ray_cluster import IN_FLIGHT, connected, in_tasks
from divergence.scoring.filesystems import sentence
from divergence.scoring.jobs import Job, PartitionOutcome
from divergence.scoring.partitions import Tell, attempt, silent


def on_ray(jobs: list[Job], address: str, tell: Tell = silent) -> Iterator[PartitionOutcome]:
    """The jobs on the cluster at `address` (`auto`, `HOST:PORT`, `ray://HOST:PORT`), in the order in which they finish."""
    with connected(address, lambda error: sentence(error, address)) as ray:
        model = ray.put(_bytes(jobs[0].model))
        for job, outcome, error in in_tasks(ray, jobs, _task, [model], in_flight=IN_FLIGHT):
            if error is not None:
                reason = f"{type(error).__name__}: {sentence(error, job.partition.address, job.output)}"
                outcome = PartitionOutcome(job, None, reason)
            if outcome.record is not None and job.finished(outcome.record["key"]) is None:
                outcome = PartitionOutcome(
                    job,
                    None,
                    f"its result was written on another machine and is not at {job.target} here: "
                    "name an object store or a folder that all nodes share",
                )
            tell(outcome.record["rows"] if outcome.record else 0, job.partition.bytes)
            yield outcome


def _task(job: Job, model: list) -> PartitionOutcome:
    """Score a partition on whatever node this is. `model` holds the reference to the model's files."""
    pa.set_cpu_count(1)
    return attempt(dataclasses.replace(job, model=_unpacked(model[0])))


@functools.lru_cache(maxsize=1)
def _unpacked(reference) -> str:
    """The model as a folder of this node, once a process."""
    import ray  # pyright: ignore[reportMissingImports]  # of the extra ray

    folder = pathlib.Path(tempfile.mkdtemp(prefix="divergence-model-"))
    for name, content in ray.get(reference).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return str(folder)


def _bytes(folder: str) -> dict[str, bytes]:
    root = pathlib.Path(folder)
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}
