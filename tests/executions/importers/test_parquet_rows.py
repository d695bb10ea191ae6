"""Rows of Parquet one by one: whatever the row groups are, without the columns that nobody asks for."""

import datetime
import decimal

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from divergence.errors import InputError
from divergence.executions.importers import import_log, parquet_rows


@pytest.fixture
def table():
    nested = [{"input": number, "output": None} for number in range(5000)]
    times = [datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC) + datetime.timedelta(microseconds=n) for n in range(5000)]
    return pl.DataFrame({"id": [f"r{n}" for n in range(5000)], "usage": nested, "time": times, "text": ["x" * 100] * 5000})


@pytest.mark.parametrize("group", [7, 1999, 2001, 5000, 10**6])
def test_rows_are_numbered_over_groups_and_batches(tmp_path, table, group):
    table.write_parquet(tmp_path / "a.parquet", row_group_size=group)
    found = list(parquet_rows.records(tmp_path / "a.parquet", lambda name: name != "text"))
    assert [row for row, _ in found] == list(range(1, 5001))
    assert [record for _, record in found] == table.drop("text").to_dicts()


def test_decimals_of_databases_are_floats_wherever_they_stand(tmp_path):
    money = pa.decimal128(18, 12)
    paid = [decimal.Decimal("0.000123"), None]
    table = pa.table(
        {
            "plain": pa.array(paid, money),
            "listed": pa.array([paid, []], pa.list_(money)),
            "nested": pa.array([{"a": {"b": paid[0]}}, None], pa.struct([("a", pa.struct([("b", money)]))])),
            "mapped": pa.array([[("total", paid[0])], []], pa.map_(pa.string(), money)),
        }
    )
    pq.write_table(table, tmp_path / "a.parquet")
    (_, first), (_, second) = parquet_rows.records(tmp_path / "a.parquet")
    assert (first["plain"], first["listed"], first["nested"]) == (0.000123, [0.000123, None], {"a": {"b": 0.000123}})
    assert first["mapped"] in ({"total": 0.000123}, [{"key": "total", "value": 0.000123}])
    assert second["plain"] is None and second["listed"] == [] and not second["mapped"]


def test_times_in_nanoseconds_and_categories_are_read(tmp_path):
    frame = pl.DataFrame({"t": [1, 2_000_000_001], "c": ["a", "b"]}).with_columns(
        pl.col("t").cast(pl.Datetime("ns", "UTC")), pl.col("c").cast(pl.Categorical)
    )
    frame.write_parquet(tmp_path / "a.parquet")
    found = [record for _, record in parquet_rows.records(tmp_path / "a.parquet")]
    assert [record["c"] for record in found] == ["a", "b"]
    assert found[1]["t"] == datetime.datetime(1970, 1, 1, 0, 0, 2, tzinfo=datetime.UTC)


def test_a_damaged_file_is_a_sentence_without_its_content(tmp_path, table):
    table.write_parquet(tmp_path / "a.parquet")
    content = (tmp_path / "a.parquet").read_bytes()
    for damaged in (content[: len(content) // 2], content[:4] + b"\0" * 2000 + content[2004:]):
        (tmp_path / "b.parquet").write_bytes(damaged)
        with pytest.raises(InputError, match="is no readable Parquet file"):
            list(parquet_rows.records(tmp_path / "b.parquet"))
    assert parquet_rows.names(tmp_path / "absent.parquet") is None
    assert parquet_rows.names(tmp_path / "a.parquet") == set(table.columns)


def test_rows_of_an_export_that_are_set_aside_keep_their_places(tmp_path):
    runs = [{"id": f"r{n}", "trace_id": "t", "run_type": "llm", "dotted_order": "x", "name": "n"} for n in range(4500)]
    runs = [{**run, "start_time": "2026-01-01T00:00:00", "extra": '{"metadata": {"ls_model_name": "m"}}'} for run in runs]
    runs[4321]["extra"] = "{}"
    pl.DataFrame(runs).write_parquet(tmp_path / "runs.parquet")
    imported = import_log([tmp_path / "runs.parquet"])
    assert imported.format == "langsmith" and imported.rows == 4499
    assert imported.rejected["row"].to_list() == [4322]
