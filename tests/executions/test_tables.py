"""Outcomes and telemetry lie in tables of their own, found by their columns and judged like the log."""

import datetime as dt

import polars as pl
import pytest

from divergence.configuration import Configuration
from divergence.errors import InputError
from divergence.executions import read

NOON = dt.datetime(2026, 5, 1, 12, tzinfo=dt.UTC)


@pytest.fixture
def named(rows):
    return rows(execution_id=[f"id-{n}" for n in range(24)])


def outcomes(**columns):
    values = {"execution_id": [f"id-{n}" for n in range(24)], "metric": "accuracy", "value": [0.0, 1.0] * 12}
    return pl.DataFrame({**values, **columns})


def telemetry(**columns):
    values = {"window_start": [NOON, NOON], "window_s": 10.0, "metric": "queue", "value": [1.0, 2.0], "model": "m"}
    return pl.DataFrame({**values, **columns})


def test_tables_are_told_apart_by_their_columns(tmp_path, named):
    named.write_parquet(tmp_path / "a.parquet")
    outcomes().write_csv(tmp_path / "b.csv")
    telemetry().write_parquet(tmp_path / "c.parquet")
    log = read(tmp_path)
    assert log.counts.rows == 24
    assert log.outcomes.collect().height == 24
    assert log.telemetry.collect()["value"].to_list() == [1.0, 2.0]
    assert read(named).outcomes is None


def test_a_log_without_scores_takes_them_from_the_outcomes(named):
    log = read([named.drop("score"), outcomes(scorer="judge").sample(fraction=1, shuffle=True, seed=3)])
    assert log.valid["outcome"].to_list() == [0.0, 1.0] * 12
    assert log.valid["scorer"].unique().to_list() == ["judge"]
    assert log.kind == "binary"


def test_an_execution_without_an_outcome_is_not_judged(named):
    log = read([named.drop("score"), outcomes().head(20)])
    assert (log.counts.valid, log.counts.unjudged) == (24, 4)


def test_one_of_several_metrics_is_named(named):
    both = pl.concat([outcomes(), outcomes(metric="style", value=[0.5] * 24)])
    with pytest.raises(InputError, match="the outcomes table has accuracy, style"):
        read([named.drop("score"), both])
    log = read([named.drop("score"), both], configuration=Configuration(outcome="style"))
    assert log.valid["outcome"].unique().to_list() == [0.5]


def test_two_scorers_of_one_metric_need_a_choice(named):
    both = pl.concat([outcomes(scorer="exact"), outcomes(scorer="judge", value=[1.0] * 24)])
    with pytest.raises(InputError, match=r"2 times \(scorers: exact, judge\): keep one of them"):
        read([named.drop("score"), both])
    flags = Configuration().with_flags(where=["scorer=judge"])
    assert read([named.drop("score"), both], configuration=flags).valid["outcome"].sum() == 24


def test_a_score_out_of_range_in_the_outcomes_rejects_the_execution(named):
    log = read([named.drop("score"), outcomes(value=[7.0] + [1.0] * 23)])
    assert log.counts.rejected == {"score_in_range": 1}


def test_rows_that_break_a_rule_are_set_aside_with_their_file_and_row(named):
    bad = outcomes(value=["x", "1.0", "inf"] + ["0.5"] * 21, metric=[None] + ["m"] * 23)
    late = telemetry(window_s=[0.0, 10.0], window_start=["2026-05-01T12:00:00Z", "noon"])
    log = read([named, bad, late], accept_rejected=1.0)
    assert log.counts.rejected == {}, "the log itself has no bad row"
    assert log.rejected.select("file", "row", "rule").rows() == [
        ("frame 2", 1, "metric_given"),
        ("frame 2", 3, "value_finite"),
        ("frame 3", 1, "window_s_positive"),
        ("frame 3", 2, "window_start_type"),
    ]
    with pytest.raises(InputError, match="2 of 24 rows of the table outcomes are rejected"):
        read([named, bad])
