"""What is wrong with one partition is one sentence; the other partitions are scored as if it were not there."""

import json
import shutil
from decimal import Decimal

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import small_scorer
from small_scorer import ENGINES, ITEMS, MODELS, requests

from divergence.configuration import Configuration
from divergence.errors import InputError
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


def test_a_result_of_another_format_or_a_damaged_one_is_made_again(model, logs, tmp_path, monkeypatch):
    """A newer version's results, and files of their names that are something else: not trusted, and no error."""
    score(model, logs, tmp_path / "good")
    monkeypatch.setattr("divergence.scoring.partitions.FORMAT", 99)
    score(model, logs, tmp_path / "out")
    monkeypatch.undo()
    (tmp_path / "out/part-1.parquet").write_bytes(b"PAR1 and nothing else PAR1")
    pl.DataFrame({"a": [1]}).write_parquet(tmp_path / "out/part-2.parquet")
    (tmp_path / "out/manifest.json").write_text("{")
    score(model, logs, tmp_path / "out")
    for path in (tmp_path / "good").rglob("*.parquet"):
        assert (tmp_path / "out" / path.relative_to(tmp_path / "good")).read_bytes() == path.read_bytes()
    assert (tmp_path / "out/manifest.json").read_bytes() == (tmp_path / "good/manifest.json").read_bytes()


@pytest.mark.parametrize("bad", [3.0, -0.1, np.inf, np.nan, "good", None])
def test_outcomes_that_are_none_are_not_counted(bad, model, tmp_path):
    """Every second score out of range, infinite, a word, missing: set aside by a rule or unjudged, never a failure."""
    rows = requests(300, 5).filter(pl.col("regime") == "deployment")
    half = np.arange(rows.height) % 2 == 0
    values = [bad if b else "1.0" if isinstance(bad, str) else 1.0 for b in half]
    rows.with_columns(score=pl.Series(values)).write_parquet(tmp_path / "log.parquet")
    scored = score(model, tmp_path / "log.parquet", tmp_path / "out", accept_rejected=1.0)
    made = scored.manifest
    assert made["calibration"]["judged"] == (~half).sum() and made["calibration"]["failed"] == 0
    assert made["scored"] + sum(made["rejected"].values()) == rows.height and not scored.failed


def test_a_partition_of_columns_without_rows_and_one_without_columns(model, logs, tmp_path):
    pl.read_parquet(logs / "part-0.parquet").clear().write_parquet(logs / "part-0.parquet")
    pl.DataFrame().write_parquet(logs / "part-1.parquet")
    scored = score(model, logs, tmp_path / "out")
    assert partition(scored, "part-0.parquet")["rows"] == 0
    assert pl.read_parquet(tmp_path / "out/part-0.parquet").height == 0
    named = [f["partition"] for f in scored.failed] + [s["file"] for s in scored.manifest["skipped"]]
    assert [name.rsplit("/", 1)[-1] for name in named] == ["part-1.parquet"]


def test_unseen_levels_are_said_to_be_unseen(model, tmp_path):
    frame = requests(300, 4).with_columns(regime=pl.lit("deployment"))
    for column in ("model", "engine"):
        frame.with_columns(pl.lit("never seen").alias(column)).write_parquet(tmp_path / f"{column}.parquet")
        score(model, tmp_path / f"{column}.parquet", tmp_path / "out")
        out = pl.read_parquet(tmp_path / "out" / f"{column}.parquet")
        assert not out["known"].any() and out["reason"].unique().to_list() == ["unseen level"]


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


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda t: score(t / "no model", t / "logs", t / "out"), "is no risk model"),
        (lambda t: score(t / "model", t / "no logs", t / "out"), "no file or folder is named"),
        (lambda t: score(t / "model", str(t / "logs/*.csv"), t / "out"), "no file is named"),
        (lambda t: score(t / "model", t / "model", t / "out"), "no execution log"),
        (lambda t: score(t / "model", t / "logs", t / "logs/out"), "lies inside the log"),
        (lambda t: score(t / "model", t / "logs", t / "model/out"), "lies inside the model"),
        (lambda t: score(t / "model", t / "logs/part-0.parquet", t / "logs"), "would overwrite it"),
        (lambda t: score(t / "model", "foo://logs/a.parquet", t / "out"), "of no kind that can be opened"),
        (lambda t: score(t / "model", t / "logs", t / "out", accept_rejected=5), "a fraction between 0 and 1"),
        (
            lambda t: score(t / "model", t / "logs", t / "out", configuration=Configuration(columns={"modl": "x"})),
            "did you mean model",
        ),
    ],
)
@pytest.mark.usefixtures("model", "logs")
def test_what_stops_the_whole_run_is_one_sentence(change, words, tmp_path):
    with pytest.raises(InputError, match=words):
        change(tmp_path)
    assert not list((tmp_path / "out").rglob("*.parquet")) if (tmp_path / "out").exists() else True


def test_a_result_that_is_no_score_is_refused(model, logs, tmp_path):
    def load(folder):
        scorer = small_scorer.load(folder)
        inner = scorer.score
        scorer.score = lambda batch: inner(batch).slice(1)
        return scorer

    scored = score_log(model, [logs / "part-0.parquet"], tmp_path / "out", load=load, workers=0)
    assert "a score has one row a request" in scored.failed[0]["reason"]


def test_names_that_collide_are_told_apart(model, logs, tmp_path):
    shutil.copytree(logs, tmp_path / "more")
    scored = score(model, [logs, tmp_path / "more"], tmp_path / "out")
    assert len(scored.manifest["partitions"]) == 12 == len(list((tmp_path / "out").rglob("*.parquet")))
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["failed"] == []


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
