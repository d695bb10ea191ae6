"""Which requests are scored: rules, contexts and declarations are those of reading a whole log."""

import numpy as np
import polars as pl
import small_scorer
from small_scorer import requests

from divergence.configuration import Configuration
from divergence.scoring.score import score_log


def score(model, logs, out, **options):
    """In this process."""
    return score_log(model, logs if isinstance(logs, list) else [logs], out, load=small_scorer.load, workers=0, **options)


def partition(scored, name):
    """The manifest's entry of a partition."""
    return next(p for p in scored.manifest["partitions"] if p["partition"].endswith(name))


def test_rows_that_break_a_rule_are_set_aside_and_counted(model, tmp_path):
    frame = requests(400, 5).with_columns(regime=pl.lit("deployment"), probability=pl.lit(0.5))
    place = pl.int_range(400)
    frame = frame.with_columns(
        model=pl.when(place == 7).then(pl.lit(" ")).otherwise("model"),
        score=pl.when(place == 9).then(1.5).when(place == 11).then(np.nan).otherwise("score"),
        regime=pl.when(place == 13).then(pl.lit("prod")).otherwise("regime"),
        probability=pl.when(place == 15).then(0.0).otherwise("probability"),
    )
    frame.write_parquet(tmp_path / "a.parquet")
    scored = score(model, tmp_path / "a.parquet", tmp_path / "out")
    about = partition(scored, "a.parquet")
    assert (
        about["rejected"]
        == {"model_given": 1, "probability_in_range": 1, "regime_known": 1, "score_finite": 1, "score_in_range": 1}
        == scored.manifest["rejected"]
    )
    assert about["example"] == "row 8: model is missing" and about["scored"] == 395
    ids = pl.read_parquet(tmp_path / "out" / "a.parquet")["execution_id"]
    assert set(frame["execution_id"]) - set(ids) == {f"r5-{k}" for k in (7, 9, 11, 13, 15)}


def test_rules_and_contexts_are_those_of_reading_a_whole_log(model, tmp_path):
    """The same rows are kept and named alike by `divergence.read`."""
    import divergence as dv

    random = np.random.default_rng(6)
    frame = requests(600, 6).with_columns(
        engine=pl.Series(random.choice(["vllm", "sglang", "", None], 600).tolist()),
        execution_id=pl.Series(random.choice(["", None], 600).tolist(), dtype=pl.String),
        context=pl.Series(random.choice(["canary", None, " "], 600).tolist()),
        model=pl.Series(random.choice(["m0", "m1", None], 600, p=[0.5, 0.47, 0.03]).tolist()),
    )
    frame.write_parquet(tmp_path / "a.parquet")
    seen = []

    def load(folder):
        scorer = small_scorer.load(folder)
        inner = scorer.score
        scorer.score = lambda batch: (seen.append(pl.from_arrow(batch)), inner(batch))[1]
        return scorer

    score_log(model, [tmp_path / "a.parquet"], tmp_path / "out", load=load, workers=0)
    log = dv.read(tmp_path / "a.parquet", configuration=Configuration(factors=("engine",)))
    valid = log.valid.filter(pl.col("regime") == "deployment")
    mine = pl.concat(seen)
    for column in ("execution_id", "model", "item", "context"):
        assert mine[column].cast(pl.String).to_list() == valid[column].to_list(), column


def test_times_without_a_zone_are_read_as_missing_and_named(tmp_path, model):
    frame = requests(100, 7).with_columns(regime=pl.lit("deployment"), time=pl.lit("2026-11-24 10:00:00"))
    frame.write_parquet(tmp_path / "a.parquet")

    def load(folder):
        scorer = small_scorer.load(folder)
        scorer.columns = ("time", "queue_s")
        return scorer

    scored = score_log(model, [tmp_path / "a.parquet"], tmp_path / "out", load=load, workers=0)
    about = partition(scored, "a.parquet")
    assert about["unreadable"] == {"time": 100} and about["absent"] == ["queue_s"] and about["scored"] == 100


def test_what_was_declared_is_used(model, logs, tmp_path):
    frame = pl.read_parquet(logs / "part-0.parquet").with_columns(deployed=pl.col("regime"))
    other = tmp_path / "other.parquet"
    frame.rename({"model": "served", "regime": "world"}).drop("deployed").write_parquet(other)
    declared = Configuration.from_table(
        {
            "columns": {"model": "served"},
            "regime": {"column": "world", "evaluation": ["evaluation"]},
            "where": {"served": ["m1", "m2"]},
        }
    )
    scored = score(model, other, tmp_path / "out", configuration=declared)
    assert not scored.failed
    score(model, logs / "part-0.parquet", tmp_path / "plain")
    kept = frame.filter(pl.col("model").is_in(["m1", "m2"]))["execution_id"]
    plain = pl.read_parquet(tmp_path / "plain" / "part-0.parquet").filter(pl.col("execution_id").is_in(kept.implode()))
    assert pl.read_parquet(tmp_path / "out" / "other.parquet").equals(plain)


def test_ids_that_are_made_are_those_of_the_rows_however_they_are_filtered(model, tmp_path, monkeypatch):
    frame = requests(3000, 5).drop("execution_id")
    frame.write_parquet(tmp_path / "log.parquet")
    kept = frame["model"].unique().sort()[0]
    monkeypatch.setattr("divergence.scoring.sources.BATCH", 500)
    score(model, tmp_path / "log.parquet", tmp_path / "out", configuration=Configuration(where={"model": (kept,)}))
    ids = pl.read_parquet(tmp_path / "out" / "log.parquet")["execution_id"]
    rows = [int(i.rpartition(":")[2]) for i in ids]
    named = zip(frame["model"], frame["regime"], strict=True)
    assert rows == [k + 1 for k, (name, regime) in enumerate(named) if name == kept and regime == "deployment"]
