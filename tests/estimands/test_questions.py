"""A question is answered if and only if the design identifies it, and the reason gives the counts that decide."""

import polars as pl
import pytest

from divergence import estimands
from divergence.configuration import Configuration
from divergence.executions import read

QUESTIONS = [question.name for question in estimands.QUESTIONS]
BOTH = {"gap", "evaluation_advantage", "reversal", "rank_agreement"}
STEPS = {"collapse_hazard", "horizon", "cost_ledger"}  # the log of these tests logs single executions
FOUR = {"projection_instability", "gap_for_confidence", "leverage"}  # the log of these tests has two models
THREE = {"forecast", "convergence"}  # the same


def refused(frame: pl.DataFrame) -> set[str]:
    return {answer.question for answer in read(frame).answers() if not answer.identified}


def reason(frame: pl.DataFrame, question: str) -> str:
    return next(answer.reason for answer in read(frame).answers() if answer.question == question)


def test_every_question_has_one_answer_with_a_sentence(rows):
    answers = read(rows()).answers()
    assert [answer.question for answer in answers] == QUESTIONS
    assert all(answer.reason.endswith(".") for answer in answers)


def test_a_crossed_log_with_replicates_answers_everything_but_the_instrument(rows):
    assert refused(rows()) == {"instrument", "coherence", *STEPS, *FOUR, *THREE}
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
                "context_effect",
                "leaderboard",
                *BOTH,
            },
        ),
        (pl.col("regime") == "deployment", {"bench_level", "matrix", *BOTH}),
        (pl.col("engine") != "sglang", {"kappa", "stability", "coupling", "coupling_absolute", "serving_effect"}),
        (pl.col("model") == "small", {"coupling", "coupling_absolute", "reversal", "rank_agreement", "leaderboard"}),
        (pl.col("trial") == 0, {"excess_flips", "cost_per_success"}),
        (
            (pl.col("regime") == "evaluation") == (pl.col("model") == "small"),
            {*BOTH, "coupling", "coupling_absolute", "leaderboard"},
        ),
        (
            (pl.col("regime") == "evaluation") | ((pl.col("engine") == "vllm") == (pl.col("model") == "small")),
            {"kappa", "stability", "coupling", "coupling_absolute", "serving_effect"},
        ),
        ((pl.col("regime") == "evaluation") == (pl.col("item") == "a"), {"pass_power", "cost_per_success"}),
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
    assert refused(rows().filter(keep)) == {"instrument", "coherence", *STEPS, *FOUR, *THREE, *expected}


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
    assert "not all of the 2 waves do" in reason(nested, "instrument")
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


def test_different_scorers_in_the_regimes_are_named(rows):
    frame = rows(scorer=[*["exact"] * 8, *["judge"] * 16])
    assert "different scorers (exact against judge)" in reason(frame, "gap")
    assert {*BOTH} <= refused(frame)
