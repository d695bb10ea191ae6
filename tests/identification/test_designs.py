"""What a log can tell, by kind of design: each kind that must be refused, and its neighbour that must not."""

import numpy as np
import polars as pl
import pytest

import divergence as dv
from divergence.executions import read
from divergence.identification.audit import audit


def log(**columns):
    """Two models x 40 items x a bench and two deployed contexts, one trial each; columns are set by functions of a row."""
    random = np.random.default_rng(5)
    arms = [("evaluation", "bench"), ("deployment", "x"), ("deployment", "y")]
    rows = [
        {"regime": r, "model": m, "item": f"i{i}", "context": c, "score": float(random.random() < 0.6)}
        for m in ("A", "B")
        for r, c in arms
        for i in range(40)
    ]
    return pl.DataFrame([row | {name: make(row) for name, make in columns.items()} for row in rows])


def answers(frame):
    return {a.question: a for a in read(frame).answers()}


@pytest.mark.parametrize("name", ["probe", "question 1"])
def test_an_item_that_all_rows_share_tells_nothing_apart(name):
    found = read(log(item=lambda _: name))
    assert "no item was answered in both" in answers(log(item=lambda _: name))["gap"].reason
    assert found.design.sharing.items == {"evaluation": 0, "deployment": 0}
    assert "each row counts as a draw of its own" in " ".join(found.design.cells.notes)


def test_an_item_that_goes_with_its_context_tells_nothing_apart_and_one_that_is_shared_does():
    nested = read(log(item=lambda row: f"{row['model']} {row['context']}"))
    assert nested.design.sharing.items == {"evaluation": 0, "deployment": 0}
    assert read(log()).design.sharing.items == {"evaluation": 40, "deployment": 40}
    few = read(log(item=lambda row: f"i{int(row['item'][1:]) % 2}"))
    assert few.design.sharing.items == {"evaluation": 2, "deployment": 2}


def test_rows_of_a_constant_item_are_draws_of_their_own():
    random = np.random.default_rng(1)
    rows = [
        {"regime": "deployment", "model": "m", "item": "probe", "provider": c, "score": float(random.random() < p)}
        for c, p in (("a", 0.95), ("b", 0.9), ("c", 0.2), ("d", 0.93))
        for _ in range(120)
    ]
    posterior = dv.fit(dv.collapse(read(pl.DataFrame(rows))), seed=0)
    contrast = dv.context_effect(posterior).where(statistic="contrast", context="provider=a", context_b="provider=c")
    low, high = contrast.interval()[0]
    assert low > 0.45 and high < 0.85  # c is an outlier of four, and may be drawn a little towards them
    assert "replayed" not in dv.serving_effect(posterior).method


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_where_nothing_varies_nothing_is_told_apart(value):
    found = answers(log(score=lambda _: value))
    for question in ("kappa", "stability", "coupling", "serving_effect", "reversal", "rank_agreement"):
        assert not found[question].identified and f"has score = {value:g}" in found[question].reason
    assert found["bench_level"].identified and found["gap"].identified
    one = log(score=lambda row: value if row["item"] != "i3" else 1 - value)
    assert answers(one)["kappa"].identified


@pytest.mark.parametrize("shared", [0, 1, 3])
def test_regimes_with_other_judges_are_not_compared_and_a_few_shared_rows_do_not_lift_it(shared):
    def judge(row):
        number = int(row["item"][1:])
        return "exact" if row["regime"] == "evaluation" or number < shared else "model"

    found = answers(log(scorer=judge))
    for question in ("gap", "reversal", "rank_agreement", "evaluation_advantage"):
        assert not found[question].identified and "different scorers (exact against" in found[question].reason
    assert found["kappa"].identified, "deployment has one judge in all contexts"


def test_contexts_with_other_judges_are_not_compared():
    found = answers(log(scorer=lambda row: "strict" if row["context"] != "y" else "flexible"))
    for question in ("kappa", "coupling", "stability", "serving_effect"):
        assert not found[question].identified and "x and y were judged by different scorers" in found[question].reason


def test_a_judge_a_task_is_no_conflict():
    found = answers(log(task=lambda row: f"t{int(row['item'][1:]) % 2}", scorer=lambda row: f"j{int(row['item'][1:]) % 2}"))
    assert found["context_effect"].identified and found["kappa"].identified
    assert not found["gap"].identified and "each of the 2 tasks has scorers of its own" in found["gap"].reason


def test_judgements_of_one_answer_are_no_repetitions_of_it():
    judged = pl.concat([log(scorer=lambda _, j=j: j) for j in ("j1", "j2", "j3")])
    assert not answers(judged)["excess_flips"].identified
    repeated = pl.concat([log(scorer=lambda _: "j1", trial=lambda _, k=k: k) for k in range(2)])
    assert answers(repeated)["excess_flips"].identified
    both = pl.concat([log(scorer=lambda _, j=j: j, trial=lambda _, k=k: k) for j in ("j1", "j2") for k in range(2)])
    assert answers(both)["excess_flips"].identified


def test_a_factor_that_goes_with_the_model_has_no_effect_of_its_own():
    with_model = log(engine=lambda row: "vllm" if row["model"] == "A" else "sglang", context=lambda _: None)
    found = answers(with_model)["serving_effect"]
    assert not found.identified
    crossed = log(engine=lambda row: row["context"], context=lambda _: None)
    assert answers(crossed)["serving_effect"].identified


def test_the_bench_counts_as_a_context_where_the_same_items_were_replayed():
    one = log().filter(pl.col("context") != "y")
    posterior = dv.fit(dv.collapse(read(one)), seed=0)
    assert "the same items were replayed in every context" in dv.serving_effect(posterior).method
    other = one.with_columns(item=pl.when(regime="deployment").then("live " + pl.col("item")).otherwise("item"))
    posterior = dv.fit(dv.collapse(read(other)), seed=0)
    assert "association" in dv.serving_effect(posterior).method


def test_a_scorer_of_rows_that_nobody_judged_is_no_judge():
    found = log(scorer=lambda row: "j" if int(row["item"][1:]) % 2 else "k")
    kept = pl.when((pl.col("regime") == "deployment") | (pl.col("scorer") == "j")).then("score")
    design = read(found.with_columns(score=kept)).design
    assert design.scorers("evaluation") == ("j",) and design.scorers("deployment") == ("j", "k")


@pytest.mark.parametrize(
    "more", [{}, {"cost_usd": lambda row: 0.1 if row["context"] == "x" else 0.0}, {"calls": lambda _: 2}]
)
def test_a_design_counted_for_itself_is_that_of_the_cells(more):
    frame = log(wave=lambda row: row["item"][-1], scorer=lambda _: "j", session=lambda row: row["item"][-1], **more)
    alone, whole = read(frame), read(frame)
    assert len(whole.cells.histograms) == 0 or not len(alone.design.cells.histograms)
    for name in ("n", "y", "yy", "session"):
        assert np.array_equal(alone.design.cells.sessions[name], whole.cells.sessions[name]), (
            "rows of a session are no repeats"
        )
    assert alone.answers() == whole.answers() and audit(alone.design) == audit(whole.design)


def repeated(session):
    """Items that one model answered three times in each of two contexts; `session` names the session of a row."""
    random = np.random.default_rng(4)
    rows = [
        {
            "regime": "deployment",
            "model": "A",
            "item": f"q{i}",
            "context": c,
            "trial": t,
            "score": float(random.random() < 0.6),
        }
        for c in ("x", "y")
        for i in range(30)
        for t in range(3)
    ]
    return pl.DataFrame([row | {"session": session(row)} for row in rows])


@pytest.mark.parametrize("name", ["item and context", "context"])
def test_repeats_within_one_session_are_promised_by_nobody(name):
    frame = repeated(lambda row: row["context"] + row["item"] * (name != "context"))
    found = read(frame)
    flips = dv.excess_flips(dv.fit(found.cells, seed=0))
    assert not answers(frame)["excess_flips"].identified and not flips.identified
    apart = repeated(lambda row: f"{row['context']} {row['item']} {row['trial']}")
    assert answers(apart)["excess_flips"].identified
    assert dv.excess_flips(dv.fit(read(apart).cells, seed=0)).identified


@pytest.mark.parametrize("regime", ["evaluation", "deployment"])
def test_contexts_that_are_one_session_each_are_promised_no_test(regime):
    frame = repeated(lambda row: row["context"]).with_columns(regime=pl.lit(regime))
    found = answers(frame)["context_effect"]
    rows = dv.context_effect(dv.fit(read(frame).cells, seed=0))
    assert found.identified == rows.identified
    assert not rows.to_frame()["statistic"].drop_nulls().str.starts_with("heterogeneity").any()
