"""Text that is parsed once and packed: the same rows, there as long as anything reads them, and no longer."""

import gc
import json
import shutil

import polars as pl
import pytest

import divergence as dv
from divergence.executions import held_sources


@pytest.fixture
def packed(tmp_path, monkeypatch):
    """Every text is packed, into this folder."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(held_sources, "IN_MEMORY", 0)
    monkeypatch.setattr(held_sources.tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture(params=["log.jsonl", "log.csv"])
def log(request, tmp_path):
    rows = pl.DataFrame(
        {
            "regime": ["evaluation", "deployment"] * 300,
            "model": ["a", "b", " "] * 200,
            "item": [f"i{k}" for k in range(600)],
            "score": [k % 2 for k in range(600)],
            "context": ["c", None] * 300,
        }
    )
    path = tmp_path / request.param
    rows.write_csv(path) if path.suffix == ".csv" else rows.write_ndjson(path)
    return path


def test_packed_rows_are_the_rows(packed, log, monkeypatch):
    read = dv.read(log, accept_rejected=1)
    assert list(packed.glob("*/rows.arrow"))
    monkeypatch.setattr(held_sources, "IN_MEMORY", 2**30)
    plain = dv.read(log, accept_rejected=1)
    assert read.counts == plain.counts and read.counts.rejected == {"model_given": 200}
    assert read.valid.equals(plain.valid) and read.rejected.equals(plain.rejected)
    for plan in (
        lambda rows: rows.head(7).filter(pl.col("score") == 1),
        lambda rows: rows.filter(pl.col("score") == 1).head(7),
    ):
        assert plan(read.scan()).collect().equals(plan(plain.scan()).collect())


def test_they_are_there_as_long_as_a_plan_reads_them(packed, log):
    rows = dv.read(log, accept_rejected=1).scan().select("model", "item")
    gc.collect()
    assert rows.collect().height == 400 and list(packed.iterdir())
    del rows
    gc.collect()
    assert not list(packed.iterdir())


def test_without_room_and_with_long_texts_the_text_is_passed_over(packed, log, monkeypatch, tmp_path):
    monkeypatch.setattr(held_sources, "ROOM", shutil.disk_usage(packed).total)
    assert dv.read(log, accept_rejected=1).counts.valid == 400 and not list(packed.iterdir())
    monkeypatch.setattr(held_sources, "ROOM", 2)
    path = tmp_path / "long.jsonl"
    row = {"regime": "evaluation", "model": "m", "score": 1, "context": "c", "prompt": "word " * 100}
    path.write_text("\n".join(json.dumps(row | {"item": f"i{k}"}) for k in range(50)))
    assert dv.read(path).counts.valid == 50 and not list(packed.iterdir())
