"""The same function over partitions, here or on a Ray cluster: the bytes are equal.

Partitions are Parquet files (or frames) in order of time. A task summarises one (`summary.summarise`), which needs the
learnt reference and the number of its first row; merging is done here. Nothing of the environment is sent; each node has an
installed `eval-divergence` and reads the files itself.
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from divergence.drift.reference import Reference
from divergence.drift.summary import Summary, merge, summarise
from divergence.errors import InputError
from divergence.ray_cluster import connected, in_tasks

Partition = str | pl.DataFrame


def summarise_partitions(partitions: Sequence[Partition], reference: Reference, ray_address: str | None = None) -> Summary:
    """The merged summary of the partitions of a stream; `ray_address`: `local` (this machine), `auto`, `HOST:PORT`."""
    lengths = [_rows(part) for part in partitions]
    jobs = [(number, part, sum(lengths[:number])) for number, part in enumerate(partitions)]
    if ray_address is None:
        return merge([_one(job, reference) for job in jobs], reference)
    found: dict[int, Summary] = {}
    with connected(ray_address) as ray:
        for (number, _, _), part, error in in_tasks(ray, jobs, _one, ray.put(reference)):
            if error is not None:
                raise error
            found[number] = part
    return merge([found[number] for number in sorted(found)], reference)


def _rows(partition: Partition) -> int:
    if isinstance(partition, pl.DataFrame):
        return len(partition)
    try:
        return int(pl.scan_parquet(partition).select(pl.len()).collect().item())
    except (OSError, pl.exceptions.PolarsError) as error:
        raise InputError(f"The partition {partition} cannot be read: {error}") from None


def _one(job: tuple[int, Partition, int], reference: Reference) -> Summary:
    """Summary of a partition: its number, the partition, the number of its first row."""
    _, partition, first = job
    frame = partition if isinstance(partition, pl.DataFrame) else pl.read_parquet(partition)
    return summarise(frame, first, reference)
