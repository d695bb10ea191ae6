"""Delta and Iceberg tables as logs, where their packages are there, and one sentence where they are not."""

import importlib.util

import polars as pl
import pytest

import divergence.executions as executions
from divergence.errors import InputError

ROWS = pl.DataFrame({"regime": ["evaluation"] * 4, "model": "m", "item": list("abcd"), "score": [0.0, 1.0, 1.0, 1.0]})


def test_a_delta_table_is_a_log(tmp_path):
    pytest.importorskip("deltalake")
    ROWS.write_delta(str(tmp_path / "log"))
    log = executions.read(tmp_path / "log")
    assert (log.counts.valid, log.valid["score"].sum()) == (4, 3.0)


@pytest.mark.parametrize(("kind", "package"), [("delta", "deltalake"), ("iceberg", "pyiceberg")])
def test_without_its_package_a_table_names_it(tmp_path, kind, package):
    if importlib.util.find_spec(package):
        pytest.skip(f"{package} is installed")
    folder = tmp_path / {"delta": "_delta_log", "iceberg": "metadata"}[kind]
    folder.mkdir()
    (folder / "00000.metadata.json").write_text("{}")
    with pytest.raises(InputError, match=f"table of {kind}.*pip install {package}"):
        executions.read(tmp_path)
