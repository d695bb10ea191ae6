"""The same report from a real Ray cluster on loopback, byte for byte, a node killed in the middle or not."""

import dataclasses
import re
import threading
import time

import numpy as np
import polars as pl
import pytest
from ray_on_loopback import ray_cluster

import divergence as dv
from divergence.cli import main
from divergence.errors import InputError
from divergence.executions import counted
from divergence.simulate import simulate, world

pytestmark = [pytest.mark.cluster, pytest.mark.filterwarnings("ignore")]  # Ray warns about its own future


@pytest.fixture(scope="module")
def cluster():
    with ray_cluster() as made:
        yield made


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Sessions with times and costs, whose sums depend on their order when floats are added, in seven files."""
    folder = tmp_path_factory.mktemp("log")
    log, _ = simulate(world("sessions", n_models=3, n_contexts=3, n_items=40), 0)
    rng, count = np.random.default_rng(0), log.height
    log = log.with_columns(latency_s=pl.Series(rng.lognormal(0, 2, count)), cost_usd=pl.Series(rng.lognormal(-9, 1, count)))
    for k, part in enumerate(np.array_split(rng.permutation(count), 7)):
        log[part.tolist()].write_parquet(folder / f"part-{k}.parquet")
    return folder


def run(*arguments):
    with pytest.raises(SystemExit) as done:
        main([str(each) for each in arguments])
    assert done.value.code in (0, 1)


def bytes_of(folder, names):
    return {name: (folder / name).read_bytes() for name in names}


def words_of(path):
    """A saved posterior without the seconds that it took, and without the seal over them."""
    return re.sub(r'"(cpu_seconds|words_sha256)": [^\n]*|[0-9.]+ CPU-s', "", path.read_text())


def test_fit_and_report_give_the_bytes_of_one_process(cluster, folder, tmp_path):
    run("fit", folder, "-o", tmp_path / "fit here", "--quiet")
    run("fit", folder, "-o", tmp_path / "fit there", "--quiet", "--ray", cluster.address)
    assert words_of(tmp_path / "fit here" / "posterior.json") == words_of(tmp_path / "fit there" / "posterior.json")
    arrays = [p.name for p in (tmp_path / "fit here").iterdir() if p.suffix == ".npz"]
    assert "draws.npz" in arrays
    assert bytes_of(tmp_path / "fit here", arrays) == bytes_of(tmp_path / "fit there", arrays)
    run("report", folder, "-o", tmp_path / "here", "--quiet")
    run("report", folder, "-o", tmp_path / "there", "--quiet", "--ray", cluster.address)
    names = [p.name for p in (tmp_path / "here").iterdir() if p.suffix in (".parquet", ".csv", ".npz")]
    assert names
    assert bytes_of(tmp_path / "here", names) == bytes_of(tmp_path / "there", names)


def test_distinct_rows_are_counted_on_the_cluster(cluster, folder, monkeypatch):
    monkeypatch.setattr(counted, "ROWS_MIN", 1)
    plain = dv.Configuration(where={})
    log = [pl.read_parquet(path).drop("latency_s", "cost_usd") for path in sorted(folder.glob("*.parquet"))]
    other = folder.parent / "labels"
    other.mkdir()
    for k, frame in enumerate(log):
        frame.write_parquet(other / f"{k}.parquet")
    here, there = (dv.read(str(other), configuration=plain, ray=ray) for ray in (None, cluster.address))
    assert there.tally is not None
    assert_same(dv.collapse(there), dv.collapse(here))


def assert_same(one, other):
    assert one.levels == other.levels
    for table in ("counts", "sessions", "measures", "histograms"):
        for name in (*getattr(one, table).keys, *getattr(one, table).sums):
            np.testing.assert_array_equal(getattr(one, table)[name], getattr(other, table)[name])


def test_a_node_killed_in_the_middle_changes_nothing(cluster, folder):
    """The node goes while tasks run: many files, so that both nodes are at work when it does."""
    paths = [str(path) for path in sorted(folder.glob("*.parquet"))]
    whole = dv.collapse(dv.read(paths))
    before = alive()

    def kill():
        time.sleep(1.0)
        cluster.remove_node(cluster.nodes_of_work.pop(), allow_graceful=False)

    killer = threading.Thread(target=kill)
    log = dv.read(paths, ray=cluster.address)
    killer.start()
    cells = [dv.collapse(log) for _ in range(3)]
    killer.join()
    end = time.monotonic() + 60
    while alive() == before and time.monotonic() < end:  # the head finds out that a node is gone after a while
        time.sleep(0.5)
    assert alive() == before - 1
    for each in cells:
        assert_same(each, whole)


def alive():
    import ray

    return sum(node["Alive"] for node in ray.nodes())


def test_a_file_that_no_node_sees_is_one_sentence(cluster, folder, tmp_path):
    path = tmp_path / "log.parquet"
    pl.read_parquet(next(iter(folder.glob("*.parquet")))).write_parquet(path)
    log = dv.read([str(path), str(next(iter(folder.glob("*.parquet"))))], ray=cluster.address)
    path.unlink()  # the node is this machine, so what this one sees is left out: a file that is gone here has changed
    log = dataclasses.replace(log, sources=tuple(dataclasses.replace(source, stamp=None) for source in log.sources))
    with pytest.raises(InputError, match="must lie where every node sees them under the same path"):
        dv.collapse(log)


def test_no_cluster_answers(folder):
    pytest.importorskip("ray", reason="the package ray is not installed (make test-cluster)").shutdown()
    with pytest.raises(InputError, match=r"no Ray cluster answers at 127\.0\.0\.1:1"):
        dv.collapse(dv.read(str(folder), ray="127.0.0.1:1"))
