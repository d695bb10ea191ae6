"""The same import from a real Ray cluster on loopback: a head without cores and two workers."""

import re

import pytest
from genuine_logs import genuine
from ray_on_loopback import ray_cluster

from divergence.errors import InputError
from divergence.executions.importers import import_log, write

pytestmark = [pytest.mark.cluster, pytest.mark.filterwarnings("ignore")]  # Ray warns about its own future


@pytest.fixture(scope="module")
def cluster():
    with ray_cluster(joined=False) as made:
        yield made


def without_identity(content):
    """A file without the mark that its import has given to all of its files, another one each time."""
    return re.sub(rb'"together": "[0-9a-f]{32}"', b"", content)


@pytest.mark.parametrize("format", ["inspect", "lm-eval"])
def test_cluster_gives_the_bytes_of_one_process(format, cluster, tmp_path):
    files = genuine().get(format, ())
    if not files:
        pytest.skip(f"there are no genuine files of {format} on this machine")
    write(import_log(files, format, workers=0), tmp_path / "here.parquet")
    write(import_log(files, format, ray=cluster.address), tmp_path / "cluster.parquet")
    here, there = (without_identity((tmp_path / f"{name}.parquet").read_bytes()) for name in ("here", "cluster"))
    assert here == there


def test_no_cluster_answers(tmp_path):
    pytest.importorskip("ray", reason="the package ray is not installed (make test-cluster)")
    path = tmp_path / "samples_t_2026-01-01T00-00-00.0.jsonl"
    path.write_text("{}\n")
    with pytest.raises(InputError, match=r"no Ray cluster answers at 127\.0\.0\.1:1"):
        import_log([path], ray="127.0.0.1:1")
