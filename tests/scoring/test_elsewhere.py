"""The recipes of docs/score_elsewhere.md, run as they stand, against `divergence score`."""

import os
import pathlib
import re
import sys
import types

import polars as pl
import pyarrow as pa
import pytest
import small_scorer

from divergence.scoring.score import score_log

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "score_elsewhere.md"


@pytest.fixture
def recipes(model):
    """The code of the page, with the small scorer in the place of the risk model."""
    code = "\n".join(re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL))
    code = code.replace("from divergence.risk.model import RiskModel", "import small_scorer")
    code = code.replace("RiskModel.load(MODEL)", f"small_scorer.load({str(model)!r})")
    module = types.ModuleType("recipes")
    exec(compile(code, str(PAGE), "exec"), module.__dict__)
    return module


@pytest.fixture
def expected(model, logs, tmp_path):
    """What `divergence score` gives for one partition."""
    score_log(model, [logs / "part-0.parquet"], tmp_path / "out", load=small_scorer.load, workers=0)
    return pl.read_parquet(tmp_path / "out" / "part-0.parquet").with_columns(pl.col("reason").cast(pl.String))


def test_the_function_itself(recipes, logs, expected):
    batches = pl.read_parquet(logs / "part-0.parquet").to_arrow(compat_level=pl.CompatLevel.oldest()).to_batches(300)
    scores = pa.Table.from_batches(recipes.score_batches(batches))
    assert pl.from_arrow(scores).equals(expected)


def test_rows_without_ids_are_refused_and_not_numbered_from_one_again(recipes, logs):
    batches = pl.read_parquet(logs / "part-0.parquet").drop("execution_id").to_arrow().to_batches(300)
    with pytest.raises(ValueError, match="have no execution_id"):
        next(recipes.score_batches(batches))


def joined(rows, scores, expected, numbered):
    """Scores found by their id are those of their row: told by the ids that the log had under another name."""
    assert rows["execution_id"].n_unique() == rows.height == numbered and not rows["execution_id"].is_null().any()
    found = rows.select("execution_id", "id").join(scores, on="execution_id").drop("execution_id")
    assert (
        found.rename({"id": "execution_id"})
        .sort("execution_id")
        .select(expected.columns)
        .equals(expected.sort("execution_id"))
    )


def test_daft_numbers_rows_without_ids(recipes, logs, expected):
    daft = pytest.importorskip("daft", reason="the package daft is not installed")
    raw = pl.read_parquet(logs / "part-0.parquet").rename({"execution_id": "id"})
    for k, part in enumerate((raw.head(900), raw.tail(1100))):
        part.write_parquet(logs / f"half-{k}.parquet")
    rows = recipes.with_daft_ids(daft.read_parquet(str(logs / "half-*.parquet")))
    scores = recipes.score_with_daft(rows)
    assert recipes.with_daft_ids(rows) is rows
    joined(pl.from_arrow(rows.to_arrow()), pl.from_arrow(scores.to_arrow()), expected, raw.height)


def test_daft(recipes, logs, expected):
    daft = pytest.importorskip("daft", reason="the package daft is not installed")
    scores = recipes.score_with_daft(daft.read_parquet(str(logs / "part-0.parquet")))
    assert pl.from_arrow(scores.to_arrow()).select(expected.columns).equals(expected)


@pytest.fixture
def spark(monkeypatch):
    """A Spark session of two threads on this machine."""
    sql = pytest.importorskip("pyspark.sql", reason="the package pyspark is not installed")
    monkeypatch.setenv("PYSPARK_PYTHON", sys.executable)
    monkeypatch.setenv(
        "PYTHONPATH", os.pathsep.join(map(str, (PAGE.parents[1], pathlib.Path(small_scorer.__file__).parent)))
    )
    builder = sql.SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false")
    session = builder.config("spark.driver.host", "127.0.0.1").config("spark.driver.bindAddress", "127.0.0.1").getOrCreate()
    yield session
    session.stop()


@pytest.mark.filterwarnings("ignore")
def test_spark(recipes, logs, expected, spark):
    scores = recipes.score_with_spark(spark.read.parquet(str(logs / "part-0.parquet"))).toPandas()
    assert pl.from_pandas(scores).sort("execution_id").equals(expected.sort("execution_id"))


@pytest.mark.filterwarnings("ignore")
def test_spark_numbers_rows_without_ids(recipes, logs, expected, spark):
    raw = pl.read_parquet(logs / "part-0.parquet").rename({"execution_id": "id"})
    raw.write_parquet(logs / "raw.parquet")
    rows = recipes.with_spark_ids(spark.read.parquet(str(logs / "raw.parquet")).repartition(3))
    scores = recipes.score_with_spark(rows).toPandas()
    assert recipes.with_spark_ids(rows) is rows
    joined(pl.from_pandas(rows.toPandas()), pl.from_pandas(scores), expected, raw.height)
