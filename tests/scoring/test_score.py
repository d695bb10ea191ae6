"""Scoring a log of partitions: right rows and numbers, and the same bytes however it was run."""

import hashlib
import json

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import small_scorer
from small_scorer import ENGINES, ITEMS, MODELS

from divergence.errors import InputError
from divergence.scoring.score import score_log


def obvious(path):
    """A loop over the rows of a partition."""
    out = []
    for row in pl.read_parquet(path).iter_rows(named=True):
        if row["regime"] == "deployment":
            context = f"engine={row['engine']}"
            levels = (
                row["model"] if row["model"] in MODELS else None,
                context if row["engine"] in ENGINES else None,
                row["item"] if row["item"] in ITEMS else None,
            )
            risk = small_scorer.risk_of(0, *levels)
            out.append((row["execution_id"], risk, None not in levels[:2]))
    return out


def test_every_request_gets_its_own_number(model, logs, tmp_path):
    scored = score_log(model, [logs], tmp_path / "out", load=small_scorer.load, workers=0)
    assert not scored.failed
    for k in range(6):
        name = f"part-{k}.parquet" if k < 5 else f"late/part-{k}.parquet"
        out = pl.read_parquet(tmp_path / "out" / name)
        assert list(out.select("execution_id", "risk", "known").iter_rows()) == obvious(logs / name)
    made = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert made["rows"] == sum(2000 + 100 * k for k in range(6)) == made["scored"] + made["evaluation"]
    assert (
        made["partitions"][0]["input"] == "sha256:" + hashlib.sha256((logs / "late/part-5.parquet").read_bytes()).hexdigest()
    )


def test_two_files_of_one_result_are_refused_before_anything_is_written(model, logs, tmp_path):
    rows = pl.read_parquet(logs / "part-0.parquet")
    folder = tmp_path / "twins"
    folder.mkdir()
    rows.head(50).write_csv(folder / "a.csv")
    rows.write_parquet(folder / "a.csv.parquet")
    with pytest.raises(InputError, match=r"a\.csv\.parquet would have one result"):
        score_log(model, [folder], tmp_path / "out", load=small_scorer.load, workers=0)
    assert not (tmp_path / "out").exists()


def test_the_cut_into_batches_changes_no_byte(model, logs, tmp_path, monkeypatch):
    score_log(model, [logs], tmp_path / "whole", load=small_scorer.load, workers=0)
    monkeypatch.setattr("divergence.scoring.sources.BATCH", 333)
    score_log(model, [logs], tmp_path / "cut", load=small_scorer.load, workers=0)
    whole, cut = (pq.read_table(tmp_path / n / "part-0.parquet") for n in ("whole", "cut"))
    assert whole.equals(cut)


def test_the_score_never_sees_the_outcome(model, logs, tmp_path):
    seen = set()

    def load(folder):
        scorer = small_scorer.load(folder)
        score = scorer.score
        scorer.score = lambda batch: (seen.update(batch.schema.names), score(batch))[1]
        return scorer

    score_log(model, [logs / "part-0.parquet"], tmp_path / "out", load=load, workers=0)
    assert seen == {"execution_id", "model", "item", "task", "context", "engine"}


def test_other_formats_give_the_same_numbers(model, logs, tmp_path):
    frame = pl.read_parquet(logs / "part-0.parquet")
    other = tmp_path / "other"
    other.mkdir()
    frame.write_csv(other / "a.csv")
    frame.write_ndjson(other / "a.jsonl")
    frame.write_ipc(other / "a.arrow")
    pq.write_table(pa.table(frame.to_arrow()), other / "a.parquet")
    score_log(model, [other], tmp_path / "out", load=small_scorer.load, workers=0)
    first = pl.read_parquet(tmp_path / "out" / "a.parquet")
    for name in ("a.csv", "a.jsonl", "a.arrow"):
        assert pl.read_parquet(tmp_path / "out" / f"{name}.parquet").equals(first), name
