"""Public logs as they are, under their own column names, arrive with the counts that their sources state."""

import polars as pl
import pytest

from divergence.configuration import Configuration
from divergence.executions import read


def identified(log) -> set[str]:
    return {answer.question for answer in log.answers() if answer.identified}


def test_one_model_under_fourteen_servings(public):
    flags = Configuration().with_flags(where=["source_file=quant"], set=["regime=deployment"], map=["score_n=n_cases"])
    log = read(public("aider_cells"), configuration=flags)
    assert (log.counts.valid, log.counts.rejected) == (14, {})
    assert (log.kind, log.factors) == ("proportion", ("context",))
    assert log.valid["context"].n_unique() == 14
    assert "2024-11" in dict(log.unused)["time"], "dates are no instants"
    assert {"cost", "label"} <= set(log.ignored)
    expected = {"deployed_level", "kappa", "context_effect", "serving_effect", "stability", "best_combination"}
    assert identified(log) == expected
    reasons = {answer.question: answer.reason for answer in log.answers()}
    assert reasons["coupling"] == "It needs two models in deployment; this log has 1."
    assert reasons["gap"] == "It needs both regimes; this log has 0 judged evaluation rows and 14 of deployment."


def test_every_file_of_the_cells_reads_with_its_rates(public):
    flags = Configuration().with_flags(set=["regime=deployment"], map=["score_n=n_cases"])
    log = read(public("aider_cells"), configuration=flags)
    assert log.counts.valid == log.counts.rows == 324
    assert "kappa" in identified(log)
    assert "coupling" not in identified(log), "their context labels hold the model's name: nothing is crossed"
    both = Configuration().with_flags(
        where=["source_file=quant", "source_file=sonnet-fine"], set=["regime=deployment"], map=["score=pass_rate_2"]
    )
    assert read(public("aider_cells"), configuration=both).kind == "fraction"


def test_formats_crossed_with_models_need_a_label_without_the_model(public):
    flags = Configuration().with_flags(
        where=["source_file=code-in-json"], set=["regime=deployment"], map=["score_n=n_cases", "context=edit_format"]
    )
    log = read(public("aider_cells"), configuration=flags)
    assert sorted(log.valid["context"].unique()) == ["JSON", "JSON (strict)", "Markdown"]
    assert {"kappa", "coupling"} <= identified(log)


def test_two_snapshots_of_two_services(public):
    snapshots = {"regime": {"column": "context", "evaluation": ["2023-03"]}}
    log = read(public("llm_drift"), configuration=Configuration.from_table(snapshots))
    assert log.counts.regimes == {"evaluation": 6312, "deployment": 6312}
    assert log.kind == "binary"
    prime = (
        log.scan()
        .filter(pl.col("task") == "prime_full", pl.col("model") == "gpt-4")
        .group_by("regime")
        .agg(pl.col("outcome").mean())
        .collect()
    )
    # As published: 84.0 % and 51.1 %.
    assert dict(prime.rows()) == pytest.approx({"evaluation": 0.84, "deployment": 0.511}, abs=2e-3)
    assert "no instants with a zone" in dict(log.unused)["time"]
    assert {"gap", "reversal", "context_effect"} <= identified(log)
    assert not {"kappa", "coupling", "instrument"} & identified(log)


def test_identical_requests_repeated(public):
    flags = Configuration().with_flags(set=["regime=deployment"], map=["gold=truth"])
    log = read(public("llm_stability_items"), configuration=flags)
    assert (log.counts.valid, log.counts.unjudged) == (34794, 1467)
    assert {"kappa", "coupling", "excess_flips"} <= identified(log)
    flags = Configuration().with_flags(set=["regime=deployment"], map=["score_n=n_items"])
    runs = read(public("llm_stability_runs"), configuration=flags)
    assert (runs.counts.valid, runs.kind) == (2112, "proportion")
    assert "excess_flips" not in identified(runs), "rates name no items"


def test_agent_episodes(public):
    log = read(public("tau_bench_episodes"), configuration=Configuration().with_flags(set=["regime=evaluation"]))
    assert (log.counts.valid, log.kind) == (200, "binary")
    assert log.valid["outcome"].mean() == pytest.approx(0.42)  # pass^1 as published
    assert identified(log) == {"bench_level", "pass_power", "cost_per_success"}


def test_image_models_on_eight_test_sets(public):
    flags = Configuration().with_flags(map=["score_n=n_items"])
    log = read(public("timm_accuracy"), configuration=flags)
    assert log.counts.regimes == {"evaluation": 6224, "deployment": 6224}
    assert log.kind == "proportion"
    assert {"gap", "kappa", "coupling", "reversal", "context_effect"} <= identified(log)


def test_latency_of_providers_and_of_stacks(public):
    latency = {"outcome": "latency_s", "constants": {"regime": "deployment"}}
    log = read(public("llmperf_requests"), configuration=Configuration.from_table(latency))
    assert (log.kind, log.factors) == ("positive", ("provider",))
    assert (log.counts.valid, log.counts.unjudged) == (2845, 393), "error rows carry a latency of 0"
    stack = latency | {"factors": ["precision", "layout", "device", "compiler"]}
    log = read(public("timm_throughput"), configuration=Configuration.from_table(stack))
    assert log.counts.valid == 28768
    assert log.factors == ("precision", "layout", "device", "compiler")
