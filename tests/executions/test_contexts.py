"""Which factors a log has, what its contexts are called, and what kind of number its outcome is."""

import polars as pl
import pytest

from divergence.configuration import Configuration
from divergence.errors import InputError
from divergence.executions import read


def contexts(log):
    return sorted(log.valid["context"].unique())


def test_factors_are_those_that_vary_in_schema_order(rows):
    log = read(rows(sampler=["greedy", "warm"] * 12, hardware="h100", quantization=["q8", "q8", "q4", "q4"] * 6))
    assert log.factors == ("engine", "quantization", "sampler")
    assert "engine=bench|quantization=q4|sampler=greedy" in contexts(log)


def test_declared_factors_stand_and_name_any_column(rows):
    frame = rows(colour=["red", "blue"] * 12)
    log = read(frame, configuration=Configuration(factors=("colour",)))
    assert log.factors == ("colour",)
    assert contexts(log) == ["colour=blue", "colour=red"]
    assert set(log.valid["colour"]) == {"red", "blue"}


def test_a_given_context_names_the_combination(rows):
    log = read(rows(context=[*["bench"] * 8, *["a"] * 8, *[None] * 8]))
    assert log.factors == ("engine",)
    assert contexts(log) == ["a", "bench", "engine=sglang"]


def test_without_varying_factors_the_context_is_the_factor(rows):
    log = read(rows(engine="vllm", context=[*["bench"] * 8, *["a"] * 8, *[None] * 8]))
    assert log.factors == ("context",)
    assert contexts(log) == ["a", "bench", "not logged"]


def test_without_factors_and_context_there_is_one_context(rows):
    log = read(rows(engine="vllm"))
    assert log.factors == ()
    assert contexts(log) == ["all"]


def test_a_level_that_is_not_logged_is_a_level_within_a_regime(rows):
    log = read(rows(without=("engine",), kv_cache_dtype=[*["f16"] * 8, *["q8"] * 8, *[None] * 8]))
    assert log.factors == ("kv_cache_dtype",)
    assert contexts(log) == ["kv_cache_dtype=f16", "kv_cache_dtype=not logged", "kv_cache_dtype=q8"]


def test_a_factor_that_only_one_regime_logs_does_not_vary(rows):
    log = read(rows(without=("engine",), router=[*[None] * 8, *["front"] * 16], sampler=["a", "b"] * 12))
    assert log.factors == ("sampler",)


def test_rejected_rows_make_no_level(rows):
    frame = rows(engine=["odd", *["vllm"] * 23], score=[7.0, *[1.0] * 23], sampler=["a", "b"] * 12)
    assert read(frame, accept_rejected=0.1).factors == ("sampler",)  # some of its rows are copies


@pytest.mark.parametrize(
    ("scores", "trials", "kind", "words"),
    [
        ([0.0, 1.0], [None, None], "binary", "all 24 values are 0 or 1"),
        ([0.0, 1.0], [1, None], "binary", "all 24 values are 0 or 1"),
        ([0.25, 1.0], [4, 4], "proportion", "24 values come with their number of trials"),
        ([0.0, 1.0], [4, 4], "proportion", "24 values come with their number of trials"),
        ([0.25, 1.0], [4, None], "proportion", "12 values come with their number of trials"),
        ([0.25, 0.5], [4, None], "fraction", "12 of 24 values lie between 0 and 1 without"),
        ([0.25, 1.0], [None, None], "fraction", "12 of 24 values lie between 0 and 1 without"),
    ],
)
def test_the_kind_of_a_score_is_seen_in_its_values(rows, scores, trials, kind, words):
    log = read(rows(score=scores * 12).with_columns(score_n=pl.Series(trials * 12, dtype=pl.Int64)))
    assert log.kind == kind
    assert words in log.kind_reason


def test_a_declared_kind_is_taken(rows):
    log = read(rows(), configuration=Configuration(kind="fraction"))
    assert log.kind == "fraction"
    assert "said in the configuration" in log.kind_reason


@pytest.mark.parametrize(("name", "below"), [("latency_s", 1), ("my_seconds", 0)])
def test_another_outcome_leaves_rows_out_and_rejects_a_duration_below_0_only(rows, name, below):
    seconds = [None, 0.0, -1.0, float("nan"), *[1.5] * 20]
    frame = rows(without=("score",), **{name: seconds})
    log = read(frame, configuration=Configuration(outcome=name))
    assert (log.outcome, log.kind) == (name, "positive")
    assert (log.counts.valid, log.counts.unjudged) == (24 - below, 4 - below)
    assert log.counts.rejected == ({f"{name}_not_negative": 1} if below else {})
    assert log.valid["outcome"].to_list() == [None] * (4 - below) + [1.5] * 20
    assert log.answers()[0].reason.startswith("4 judged evaluation rows")


def test_a_score_beyond_1_does_not_matter_where_another_outcome_is_asked_for(rows):
    log = read(rows(score=[300.0] * 24, latency_s=0.5), configuration=Configuration(outcome="latency_s"))
    assert log.counts.valid == 24


def test_trials_are_counted_for_scores_only(rows):
    frame = rows(score_n=[9] * 24, share=[0.5] * 24, latency_s=2.0)
    assert read(frame, configuration=Configuration(outcome="share")).kind == "fraction"
    with pytest.raises(InputError, match="Only score can be a proportion"):
        read(frame, configuration=Configuration(outcome="share", kind="proportion"))
    seconds = read(frame, configuration=Configuration(outcome="latency_s"))
    assert seconds.design.sharing.in_both == 2, "a latency is one of one item, however many trials its score counts"


def test_another_outcome_of_zeros_and_ones_is_binary(rows):
    log = read(rows(solved=[0, 1] * 12), configuration=Configuration(outcome="solved"))
    assert (log.kind, log.counts.unjudged) == ("binary", 0)
