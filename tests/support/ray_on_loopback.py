"""A real Ray cluster on loopback: a head without cores and two workers of one core each, separate processes."""

from __future__ import annotations

import contextlib
import os
import pathlib
from collections.abc import Iterator
from typing import Any

import pytest

SUPPORT = pathlib.Path(__file__).parent
MEMORY = 100 * 2**20  # of the object store of each node


@contextlib.contextmanager
def ray_cluster(joined: bool = True) -> Iterator[Any]:
    """The cluster, its workers in `nodes_of_work`; skips where Ray is not installed.

    `joined`: this process hangs on the head before there are workers, and so not on one that a test is going to kill.
    """
    utilities = pytest.importorskip("ray.cluster_utils", reason="the package ray is not installed (make test-cluster)")
    path = os.pathsep.join([str(SUPPORT.parents[1]), str(SUPPORT), os.environ.get("PYTHONPATH", "")])
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "PYTHONPATH": path}
    head = {"num_cpus": 0, "include_dashboard": False, "object_store_memory": MEMORY}
    made = utilities.Cluster(initialize_head=True, head_node_args=head)
    import ray

    if joined:
        ray.init(address=made.address, logging_level="ERROR", log_to_driver=False)
    made.nodes_of_work = [made.add_node(num_cpus=1, object_store_memory=MEMORY) for _ in range(2)]
    made.wait_for_nodes()
    yield made
    if joined:
        ray.shutdown()
    made.shutdown()
