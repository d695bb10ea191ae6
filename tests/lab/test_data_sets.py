"""Are the other committed data sets what their plans say, and do they hold their controls?"""

import hashlib
import json
from pathlib import Path

import polars as pl
import pytest

from divergence.errors import InputError
from divergence.probe.item_files import read_items
from divergence.probe.reading import read_plan
from lab.dataset import write_dataset

DATASETS = Path(__file__).parents[2] / "datasets"
SETS = ["serving-stream", "serving-agents", "serving-speculation", "serving-growth"]
SWITCH = 800  # requests before the router changes, as in the plan


@pytest.mark.parametrize("name", SETS)
def test_checksums_and_schema_are_right(name):
    folder = DATASETS / name
    for line in (folder / "SHA256").read_text().splitlines():
        digest, file = line.split("  ")
        assert hashlib.sha256((folder / file).read_bytes()).hexdigest() == digest, file
    declared = json.loads((folder / "schema.json").read_text())
    rows = pl.read_parquet(folder / "data.parquet")
    assert [c["name"] for c in declared["columns"]] == rows.columns and declared["rows"] == rows.height


@pytest.mark.parametrize("name", SETS)
def test_rows_are_those_of_the_plan(name):
    folder = DATASETS / name
    plan = read_plan(folder / "plan.toml")
    rows = pl.read_parquet(folder / "data.parquet")
    assert set(rows["context"]) == {c.label for c in plan.context}
    assert set(rows["model"]) == {s.model for s in plan.system}
    assert rows["execution_id"].n_unique() == rows.height
    assert {i["item"] for i in read_items(plan)} == set(rows.filter(regime="evaluation")["item"])
    assert rows["error_type"].null_count() == rows.height


def test_a_finished_run_becomes_the_same_data_set(tmp_path, monkeypatch):
    """The committed tables, shuffled as a run leaves them, give the committed files again; embeddings are the lab's."""
    monkeypatch.setattr("lab.dataset.write_embeddings", lambda *texts_and_path: texts_and_path[-1].touch())
    held, run = DATASETS / "serving-agents", tmp_path / "run"
    run.mkdir()
    pl.read_parquet(held / "data.parquet").sort("time", "execution_id").write_parquet(run / "executions.parquet")
    pl.read_parquet(held / "outcomes.parquet").sort("execution_id").write_parquet(run / "outcomes.parquet")
    made = write_dataset(run, held / "plan.toml", tmp_path / "made")
    for name in ("data", "outcomes"):
        assert pl.read_parquet(made / f"{name}.parquet").equals(pl.read_parquet(held / f"{name}.parquet"))
    for name in ("schema.json", "plan.toml", "agents.jsonl", "chats.jsonl"):
        assert (made / name).read_bytes() == (held / name).read_bytes(), name
    for line in (made / "SHA256").read_text().splitlines():
        digest, file = line.split("  ")
        assert hashlib.sha256((made / file).read_bytes()).hexdigest() == digest
    with pytest.raises(InputError, match="has not finished"):
        write_dataset(tmp_path, held / "plan.toml", tmp_path / "none")


def test_the_incident_is_a_dependence_and_not_a_margin():
    """After request 800 the replica follows from the prompt's length; before, it does not; shares and accuracy stay."""
    rows = pl.read_parquet(DATASETS / "serving-stream" / "data.parquet").filter(context="stream").sort("model", "time")
    rows = rows.with_columns(number=pl.int_range(pl.len()).over("model"), first=pl.col("region").eq("a").cast(pl.Float64))
    seen = rows.group_by("model", after=pl.col("number") >= SWITCH).agg(
        pl.len(),
        pl.col("score").mean(),
        pl.col("first").mean(),
        rho=pl.corr("input_tokens", "first", method="spearman"),
    )
    assert seen["len"].to_list() == [SWITCH] * 4
    assert (seen.filter(~pl.col("after"))["rho"].abs() < 3 / SWITCH**0.5).all()  # three standard errors of no correlation
    assert (seen.filter("after")["rho"] > 0.7).all()
    assert ((seen["first"] - 0.5).abs() < 3 * 0.5 / SWITCH**0.5).all()
    moved = seen.group_by("model").agg(pl.col("score").max() - pl.col("score").min())
    assert (moved["score"] < 3 * (2 * 0.25 / SWITCH) ** 0.5).all()


def test_agents_repeat_themselves_unless_they_are_sampled():
    rows = pl.read_parquet(DATASETS / "serving-agents" / "data.parquet").filter(pl.col("calls").is_not_null())
    waves = rows.pivot("wave", index=["context", "model", "item"], values="score", aggregate_function="first")
    moved = dict(waves.group_by("context").agg((pl.col("1") != pl.col("2")).mean()).rows())
    assert moved["bench"] == moved["cut"] == 0.0 and moved["sampled"] > 0.1
    assert rows.filter(task_length=4)["score"].sum() == 0
