"""A question is answered if and only if the design identifies it, and the reason gives the counts that decide."""

import polars as pl
import pytest

from divergence.configuration import Configuration
from divergence.executions import log_design as counting
from divergence.executions import read

QUESTIONS = [
    "bench_level",
    "deployed_level",
    "gap",
    "kappa",
    "coupling",
    "coupling_absolute",
    "evaluation_advantage",
    "stability",
    "projection_instability",
    "gap_for_confidence",
    "reversal",
    "rank_agreement",
    "leverage",
    "excess_flips",
    "serving_effect",
    "context_effect",
    "instrument",
    "matrix",
    "pass_power",
    "collapse_hazard",
    "horizon",
    "cost_per_success",
    "cost_ledger",
    "coherence",
    "best_combination",
]
BOTH = {"gap", "evaluation_advantage", "context_effect", "reversal", "rank_agreement"}
STEPS = {"collapse_hazard", "horizon", "cost_per_success", "cost_ledger"}  # the log of these tests logs single executions
FOUR = {"projection_instability", "gap_for_confidence", "leverage"}  # the log of these tests has two models


def refused(frame: pl.DataFrame) -> set[str]:
    return {answer.question for answer in read(frame).answers() if not answer.identified}


def reason(frame: pl.DataFrame, question: str) -> str:
    return next(answer.reason for answer in read(frame).answers() if answer.question == question)


def test_every_question_has_one_answer_with_a_sentence(rows):
    answers = read(rows()).answers()
    assert [answer.question for answer in answers] == QUESTIONS
    assert all(answer.reason.endswith(".") for answer in answers)


def test_a_crossed_log_with_replicates_answers_everything_but_the_instrument(rows):
    assert refused(rows()) == {"instrument", "coherence", *STEPS, *FOUR}
    assert reason(rows(), "leverage") == "It needs four models in both regimes; this log has 2."
    assert reason(rows(), "instrument") == "It needs two waves; this log has 0."
    assert reason(rows(), "bench_level") == "8 judged evaluation rows of 2 models in 1 context."
    assert reason(rows(), "gap") == "2 models with judged rows in both regimes; 2 items answered in both."
    assert reason(rows(), "kappa") == "2 models in two or more of the 2 deployment contexts (one of them in 2)."
    assert reason(rows(), "serving_effect") == "engine has 3 levels."


@pytest.mark.parametrize(
    ("keep", "expected"),
    [
        (
            pl.col("regime") == "evaluation",
            {
                "deployed_level",
                "kappa",
                "stability",
                "coupling",
                "coupling_absolute",
                "excess_flips",
                "serving_effect",
                "matrix",
                "best_combination",
                *BOTH,
            },
        ),
        (pl.col("regime") == "deployment", {"bench_level", "matrix", *BOTH}),
        (pl.col("engine") != "sglang", {"kappa", "stability", "coupling", "coupling_absolute", "serving_effect"}),
        (pl.col("model") == "small", {"coupling", "coupling_absolute", "reversal", "rank_agreement"}),
        (pl.col("trial") == 0, {"excess_flips"}),
        ((pl.col("regime") == "evaluation") == (pl.col("model") == "small"), {*BOTH, "coupling", "coupling_absolute"}),
        (
            (pl.col("regime") == "evaluation") | ((pl.col("engine") == "vllm") == (pl.col("model") == "small")),
            {"kappa", "stability", "coupling", "coupling_absolute", "serving_effect"},
        ),
        ((pl.col("regime") == "evaluation") == (pl.col("item") == "a"), set()),
    ],
    ids=[
        "bench only",
        "deployment only",
        "one deployment context",
        "one model",
        "one replicate",
        "no model in both regimes",
        "models nested in contexts",
        "no item in both regimes",
    ],
)
def test_what_a_design_lacks_is_refused_and_nothing_else(rows, keep, expected):
    assert refused(rows().filter(keep)) == {"instrument", "coherence", *STEPS, *FOUR, *expected}


def test_requirements_are_declared_or_there_is_no_coherence(rows):
    declared = Configuration.from_table({"acceptance": {"quality_min": 0.5}})
    found = {a.question: a for a in read(rows(), configuration=declared).answers()}
    assert found["coherence"].identified
    assert "[acceptance]" in reason(rows(), "coherence")
    single = rows().filter((pl.col("model") == "small") & (pl.col("engine") != "sglang"))
    assert reason(single, "best_combination") == (
        "It needs two combinations of model and context to choose from; this log has one."
    )


def test_unjudged_rows_identify_nothing(rows):
    frame = rows().with_columns(score=pl.when(pl.col("regime") == "deployment").then("score"))
    assert {"bench_level", *BOTH} <= refused(frame)


def test_rows_that_stand_for_many_items_share_no_items(rows):
    frame = rows(score_n=[50] * 24)
    assert "excess_flips" in refused(frame)
    assert "(0 items with an identity)" in reason(frame, "excess_flips")
    assert "no item was answered in both" in reason(frame, "gap")


def test_two_waves_must_share_a_model_and_context(rows):
    crossed = rows(wave=["1", "2"] * 12)
    assert "instrument" not in refused(crossed)
    assert reason(crossed, "instrument").startswith("2 waves; up to 2 measured the same")
    nested = rows(wave=[*["1"] * 8, *["2"] * 16])
    assert "none of the 2 waves do" in reason(nested, "instrument")
    regimes = rows(engine="same", wave=[*["1"] * 8, *["2"] * 16])
    assert "instrument" in refused(regimes), "a wave that is a regime cannot be told from it"


def test_factors_that_change_together_are_named(rows):
    engines = rows()["engine"].to_list()
    same = {"bench": "cpu", "vllm": "h100", "sglang": "tpu"}
    kinds = {"bench": "local", "vllm": "served", "sglang": "served"}
    frame = rows(hardware=[same[e] for e in engines], provider=[kinds[e] for e in engines])
    told = reason(frame, "serving_effect")
    assert "engine and hardware change together: their effects cannot be told apart." in told
    assert told.count("change together") == 1
    assert "Within one model and regime there is one level of provider." in told


def test_a_factor_that_a_finer_one_fixes_is_named(rows):
    frame = rows(without=("engine",), engine=["vllm", "vllm", "sglang"] * 8, engine_version=["1", "2", "3"] * 8)
    assert "The level of engine_version fixes that of engine." in reason(frame, "serving_effect")


def test_a_context_label_for_several_combinations_is_named(rows):
    frame = rows(context=[*["bench"] * 8, *["prod"] * 16])
    assert "1 context label cover several combinations" in reason(frame, "serving_effect")


def test_different_scorers_in_the_regimes_are_named(rows):
    frame = rows(scorer=[*["exact"] * 8, *["judge"] * 16])
    assert "different scorers (evaluation: exact; deployment: judge)" in reason(frame, "gap")


def test_large_logs_are_counted_on_every_kth_item(rows, monkeypatch):
    frame = pl.concat([rows().with_columns(item=pl.lit(f"i{n}")) for n in range(300)])
    exact = read(frame).design
    monkeypatch.setattr(counting, "ITEM_ARMS", 450)
    thinned = read(frame).design
    assert exact.every == 1 and exact.items_replicated == 300
    assert thinned.every > 1
    expected = 300 / thinned.every
    # An item is kept with chance 1 / every: four standard deviations of the binomial count.
    assert abs(thinned.items_replicated - expected) < 4 * (expected * (1 - 1 / thinned.every)) ** 0.5
    assert refused(frame) == {"instrument", "coherence", *STEPS, *FOUR}
