"""A partition that fails costs itself alone."""

from decimal import Decimal

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import small_scorer
from small_scorer import ENGINES, ITEMS, MODELS, requests

from divergence.scoring.score import score_log


def score(model, logs, out, **options):
    """In this process."""
    return score_log(model, logs if isinstance(logs, list) else [logs], out, load=small_scorer.load, workers=0, **options)


def partition(scored, name):
    """The manifest's entry of a partition."""
    return next(p for p in scored.manifest["partitions"] if p["partition"].endswith(name))


def poison(kind, path):
    """Replace a partition by something that is none."""
    frame = pl.read_parquet(path)
    if kind == "not parquet":
        path.write_bytes(b"these are no columns" * 100)
    elif kind == "cut short":
        path.write_bytes(path.read_bytes()[:-900])
    elif kind == "damaged inside":
        whole = bytearray(path.read_bytes())
        whole[300:2500] = bytes(2200)
        path.write_bytes(bytes(whole))
    elif kind == "no model":
        frame.drop("model").write_parquet(path)
    elif kind == "misread":
        frame.with_columns(model=pl.when(pl.col("item") < "i3").then(None).otherwise("model")).write_parquet(path)
    elif kind == "empty file":
        path.write_bytes(b"")
    elif kind == "a column twice":
        table = pq.read_table(path)
        pq.write_table(table.append_column("engine", table["engine"]), path)
    elif kind == "panic":  # a type that the reader of labels cannot hold
        table = pq.read_table(path)
        wide = pa.array([Decimal(k) for k in range(table.num_rows)], pa.decimal256(60, 2))
        pq.write_table(table.set_column(table.schema.get_field_index("item"), "item", wide), path)
    elif kind == "gone":
        path.unlink()
        path.symlink_to("/nowhere/at/all.parquet")


@pytest.mark.parametrize(
    "kind, words",
    [
        ("not parquet", "Parquet"),
        ("cut short", "Parquet"),
        ("damaged inside", ""),
        ("no model", "no column model"),
        ("misread", "by model_given; for example row"),
        ("empty file", "Parquet"),
        ("gone", "no such file"),
        ("a column twice", "engine twice"),
        ("panic", ""),
    ],
)
def test_a_poisoned_partition_is_one_sentence_and_the_rest_completes(kind, words, model, logs, tmp_path):
    good = score(model, logs, tmp_path / "good")
    poison(kind, logs / "part-2.parquet")
    scored = score(model, logs, tmp_path / "out")
    assert [f["partition"] for f in scored.failed] == [str(logs / "part-2.parquet")]
    reason = scored.failed[0]["reason"]
    assert words.lower() in reason.lower() and len(reason) > 15 and "\n" not in reason
    assert not (tmp_path / "out" / "part-2.parquet").exists()
    assert not good.failed
    for name in ("part-0.parquet", "late/part-5.parquet"):
        assert (tmp_path / "good" / name).read_bytes() == (tmp_path / "out" / name).read_bytes()


def test_an_error_nobody_foresaw_and_a_dead_worker_cost_one_partition(logs, tmp_path):
    for k, how in ((1, "raise"), (2, "die")):
        frame = pl.read_parquet(logs / f"part-{k}.parquet")
        frame.with_columns(model=pl.lit(f"provokes {how}")).write_parquet(logs / f"part-{k}.parquet")
    model = small_scorer.save(
        tmp_path / "bad", MODELS, ENGINES, ITEMS, misbehave={how: f"provokes {how}" for how in ("raise", "die")}
    )
    scored = score_log(model, [logs], tmp_path / "out", load=small_scorer.load, workers=2)
    assert [f["partition"] for f in scored.failed] == [str(logs / f"part-{k}.parquet") for k in (1, 2)]
    assert "ZeroDivisionError: the scorer divides by zero" in scored.failed[0]["reason"]
    assert "exit code 9" in scored.failed[1]["reason"]
    assert len(list((tmp_path / "out").rglob("*.parquet"))) == 4


def test_partitions_may_drift_apart(model, tmp_path):
    logs = tmp_path / "logs"
    logs.mkdir()
    frame = requests(500, 3).filter(pl.col("regime") == "deployment")
    frame.write_parquet(logs / "a.parquet")
    frame.drop("engine").write_parquet(logs / "b.parquet")
    frame.with_columns(extra=pl.lit(1), engine=pl.col("engine").cast(pl.Categorical)).write_parquet(logs / "c.parquet")
    frame.with_columns(model=pl.lit(7), score=pl.col("score").cast(pl.String)).write_parquet(logs / "d.parquet")
    frame.drop("regime").write_parquet(logs / "e.parquet")
    frame.clear().write_parquet(logs / "f.parquet")
    scored = score(model, logs, tmp_path / "out")
    assert not scored.failed
    out = {p.stem: pl.read_parquet(p) for p in (tmp_path / "out").glob("*.parquet")}
    assert out["a"].equals(out["c"]) and out["a"].equals(out["e"])
    assert not out["b"]["known"].any() and partition(scored, "b.parquet")["absent"] == ["engine"]
    assert not out["d"]["known"].any() and out["d"].height == out["a"].height
    assert out["f"].height == 0 and out["f"].schema == out["a"].schema
