"""Labels of a batch as codes: columns without a value, categories, levels never seen."""

import polars as pl
import pytest
import small_scorer
from small_scorer import requests

from divergence.scoring.score import score_log


def score(model, logs, out, **options):
    """In this process."""
    return score_log(model, logs if isinstance(logs, list) else [logs], out, load=small_scorer.load, workers=0, **options)


@pytest.mark.parametrize("kind", ["null", "texts", "categories"])
def test_a_column_without_any_value_is_one_that_is_missing(kind, model, tmp_path):
    """In Parquet, Arrow and JSON; categories of Polars in Arrow files, whose names have a layout of their own, too."""
    frame = requests(300, 5).with_columns(regime=pl.lit("deployment"), time=pl.lit("2026-11-24T10:00:00Z"))
    for column in ("engine", "item", "execution_id", "score", "time"):
        empty = pl.lit(None) if kind == "null" else pl.lit(None, pl.String if kind == "texts" else pl.Categorical)
        rows = frame.with_columns(empty.alias(column))
        rows.write_parquet(tmp_path / f"{column}.parquet")
        rows.write_ipc(tmp_path / f"{column}.arrow")
        rows.write_ndjson(tmp_path / f"{column}.jsonl")
        files = [tmp_path / f"{column}.{end}" for end in ("parquet", "arrow", "jsonl")]
        scored = score(model, files, tmp_path / "out")
        assert not scored.failed and scored.manifest["scored"] == 900
        for file in files:
            out = pl.read_parquet(tmp_path / "out" / (file.name if file.suffix == ".parquet" else f"{file.name}.parquet"))
            assert column != "engine" or not out["known"].any()


def test_categories_in_an_arrow_file_are_labels(model, tmp_path):
    frame = requests(300, 5)
    frame.write_parquet(tmp_path / "a.parquet")
    frame.with_columns(pl.col("engine", "model", "item").cast(pl.Categorical)).write_ipc(tmp_path / "b.arrow")
    assert not score(model, [tmp_path / "a.parquet", tmp_path / "b.arrow"], tmp_path / "out").failed
    assert pl.read_parquet(tmp_path / "out/a.parquet").equals(pl.read_parquet(tmp_path / "out/b.arrow.parquet"))
