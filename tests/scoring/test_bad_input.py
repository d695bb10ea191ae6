"""What is wrong with one partition is one sentence; the other partitions are scored as if it were not there."""

import numpy as np
import polars as pl
import pytest
import small_scorer
from small_scorer import requests

from divergence.configuration import Configuration
from divergence.errors import InputError
from divergence.scoring.score import score_log


def score(model, logs, out, **options):
    """In this process."""
    return score_log(model, logs if isinstance(logs, list) else [logs], out, load=small_scorer.load, workers=0, **options)


def partition(scored, name):
    """The manifest's entry of a partition."""
    return next(p for p in scored.manifest["partitions"] if p["partition"].endswith(name))


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
