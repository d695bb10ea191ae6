"""What goes together with a context is said, and takes the causal word from its effect."""

import numpy as np
import polars as pl
import pytest

import divergence as dv
from divergence.executions import read
from divergence.identification.audit import audit


def log(contexts, models="AB", items=60, seed=1, **columns):
    """Every model on every item in each context, the bench first; columns are functions of a row."""
    random = np.random.default_rng(seed)
    rows = [
        {"regime": "deployment" if k else "evaluation", "context": c, "model": m, "item": f"i{i}", "engine": f"e{k % 2}"}
        for k, c in enumerate(contexts)
        for m in models
        for i in range(items)
    ]
    rows = [row | {name: make(row) for name, make in columns.items()} for row in rows]
    return pl.DataFrame([row | {"score": float(random.random() < 0.7)} for row in rows], infer_schema_length=None)


def found(frame):
    return {f.name: f for f in audit(read(frame).design)}


def reading(frame):
    return dv.serving_effect(dv.fit(read(frame).cells, seed=0)).method


@pytest.mark.parametrize(
    ("wave", "what"),
    [
        (lambda row: "w1" if row["context"] == "bench" else "w2", "contexts"),
        (lambda row: "w1" if row["model"] == "A" else "w2", "models"),
        (lambda row: {"bench": "w1", "web": "w2", "app": "w3"}[row["context"]], "contexts"),
    ],
)
def test_waves_that_go_with_contexts_or_models_are_said_and_end_the_causal_word(wave, what):
    frame = log(("bench", "web", "app"), wave=wave)
    told = found(frame)["waves_apart"].sentence
    assert f"differs between the {what}." in told and "w1: " in told and len(told) <= 300
    assert "association" in reading(frame) and "waves" in reading(frame)


def test_waves_that_one_combination_ties_are_no_such_thing():
    def tied(row):
        return "w2" if row["context"] != "bench" or int(row["item"][1:]) % 2 else "w1"

    frame = log(("bench", "web", "app"), wave=tied)
    assert "waves_apart" not in found(frame) and "causal reading" in reading(frame)
    plain = log(("bench", "web", "app"))
    assert "waves_apart" not in found(plain) and "causal reading" in reading(plain)


@pytest.mark.parametrize("unlogged", [("web", "app"), ("bench",), ("app",)])
def test_a_scorer_that_is_logged_in_some_contexts_only_ends_the_causal_word(unlogged):
    frame = log(("bench", "web", "app"), scorer=lambda row: None if row["context"] in unlogged else "exact")
    assert "association" in reading(frame) and "is logged and that of" in reading(frame)
    assert ("other_judges" in found(frame)) == (unlogged != ("app",))
    one = log(("bench", "web", "app"), scorer=lambda _: "exact")
    assert "causal reading" in reading(one) and "other_judges" not in found(one)


@pytest.mark.parametrize(
    ("task", "said"),
    [
        (lambda row: {"bench": "mmlu", "web": "easy", "app": "hard"}[row["context"]], "no task in common"),
        (lambda row: "easy" if row["context"] != "app" or int(row["item"][1:]) < 18 else "hard", "30% of their rows' tasks"),
        (lambda row: "mmlu" if row["context"] == "bench" else f"live{int(row['item'][1:]) % 2}", "no task in common"),
    ],
)
def test_contexts_with_tasks_of_their_own_are_said(task, said):
    told = found(log(("bench", "web", "app"), task=task))["tasks_apart"].sentence
    assert said in told and "a difference of tasks as well" in told and len(told) <= 300


@pytest.mark.parametrize("share", [2, 3])
def test_contexts_with_the_same_tasks_are_alike(share):
    frame = log(("bench", "web", "app"), task=lambda row: f"t{int(row['item'][1:]) % share}")
    assert "tasks_apart" not in found(frame) and "tasks_apart" not in found(log(("bench", "web")))


OWN = {"A": "jA", "B": "jB"}


@pytest.mark.parametrize(
    "scorer",
    [
        lambda row: OWN[row["model"]],
        lambda row: "jA" if row["model"] == "A" and int(row["item"][1:]) % 2 else "jB",
        lambda row: OWN[row["model"]] if row["context"] == "bench" else "exact",
    ],
)
def test_models_with_judges_of_their_own_have_levels_and_no_order(scorer):
    frame = log(("bench", "web", "app"), scorer=scorer)
    told = found(frame)["own_judges"].sentence
    assert "A and B were judged by different scorers" in told and len(told) <= 300
    posterior = dv.fit(read(frame).cells, seed=0)
    assert dv.bench_level(posterior).identified
    for question in (dv.reversal, dv.rank_agreement):
        answer = question(posterior)
        assert not answer.identified and ("one judge" in answer.reasons[0])


def test_one_of_many_models_with_a_judge_of_its_own_is_named():
    frame = log(("bench",), models="ABCD", scorer=lambda row: "own" if row["model"] == "C" else "exact")
    told = found(frame)["own_judges"].sentence
    assert "C and the other models were judged by different scorers (own against exact)" in told
    assert not dv.convergence(dv.fit(read(frame).cells, seed=0)).identified


@pytest.mark.parametrize("scorer", [lambda row: f"j{int(row['item'][1:]) % 2}", lambda _: "exact", lambda _: None])
def test_models_with_the_same_judges_have_an_order(scorer):
    frame = log(("bench", "web"), models="ABC", scorer=scorer)
    assert "own_judges" not in found(frame)
    assert dv.reversal(dv.fit(read(frame).cells, seed=0)).identified


@pytest.mark.parametrize("contexts", [("bench",), ("bench", "web")])
def test_the_page_names_no_first_model_where_each_has_its_own_judge(contexts):
    from divergence.report.decision import decide
    from divergence.results import answer_all, page_content
    from divergence.run_record import run_record

    told = read(log(contexts, scorer=lambda row: OWN[row["model"]]))
    posterior = dv.fit(told.cells, seed=0)
    answers = answer_all(posterior, None, dv.Configuration())
    content = page_content(posterior, {"score": answers}, told, "log", run_record(posterior, told))
    decision = decide(content)
    assert decision.headline.startswith("Who is first") and decision.headline.endswith("cannot be told.")
    assert not decision.pairs and not decision.chances
    assert all("first" not in line for line in decision.sentences)
    assert "A " in decision.sentences[0] and "B " in decision.sentences[0]
