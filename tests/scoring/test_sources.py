"""Which files are partitions of a log, and under which names."""

import json
import shutil

import polars as pl
import pytest
import small_scorer
from small_scorer import requests

from divergence.configuration import Configuration, Wide
from divergence.scoring.score import score_log


def score(model, logs, out, **options):
    """In this process."""
    return score_log(model, logs if isinstance(logs, list) else [logs], out, load=small_scorer.load, workers=0, **options)


def partition(scored, name):
    """The manifest's entry of a partition."""
    return next(p for p in scored.manifest["partitions"] if p["partition"].endswith(name))


PLANS = {
    "a stream": {"item": "i0", "task": "t", "session": "s", "prompt": "?"},
    "items": {"item": "i0", "gold": "a"},
    "a plan": {"context": "a", "engine": "vllm"},
    "prices": {"model": "m0", "usd": 1.0},
}


@pytest.mark.parametrize("row", PLANS.values(), ids=PLANS)
def test_what_holds_no_requests_is_skipped_in_a_folder_and_fails_where_it_is_named(row, model, logs, tmp_path):
    pl.DataFrame([row]).write_ndjson(logs / "other.jsonl")
    scored = score(model, logs, tmp_path / "out")
    assert not scored.failed and [s["file"] for s in scored.manifest["skipped"]] == [str(logs / "other.jsonl")]
    assert "no execution log" in scored.manifest["skipped"][0]["reason"]
    named = score(model, [logs / "other.jsonl", logs / "part-0.parquet"], tmp_path / "named")
    assert [f["partition"] for f in named.failed] == [str(logs / "other.jsonl")] and not named.manifest["skipped"]


@pytest.mark.parametrize("columns", [("model", "item"), ("model", "engine"), ("model", "score"), ("model", "execution_id")])
def test_a_model_and_one_thing_more_of_a_request_make_a_log(columns, model, tmp_path):
    requests(50, 1).select(columns).write_csv(tmp_path / "a.csv")
    assert score(model, tmp_path / "a.csv", tmp_path / "out").manifest["scored"] == 50


def test_other_files_of_a_folder_are_named_and_left_aside(model, logs, tmp_path):
    (logs / "notes.md").write_text("notes")
    (logs / "items.jsonl").write_text('{"item": "i0", "prompt": "?"}\n')
    (logs / "schema.json").write_text('{"columns": {"a": 1}}')
    (logs / "_hidden.parquet").write_bytes(b"x")
    pl.DataFrame({"execution_id": ["a"], "metric": ["x"], "value": [1.0]}).write_parquet(logs / "outcomes.parquet")
    scored = score(model, logs, tmp_path / "out")
    assert not scored.failed and len(scored.manifest["partitions"]) == 6
    assert sorted(s["file"].rsplit("/", 1)[1] for s in scored.manifest["skipped"]) == [
        "items.jsonl",
        "notes.md",
        "outcomes.parquet",
        "schema.json",
    ]


def test_names_that_collide_are_told_apart(model, logs, tmp_path):
    shutil.copytree(logs, tmp_path / "more")
    scored = score(model, [logs, tmp_path / "more"], tmp_path / "out")
    assert len(scored.manifest["partitions"]) == 12 == len(list((tmp_path / "out").rglob("*.parquet")))
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["failed"] == []


def _risks(out):
    return pl.read_parquet(out / "*.parquet").sort("execution_id")


@pytest.mark.parametrize("written", ["jsonl", "parquet", "arrow"])
def test_names_inside_records_are_scored_as_flat_ones(written, model, tmp_path):
    flat = requests(400, 3)
    inside = flat.select(
        "execution_id",
        pl.struct("model", pl.col("engine")).alias("meta"),
        pl.struct("item", pl.struct(correct="score").alias("judged")).alias("data"),
        *(c for c in flat.columns if c not in ("execution_id", "model", "engine", "item", "score")),
    )
    (tmp_path / "nested").mkdir()
    target = tmp_path / "nested" / f"a.{written}"
    {"jsonl": inside.write_ndjson, "parquet": inside.write_parquet, "arrow": inside.write_ipc}[written](target)
    flat.write_parquet(tmp_path / "flat.parquet")
    names = {"model": "meta.model", "engine": "meta.engine", "item": "data.item", "score": "data.judged.correct"}
    one = score(model, target, tmp_path / "one", configuration=Configuration(columns=names))
    two = score(model, tmp_path / "flat.parquet", tmp_path / "two")
    assert not one.failed and one.manifest["scored"] == two.manifest["scored"] > 300
    assert _risks(tmp_path / "one").equals(_risks(tmp_path / "two"))


def test_a_wide_table_is_scored_cell_by_cell(model, tmp_path):
    pl.DataFrame({"llm": ["m0", "m1", "m9"], "engine": ["vllm"] * 3, "i0": [1, 0, 1], "i3": [0, 1, None]}).write_csv(
        tmp_path / "wide.csv"
    )
    long = pl.DataFrame(
        {
            "execution_id": [f"{k}" for k in range(6)],
            "model": ["m0", "m1", "m9"] * 2,
            "engine": ["vllm"] * 6,
            "item": ["i0"] * 3 + ["i3"] * 3,
            "score": [1, 0, 1, 0, 1, None],
            "regime": ["deployment"] * 6,
        }
    )
    long.write_csv(tmp_path / "long.csv")
    declared = Configuration(wide=Wide(model="llm", columns=("i0", "i3")), constants={"regime": "deployment"})
    one = score(model, tmp_path / "wide.csv", tmp_path / "one", configuration=declared)
    two = score(model, tmp_path / "long.csv", tmp_path / "two")
    assert not one.failed and one.manifest["scored"] == two.manifest["scored"] == 6
    one, two = (_risks(tmp_path / out)["risk"].sort() for out in ("one", "two"))  # of this model each is another number
    assert one.equals(two) and one[:4].n_unique() == 4
