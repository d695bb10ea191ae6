"""Zeros, refunds and negative durations of a positive outcome are counted in words, never called missing at random."""

import numpy as np
import polars as pl
import pytest

import divergence as dv
from divergence.executions import read
from divergence.identification.audit import audit


def log(values, **columns):
    """One row a value, half of them in each of two contexts."""
    rows = [
        {"regime": "deployment", "model": "m", "context": "ab"[k % 2], "item": f"i{k}"} | {n: v for n, v in columns.items()}
        for k in range(len(values))
    ]
    return pl.DataFrame(rows).with_columns(values)


def read_for(frame, outcome):
    better = "higher" if outcome == "gain" else None
    table = {"outcome": outcome} | ({"better": better} if better else {})
    return read(frame, configuration=dv.Configuration.from_table(table))


def said(read_log):
    return [str(finding) for finding in audit(read_log.design)]


@pytest.mark.parametrize(
    ("outcome", "zeros", "negative", "told"),
    [
        ("cost_usd", 54, 31, "54 values of 0 and 31 refunds have no place on a log scale: levels are of the 115 positive"),
        ("cost_usd", 54, 0, "54 values of 0 have no place on a log scale: levels are of the 146 positive"),
        ("gain", 0, 40, "40 values below 0 have no place on a log scale: levels are of the 160 positive"),
        ("latency_s", 30, 0, "30 values of 0 have no place on a log scale: levels are of the 170 positive"),
    ],
)
def test_values_without_a_place_are_counted_in_words(outcome, zeros, negative, told):
    values = np.random.default_rng(0).gamma(2, 2, 200)
    values[:zeros], values[zeros : zeros + negative] = 0, -0.5
    found = read_for(log(pl.Series(outcome, values)), outcome)
    assert any(told in line for line in said(found))
    assert not any("at random" in line for line in said(found))
    assert found.cells.cautions == found.cautions and found.cautions


@pytest.mark.parametrize("missing", [0, 60])
def test_positive_values_have_no_such_sentence(missing):
    values = pl.Series("cost_usd", [None] * missing + [0.5 + k for k in range(200 - missing)])
    assert read_for(log(values), "cost_usd").cautions == ()


@pytest.mark.parametrize("bad", [3, 8])
def test_a_negative_duration_breaks_a_rule_by_name(bad):
    values = [-1.0] * bad + [0.5 + k / 100 for k in range(200 - bad)]
    found = read_for(log(pl.Series("latency_s", values)), "latency_s")
    assert found.counts.rejected == {"latency_s_not_negative": bad}
    assert found.rejected["sentence"].to_list() == ["latency_s is below 0"] * bad
    assert found.rejected["value"].to_list() == ["-1.0"] * bad


def test_too_many_negative_durations_refuse_the_log():
    with pytest.raises(dv.InputError, match=r"20 of 200 rows are rejected.*latency_s_not_negative"):
        read_for(log(pl.Series("latency_s", [-1.0] * 20 + [1.0 + k for k in range(180)])), "latency_s")


@pytest.mark.parametrize("bad", [0, 7])
def test_beside_a_score_negative_durations_are_counted_and_the_scores_kept(bad):
    values = [-1.0] * bad + [0.5 + k / 100 for k in range(200 - bad)]
    frame = log(pl.Series("latency_s", values)).with_columns(score=pl.int_range(200) % 2)
    found = read(frame)
    assert found.counts.valid == 200
    assert any(f"{bad} of 200 values of latency_s are below 0" in line for line in said(found)) == bool(bad)


def test_the_page_calls_nothing_missing_at_random():
    from divergence.results import answer_all, page_content
    from divergence.run_record import run_record

    values = np.random.default_rng(1).gamma(2, 2, 200)
    values[:80] = 0
    found = read_for(log(pl.Series("cost_usd", values)), "cost_usd")
    posterior = dv.fit(found.cells, seed=0)
    record = run_record(posterior, found)
    content = page_content(posterior, {"cost_usd": answer_all(posterior)}, found, "log", record)
    assert any("80 values of 0 have no place" in line for line in content.cautions)
    assert "at random" not in content.summary.unjudged and "at random" not in dv.methods(record)
