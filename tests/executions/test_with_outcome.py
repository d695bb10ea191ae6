"""One log read for several outcomes."""

import polars as pl
import pytest

import divergence as dv
from divergence.cells import collapse_beside
from divergence.cells.cells import TABLES
from divergence.executions import with_outcome
from divergence.simulate import simulate, world


def _log():
    log, _ = simulate(world("baseline", n_models=2, n_contexts=2, n_items=10), 0)
    return log.with_columns(
        latency_s=pl.int_range(pl.len()) / 10,
        execution_id=pl.int_range(pl.len()).cast(pl.String),
        queue_s=pl.lit(None, pl.Float64),
        retries=pl.lit("many"),
    )


def _metric(log, value):
    return log.select("execution_id", metric=pl.lit("helpful"), value=value, scorer=pl.lit("judge"))


def test_a_column_of_the_log():
    log = with_outcome(dv.read(_log()), "latency_s")
    assert (log.outcome, log.kind, log.counts.unjudged) == ("latency_s", "positive", 1)  # the first latency is 0
    direct = dv.read(_log(), configuration=dv.Configuration(outcome="latency_s"))
    columns = ["model", "context", "item", "outcome"]
    assert log.scan().select(columns).collect().equals(direct.scan().select(columns).collect())


def test_a_metric_of_the_outcomes_table():
    rows = _log()
    log = with_outcome(dv.read([rows, _metric(rows, pl.col("score") / 2)]), "helpful")
    assert (log.outcome, log.kind) == ("helpful", "fraction")
    assert log.valid["outcome"].to_list() == (log.valid["score"] / 2).to_list()
    assert log.valid["scorer"].unique().to_list() == ["judge"]


def test_the_primary_outcome_is_the_log_itself():
    log = dv.read(_log())
    assert with_outcome(log, "score") is log


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("queue_s", "no usable value"),
        ("retries", "no whole numbers"),
        ("speed", "no outcome speed"),
        ("model", "no outcome"),
    ],
)
def test_what_cannot_be_an_outcome_is_a_sentence(name, words):
    with pytest.raises(dv.InputError, match=words):
        with_outcome(dv.read(_log()), name)


def test_cells_beside_those_of_the_primary_outcome():
    """The shorter way to the cells of a further outcome gives the same."""
    rows = _log().with_columns(
        session=pl.concat_str(pl.lit("s"), pl.col("item")),
        answer=pl.col("item").str.slice(-1),
        scorer=pl.when(pl.col("score") > 0).then(pl.lit("a")).otherwise(pl.lit("b")),
    )
    log = dv.read(rows)
    whole, short = dv.collapse(log, outcome="latency_s"), collapse_beside(log, dv.collapse(log), "latency_s")
    assert (short.outcome, short.kind, short.levels) == (whole.outcome, whole.kind, whole.levels)
    for name, (keys, sums) in TABLES.items():
        for column in keys:
            assert getattr(short, name)[column].tolist() == getattr(whole, name)[column].tolist(), (name, column)
        for column in sums:
            assert getattr(short, name)[column].tolist() == pytest.approx(getattr(whole, name)[column].tolist())


def test_cells_of_another_outcome():
    log = dv.read(_log())
    score, latency = dv.collapse(log), dv.collapse(log, outcome="latency_s")
    assert (latency.outcome, latency.kind) == ("latency_s", "positive")
    assert latency.counts["y"].sum() == pytest.approx(log.valid["latency_s"].sum())
    for name in ("measures", "histograms"):  # what executions took is about the primary outcome's failures in both
        for column, values in {**getattr(score, name).keys, **getattr(score, name).sums}.items():
            assert values.tolist() == pytest.approx(getattr(latency, name)[column].tolist())
