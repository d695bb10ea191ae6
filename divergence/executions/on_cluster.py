"""Plans over the files of a log, carried out here or as tasks of a Ray cluster, whose nodes see the same paths.

A task is a plan and gives a small table. It may run anywhere and again: what it gives depends on its file alone.
"""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import polars as pl

from divergence.errors import InputError
from divergence.ray_cluster import connected, in_tasks


def collected(plans: Sequence[pl.LazyFrame], ray: str | None) -> list[pl.DataFrame]:
    """What each plan gives, in their order: here, or on the cluster at the address `ray`.

    What cannot be sent (a plan that holds a function of Python) is carried out here.
    """
    if ray is None:
        return [plan.collect(engine="streaming") for plan in plans]
    sent = [_sent(plan) for plan in plans]
    found = iter(on_cluster(_collect, [plan for plan in sent if plan is not None], ray))
    return [
        plan.collect(engine="streaming") if packed is None else next(found) for plan, packed in zip(plans, sent, strict=True)
    ]


def on_cluster(work: Callable[[Any], Any], jobs: Sequence[Any], ray: str) -> list[Any]:
    """What `work` makes of each job, in their order, on the cluster at the address `ray`; in the folder in which it is
    called. Raises InputError where no cluster answers, or where a job fails."""
    found: dict[int, Any] = {}
    with connected(ray) as cluster:
        for (number, _), made, error in in_tasks(cluster, list(enumerate(jobs)), _task, work, os.getcwd()):
            if error is not None:
                said = " ".join(str(error).split())[:200]
                raise InputError(
                    f"a node of the cluster at {ray} cannot do its part ({type(error).__name__}: {said}); the files of the "
                    "log must lie where every node sees them under the same path"
                ) from None
            found[number] = made
    return [found[number] for number in range(len(jobs))]


def _task(job: tuple[int, Any], work: Callable[[Any], Any], folder: str) -> Any:
    with _inside(folder):
        return work(job[1])


@contextlib.contextmanager
def _inside(folder: str) -> Iterator[None]:
    """Relative paths mean what they mean to who asks, where the node has that folder."""
    if not os.path.isdir(folder):
        yield
        return
    with contextlib.chdir(folder):
        yield


def _sent(plan: pl.LazyFrame) -> bytes | None:
    try:
        return plan.serialize()
    except pl.exceptions.PolarsError:
        return None


def _collect(plan: bytes) -> pl.DataFrame:
    return pl.LazyFrame.deserialize(io.BytesIO(plan)).collect(engine="streaming")
