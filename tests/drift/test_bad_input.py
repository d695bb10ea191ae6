"""Bad input: a sentence each, and nothing else changes."""

import datetime as dt

import numpy as np
import polars as pl
import pytest

from divergence.drift import monitor
from divergence.errors import InputError
from divergence.simulate import stream

REFERENCE = 5_000
NOW = int(dt.datetime(2026, 11, 29, tzinfo=dt.UTC).timestamp() * 1e6)


@pytest.fixture(scope="module")
def rows():
    return stream("null", 4, reference_rows=REFERENCE, chunks=10)


def evidence(batch: pl.DataFrame, rows: pl.DataFrame):
    made = monitor(rows[:REFERENCE], horizon=20, now=NOW)
    return made.update(batch, now=NOW), made.evidence.mixture


@pytest.fixture(scope="module")
def plain(rows):
    return evidence(rows[REFERENCE:], rows)


def test_no_time(rows):
    with pytest.raises(InputError, match=r"has no column time, only .*--map time=NAME"):
        monitor(rows[:REFERENCE].drop("time"))
    with pytest.raises(InputError, match="--zone UTC"):
        monitor(rows[:REFERENCE].with_columns(pl.col("time").dt.replace_time_zone(None)))
    with pytest.raises(InputError, match="--zone UTC"):
        monitor(rows[:REFERENCE].with_columns(pl.col("time").cast(pl.String)))
    with pytest.raises(InputError, match="1 of 5000 rows have no time"):
        monitor(rows[:REFERENCE].with_columns(pl.when(pl.int_range(pl.len()) > 0).then("time")))


@pytest.mark.parametrize("broken", ["unsorted", "duplicated", "future", "jump"])
def test_what_is_set_right_changes_nothing_else(rows, plain, broken):
    batch = rows[REFERENCE:]
    future = batch[:3].with_columns(pl.col("time") + pl.duration(days=4000))
    made = {
        "unsorted": (batch.sample(fraction=1.0, shuffle=True, seed=1), "sorted by time"),
        "duplicated": (pl.concat([batch, batch[100:200]]), "100 rows given twice counted once"),
        "future": (pl.concat([batch, future]), "3 rows after the clock"),
        "jump": (pl.concat([batch[3000:], batch[:3000]]), "a clock jumped back|rows were out of order"),
    }[broken]
    verdict, mixture = evidence(made[0], rows)
    assert mixture.tobytes() == plain[1].tobytes() and verdict.log_evidence == plain[0].log_evidence
    assert any(word in note for note in verdict.notes for word in made[1].split("|")), verdict.notes


def test_gaps_are_said(rows):
    batch = rows[REFERENCE:]
    late = batch[2500:].with_columns(pl.col("time") + pl.duration(hours=30))
    verdict, _ = evidence(pl.concat([batch[:2500], late]), rows)
    assert any("1 gap in time, the longest of 108002 s" in note for note in verdict.notes) and verdict.verdict == "none"


def test_a_constant_signal_is_said_and_left_out(rows):
    made = monitor(rows[:REFERENCE].with_columns(kv_use=pl.lit(0.5)), now=NOW)
    assert "kv_use" not in made.reference.layout.numeric
    assert any("constant in the reference and not followed: kv_use = 0.5" in note for note in made.verdict().notes)


def test_a_signal_that_vanishes_or_appears(rows):
    batch = rows[REFERENCE:].drop("ttft").with_columns(new=pl.lit(1.0))
    verdict, mixture = evidence(batch, rows)
    assert any("the signal ttft of the reference has vanished" in note for note in verdict.notes)
    assert any("not followed: new" in note for note in verdict.notes)
    assert np.isfinite(mixture).all() and verdict.verdict == "none"


def test_windows_without_values(rows):
    batch = rows[REFERENCE:].with_columns(pl.when(~pl.int_range(pl.len()).is_between(1000, 2499)).then("ttft").alias("ttft"))
    verdict, mixture = evidence(batch, rows)
    assert (
        any("ttft has no value in a chunk that begins at" in note for note in verdict.notes) and np.isfinite(mixture).all()
    )
    with pytest.raises(InputError, match=r"No column of the stream can be followed: only has no value"):
        monitor(rows[:REFERENCE].select("time", only=pl.lit(None, pl.Float64)), now=NOW)


def test_a_short_reference(rows):
    with pytest.raises(
        InputError, match=r"The reference has 300 rows, which is 6 chunks of 50 rows, and at least 10 are needed"
    ):
        monitor(rows[:300], now=NOW)
    with pytest.raises(InputError, match="has no rows"):
        monitor(rows[:0], now=NOW)


def test_arguments(rows):
    for asked, word in (
        ({"alpha": 0}, "alpha"),
        ({"horizon": 0}, "horizon"),
        ({"chunk_rows": 0}, "chunk_rows"),
        ({"margin": -1}, "margin"),
    ):
        with pytest.raises(InputError, match=word):
            monitor(rows[:REFERENCE], now=NOW, **asked)
    with pytest.raises(InputError, match="has no column tftt"):
        monitor(rows[:REFERENCE], signals=["tftt"], now=NOW)


def test_a_new_setting_and_two_of_them(rows):
    reference = rows[:REFERENCE].with_columns(engine_version=pl.lit("1.0"), sampler=pl.lit("greedy"), wave=pl.lit("w1"))
    batch = rows[REFERENCE:].with_columns(engine_version=pl.lit("1.1"), sampler=pl.lit("greedy"), wave=pl.lit("w2"))
    verdict = monitor(reference, now=NOW).update(batch, now=NOW)
    assert any("a setting changed: engine_version 1.0 -> 1.1" in note for note in verdict.notes)
    assert any("the instrument changed: wave w1 -> w2" in note for note in verdict.notes)
    assert any("One setting changed, engine_version" in note for note in verdict.notes)
    both = monitor(reference, now=NOW).update(batch.with_columns(sampler=pl.lit("top_p")), now=NOW)
    assert any("More than one setting changed (engine_version, sampler): no single cause" in note for note in both.notes)


def test_an_empty_batch_says_nothing(rows, plain):
    made = monitor(rows[:REFERENCE], horizon=20, now=NOW)
    assert made.update(rows[:0], now=NOW).chunks == 0
    made.update(rows[REFERENCE:], now=NOW)
    assert made.evidence.mixture.tobytes() == plain[1].tobytes()
