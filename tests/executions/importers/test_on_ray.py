"""The same import from a real Ray cluster on loopback: a head without cores and two workers."""

import os
import pathlib

import pytest
from genuine_logs import genuine

from divergence.errors import InputError
from divergence.executions.importers import import_log, write

pytestmark = [pytest.mark.cluster, pytest.mark.filterwarnings("ignore")]  # Ray warns about its own future


@pytest.fixture(scope="module")
def cluster():
    utilities = pytest.importorskip("ray.cluster_utils", reason="the package ray is not installed (make test-cluster)")
    os.environ |= {
        "RAY_USAGE_STATS_ENABLED": "0",
        "PYTHONPATH": os.pathsep.join([str(pathlib.Path(__file__).parents[3]), os.environ.get("PYTHONPATH", "")]),
    }
    memory = 100 * 2**20
    made = utilities.Cluster(
        initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False, "object_store_memory": memory}
    )
    for _ in range(2):
        made.add_node(num_cpus=1, object_store_memory=memory)
    made.wait_for_nodes()
    yield made
    made.shutdown()


@pytest.mark.parametrize("format", ["inspect", "lm-eval"])
def test_cluster_gives_the_bytes_of_one_process(format, cluster, tmp_path):
    files = genuine().get(format, ())
    if not files:
        pytest.skip(f"there are no genuine files of {format} on this machine")
    write(import_log(files, format, workers=0), tmp_path / "here.parquet")
    write(import_log(files, format, ray=cluster.address), tmp_path / "cluster.parquet")
    assert (tmp_path / "here.parquet").read_bytes() == (tmp_path / "cluster.parquet").read_bytes()


def test_no_cluster_answers(tmp_path):
    pytest.importorskip("ray", reason="the package ray is not installed (make test-cluster)")
    path = tmp_path / "samples_t_2026-01-01T00-00-00.0.jsonl"
    path.write_text("{}\n")
    with pytest.raises(InputError, match=r"no Ray cluster answers at 127\.0\.0\.1:1"):
        import_log([path], ray="127.0.0.1:1")
