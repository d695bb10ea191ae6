"""Jobs on a Ray cluster: connecting to it, and tasks that Ray runs again where a node dies.

A task is idempotent, so a node that dies costs time only. Nothing of the environment is sent: each node has its own
credentials and an installed `eval-divergence`.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator
from typing import Any

from divergence.errors import InputError

IN_FLIGHT = 4  # tasks a core that wait on the cluster: enough to keep it busy, few enough for logs of any size
RETRIES = 3  # times that a task is run again after its node or worker died


@contextlib.contextmanager
def connected(address: str, said: Callable[[BaseException], str] = str) -> Iterator[Any]:
    """Ray, connected to the cluster at `address` (`auto`, `HOST:PORT`, `ray://HOST:PORT`), and left again at the end.

    `said` words an error for the reader. Raises InputError where Ray is not installed, or no cluster answers.
    """
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
        raise InputError(f"no Ray cluster answers at {address}: {said(error)}") from None
    try:
        yield ray
    finally:
        if mine:
            ray.shutdown()


def _knock(address: str) -> None:
    """Raises OSError where nothing listens: Ray itself would go on trying for minutes."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host, int(port)), timeout=10).close()


def in_tasks(
    ray: Any, jobs: list[Any], work: Callable[..., Any], *given: Any, in_flight: float = IN_FLIGHT
) -> Iterator[tuple[Any, Any, BaseException | None]]:
    """(job, what `work(job, *given)` gave, None) or (job, None, error) of each, in the order in which they finish."""
    task = ray.remote(num_cpus=1, max_retries=RETRIES, scheduling_strategy="SPREAD")(work)
    most = max(1, int(ray.cluster_resources().get("CPU", 1) * in_flight))
    waiting, running = list(reversed(jobs)), {}
    while waiting or running:
        while waiting and len(running) < most:
            job = waiting.pop()
            running[task.remote(job, *given)] = job
        done, _ = ray.wait(list(running), num_returns=1)
        for reference in done:
            job = running.pop(reference)
            try:
                yield job, ray.get(reference), None
            except ray.exceptions.RayError as error:
                yield job, None, getattr(error, "cause", None) or error
