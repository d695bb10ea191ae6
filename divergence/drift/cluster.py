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

Partition = str | pl.DataFrame
RETRIES = 3
"""Times that a task is run again after its node died: it writes nothing, so that running it twice changes nothing."""


def summarise_partitions(partitions: Sequence[Partition], reference: Reference, ray_address: str | None = None) -> Summary:
    """The merged summary of the partitions of a stream; `ray_address`: `local` (this machine), `auto`, `HOST:PORT`."""
    lengths = [_rows(part) for part in partitions]
    firsts = [sum(lengths[:number]) for number in range(len(lengths))]
    if ray_address is None:
        parts = [_one(part, first, reference) for part, first in zip(partitions, firsts, strict=True)]
    else:
        parts = _on_ray(partitions, firsts, reference, ray_address)
    return merge(parts, reference)


def _rows(partition: Partition) -> int:
    if isinstance(partition, pl.DataFrame):
        return len(partition)
    try:
        return int(pl.scan_parquet(partition).select(pl.len()).collect().item())
    except (OSError, pl.exceptions.PolarsError) as error:
        raise InputError(f"The partition {partition} cannot be read: {error}") from None


def _one(partition: Partition, first: int, reference: Reference) -> Summary:
    frame = partition if isinstance(partition, pl.DataFrame) else pl.read_parquet(partition)
    return summarise(frame, first, reference)


def _on_ray(partitions: Sequence[Partition], firsts: list[int], reference: Reference, address: str) -> list[Summary]:
    try:
        import ray  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise InputError("a Ray cluster needs the package ray: pip install 'eval-divergence[ray]'") from None
    mine = not ray.is_initialized()
    if mine:
        try:
            ray.init(address=address, logging_level="ERROR", log_to_driver=False)
        except (ConnectionError, ValueError, RuntimeError, OSError) as error:
            raise InputError(f"no Ray cluster answers at {address}: {error}") from None
    try:
        shared = ray.put(reference)
        task = ray.remote(num_cpus=1, max_retries=RETRIES)(_one)
        return ray.get([task.remote(part, first, shared) for part, first in zip(partitions, firsts, strict=True)])
    finally:
        if mine:
            ray.shutdown()
