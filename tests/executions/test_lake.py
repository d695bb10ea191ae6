"""Delta and Iceberg tables as logs, where their packages are there, and one sentence where they are not."""

import importlib.util
import os

import polars as pl
import pytest

import divergence.executions as executions
from divergence.errors import InputError
from divergence.executions import files

ROWS = pl.DataFrame({"regime": ["evaluation"] * 4, "model": "m", "item": list("abcd"), "score": [0.0, 1.0, 1.0, 1.0]})


def test_a_delta_table_is_a_log(tmp_path):
    pytest.importorskip("deltalake")
    ROWS.write_delta(str(tmp_path / "log"))
    log = executions.read(tmp_path / "log")
    assert (log.counts.valid, log.valid["score"].sum()) == (4, 3.0)


def test_rows_added_to_and_deleted_from_a_delta_table_are_those_of_its_last_version(tmp_path):
    deltalake = pytest.importorskip("deltalake")
    place = str(tmp_path / "log")
    ROWS.write_delta(place)
    ROWS.with_columns(item=pl.col("item") + "2").write_delta(place, mode="append")
    deltalake.DeltaTable(place).delete("item = 'a'")
    log = executions.read(tmp_path / "log")
    assert (log.counts.valid, log.valid["score"].sum()) == (7, 6.0)


def test_an_iceberg_table_is_a_log(tmp_path):
    catalogs = pytest.importorskip("pyiceberg.catalog.sql", reason="pyiceberg (extra lake) with sqlite is not installed")
    catalog = catalogs.SqlCatalog("log", uri=f"sqlite:///{tmp_path}/catalog.db", warehouse=f"file://{tmp_path}/warehouse")
    catalog.create_namespace("n")
    table = catalog.create_table("n.log", schema=ROWS.to_arrow().schema)
    table.append(ROWS.to_arrow())
    table.append(ROWS.with_columns(item=pl.col("item") + "2").to_arrow())
    table.delete("item == 'a'")
    (folder,) = (path.parent for path in tmp_path.rglob("metadata") if path.is_dir())
    log = executions.read(folder)
    assert (log.counts.valid, log.valid["score"].sum()) == (7, 6.0)


def test_the_newest_version_is_the_one_with_the_highest_number(tmp_path):
    for age, name in enumerate(["v9", "v10", "v2"]):
        file = tmp_path / f"{name}.metadata.json"
        file.touch()
        os.utime(file, (1000 + age, 1000 + age))
    assert max(tmp_path.iterdir(), key=files._version).name == "v10.metadata.json"


@pytest.mark.parametrize(("kind", "package"), [("delta", "deltalake"), ("iceberg", "pyiceberg")])
def test_without_its_package_a_table_names_it(tmp_path, kind, package):
    if importlib.util.find_spec(package):
        pytest.skip(f"{package} is installed")
    folder = tmp_path / {"delta": "_delta_log", "iceberg": "metadata"}[kind]
    folder.mkdir()
    (folder / "00000.metadata.json").write_text("{}")
    with pytest.raises(InputError, match=f"table of {kind}.*pip install {package}"):
        executions.read(tmp_path)
