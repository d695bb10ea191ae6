"""Contexts or levels of a factor that no model links are not compared; one model that ran in both ends it."""

import numpy as np
import polars as pl
import pytest

import divergence as dv
from divergence.executions import read
from divergence.report.decision import decide
from divergence.report.one_world import one_world
from divergence.report.page import render
from divergence.results import answer_all, page_content
from divergence.run_record import run_record


def log(arms, items=60, seed=1, regime="deployment"):
    """Trials of shared items; `arms` has (model, context, rate)."""
    random = np.random.default_rng(seed)
    return pl.DataFrame(
        [
            {"regime": regime, "model": m, "item": f"q{i}", "context": c, "score": float(random.random() < p)}
            for m, c, p in arms
            for i in range(items)
        ]
    )


ALONE = [("A", "c1", 0.95), ("B", "c2", 0.1)]
LINKED = [*ALONE, ("A", "c2", 0.9)]
TWO_PARTS = [("A", "c1", 0.9), ("A", "c2", 0.7), ("B", "c3", 0.4), ("B", "c4", 0.3)]


def asked(frame):
    """What `check` says and what the answers say."""
    found = read(frame)
    return {a.question: a for a in found.answers()}, dv.fit(found.cells, seed=0)


def contrasts(posterior):
    """(context, context) -> is the contrast identified?"""
    rows = dv.context_effect(posterior).to_frame().filter(statistic="contrast")
    return {(a, b): known for a, b, known in rows.select("context", "context_b", "identified").rows()}


@pytest.mark.parametrize("arms", [ALONE, [*ALONE, ("C", "c3", 0.5)], TWO_PARTS], ids=["two", "three", "parts"])
def test_models_in_contexts_of_their_own_have_no_order(arms):
    check, posterior = asked(log(arms))
    assert not check["leaderboard"].identified and "none links A (c1) with B (" in check["leaderboard"].reason
    assert dv.leaderboard(posterior).reasons == (check["leaderboard"].reason,)
    pairs = dv.comparisons(posterior, "model").to_frame()
    assert not pairs["identified"].any()
    levels = dv.deployed_level(posterior).to_frame()
    assert levels.filter(pl.col("model").is_not_null())["identified"].all(), "each level is still its own"


def test_contexts_that_no_model_links_have_no_contrast():
    check, posterior = asked(log(ALONE))
    assert not check["context_effect"].identified
    assert "none links A (c1) with B (c2)" in check["context_effect"].reason
    assert not dv.context_effect(posterior).identified
    parts = contrasts(asked(log(TWO_PARTS))[1])
    assert [pair for pair, known in parts.items() if known] == [("c1", "c2"), ("c3", "c4")]


def test_one_model_in_both_links_them():
    check, posterior = asked(log(LINKED))
    assert check["leaderboard"].identified and dv.leaderboard(posterior).identified
    assert contrasts(posterior) == {("c1", "c2"): True}
    assert dv.comparisons(posterior, "model").identified


def test_a_bench_links_what_traffic_does_not():
    bench = log([("A", "bench", 0.9), ("B", "bench", 0.4)], regime="evaluation", seed=2)
    check, posterior = asked(pl.concat([log(ALONE), bench]))
    assert check["leaderboard"].identified and contrasts(posterior) == {("c1", "c2"): True}


@pytest.mark.parametrize("regime", ["deployment", "evaluation"])
def test_the_first_screen_names_no_first_model_of_contexts_that_nothing_links(regime):
    found = read(log(ALONE, regime=regime))
    posterior = dv.fit(found.cells, seed=0)
    answers = {"score": answer_all(posterior)}
    alone = one_world(page_content(posterior, answers, found, "log", run_record(posterior, found)))
    assert alone is not None
    headline, lead = alone
    assert headline.startswith("Who is first ") and headline.endswith("cannot be told.")
    assert "none links A (c1) with B (c2)" in lead[0]


def test_a_level_of_a_factor_that_only_an_unlinked_model_has_is_no_effect():
    frame = log([("A", "x", 0.9), ("A", "y", 0.7), ("B", "z", 0.2)]).rename({"context": "engine"})
    rows = (
        dv.serving_effect(asked(frame)[1])
        .to_frame()
        .filter((pl.col("factor") == "engine") & pl.col("model").is_null() & pl.col("statistic").is_null())
    )
    known = dict(rows.select("level", "identified").rows())
    assert known.pop("z") is False and all(known.values())


def test_a_pair_of_factors_is_not_crossed_by_models_that_nothing_links():
    arms = [(m, f"{e} {q}", 0.7) for m, e in (("A", "vllm"), ("B", "sgl")) for q in ("fp16", "int4")]
    cells = pl.col("context").str.split(" ")
    frame = log(arms).with_columns(engine=cells.list.get(0), quantization=cells.list.get(1)).drop("context")
    rows = dv.serving_effect(asked(frame)[1]).to_frame()
    assert not rows.filter(statistic="pair").height
    alone = rows.filter((pl.col("factor") == "quantization") & pl.col("statistic").is_null())
    assert alone["identified"].all(), "quantization differs within each model"
    assert not rows.filter((pl.col("factor") == "engine") & (pl.col("statistic").is_null()))["identified"].any()


def test_both_worlds_without_a_link_have_no_first_model_on_the_page():
    live = log(ALONE)
    apart = log([("A", "b1", 0.9), ("B", "b2", 0.4)], regime="evaluation", seed=2)
    shared = log([("A", "b", 0.9), ("B", "b", 0.4)], regime="evaluation", seed=2)
    for bench, told in ((apart, True), (shared, False)):
        found = read(pl.concat([live, bench]))
        posterior = dv.fit(found.cells, seed=0)
        content = page_content(posterior, {"score": answer_all(posterior)}, found, "log", run_record(posterior, found))
        decision = decide(content)
        assert ("cannot be told" in decision.headline) is told and (not decision.chances) is told
        assert not told or "none links A (" in " ".join((*decision.sentences, decision.pairs_reason or ""))
        assert ('id="order"' in render(content)) is not told
