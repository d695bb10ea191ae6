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
import socket
import tempfile
from collections.abc import Iterator

import pyarrow as pa

from divergence.errors import InputError
from divergence.scoring.filesystems import sentence
from divergence.scoring.jobs import Job, PartitionOutcome
from divergence.scoring.outputs import record
from divergence.scoring.partitions import Tell, attempt, silent

IN_FLIGHT = 4  # tasks a core that wait on the cluster: enough to keep it busy, few enough for logs of any size
RETRIES = 3  # times that a task is run again after its node or worker died


def on_ray(jobs: list[Job], address: str, tell: Tell = silent) -> Iterator[PartitionOutcome]:
    """The jobs on the cluster at `address` (`auto`, `HOST:PORT`, `ray://HOST:PORT`), in the order in which they finish."""
    try:
        import ray  # pyright: ignore[reportMissingImports]  # of the extra ray
    except ImportError:
        raise InputError("a Ray cluster needs the package ray: pip install 'eval-divergence[ray]'") from None
    mine = not ray.is_initialized()
    try:
        if mine:
            _knock(address)
            ray.init(address=address, logging_level="ERROR", log_to_driver=False)
    except (ConnectionError, ValueError, RuntimeError, OSError) as error:
        raise InputError(f"no Ray cluster answers at {address}: {sentence(error, address)}") from None
    try:
        yield from _run(ray, jobs, tell)
    finally:
        if mine:
            ray.shutdown()


def _knock(address: str) -> None:
    """Raises OSError where nothing listens: Ray itself would go on trying for minutes."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host, int(port)), timeout=10).close()


def _run(ray, jobs: list[Job], tell: Tell) -> Iterator[PartitionOutcome]:
    model = ray.put(_bytes(jobs[0].model))
    task = ray.remote(num_cpus=1, max_retries=RETRIES, scheduling_strategy="SPREAD")(_task)
    most = max(1, int(ray.cluster_resources().get("CPU", 1) * IN_FLIGHT))
    waiting, running = list(reversed(jobs)), {}
    while waiting or running:
        while waiting and len(running) < most:
            job = waiting.pop()
            running[task.remote(job, [model])] = job
        done, _ = ray.wait(list(running), num_returns=1)
        for reference in done:
            job = running.pop(reference)
            try:
                outcome = ray.get(reference)
            except ray.exceptions.RayError as error:
                cause = getattr(error, "cause", None) or error
                outcome = PartitionOutcome(
                    job, None, f"{type(cause).__name__}: {sentence(cause, job.partition.address, job.output)}"
                )
            if outcome.record is not None and record(job.target) is None:
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
