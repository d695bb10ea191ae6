"""Drift on public logs: a change that is known, a control without one, and a service whose hour is not stationary."""

import datetime as dt

import polars as pl
import pytest

from divergence.drift import detect
from divergence.drift.outcomes import outcome_structure
from divergence.errors import InputError


def test_llm_drift_is_split_into_verbosity_bias_and_accuracy(public_data):
    log = pl.read_parquet(public_data / "llm_drift.parquet").filter(task="prime_full", model="gpt-4")
    parts = []
    for snapshot, day in (("2023-03", dt.datetime(2023, 3, 14)), ("2023-06", dt.datetime(2023, 6, 13))):
        # the two snapshots were asked at the same hours, the primes first: their order in time is by snapshot only
        part = log.filter(context=snapshot).sample(fraction=1.0, shuffle=True, seed=0)
        when = (pl.lit(day) + pl.duration(minutes=pl.int_range(pl.len()))).dt.replace_time_zone("UTC")
        parts.append(part.select("item", "score", "answer", output_tokens="answer_tokens", time=when))
    found = detect(pl.concat(parts), "0.5")
    assert found.verdict.alarms[0].change_from.startswith("2023-06-13")
    structure = outcome_structure(found.verdict)
    assert {"verbosity", "answer bias", "answer mix", "accuracy"} <= structure.keys()
    assert structure["accuracy"].endswith("0.84 -> 0.51") and structure["answer mix"].endswith("share of yes 0.64 -> 0.01")


def test_aider_sonnet_is_the_same_over_twenty_dates(public_data):
    runs = pl.read_parquet(public_data / "aider_cells.parquet").filter(source_file="sonnet-fine")
    runs = runs.with_columns(pl.col("time").str.to_datetime("%Y-%m-%d", time_zone="UTC"))
    found = detect(runs.select("time", "score", "cost", "latency_s", "malformed"), "0.5", chunk_rows=1)
    assert found.verdict.verdict == "none" and found.verdict.chunks == 10
    assert any("chunk of its own" in note for note in found.verdict.notes)


@pytest.mark.parametrize("service", ["code", "conv"])
def test_azure_raises_no_alarm_or_says_why(public_data, service):
    trace = pl.read_parquet(public_data / "azure_llm_traces.parquet").filter(context=service)
    trace = trace.with_columns(pl.col("time").dt.replace_time_zone("UTC")).drop("trial")
    try:
        verdict = detect(trace, "0.5").verdict
    except InputError as error:
        assert "not independent" in str(error)  # the conversation service's load wanders within the hour
        return
    assert verdict.verdict == "none", verdict
