"""The plan, its page and a comparison's page claim no superlative: they say widths, losses and verdicts."""

import numpy as np
import polars as pl
import pytest
from page_sentences import sentences
from superlative_claims import GRAMMAR, SUPERLATIVE

import divergence as dv
from divergence.comparison.page import page as comparison_page
from divergence.planning import words
from divergence.planning.page import page as plan_page
from divergence.simulate import simulate, world


def superlatives(text: str) -> list[str]:
    return [one for _, one in sentences(text) if SUPERLATIVE.search(GRAMMAR.sub(" ", one))]


@pytest.mark.parametrize("goal", ["decision", "gap"])
def test_a_plan_claims_none(goal):
    log, _ = simulate(world("baseline", n_models=3, n_contexts=2, n_items=40), 4)
    plan = dv.plan(dv.fit(dv.collapse(dv.read(log)), seed=0), goal=goal, budget=200)
    told = [*superlatives(plan_page(plan)), *superlatives(f"<p>{words.advice(plan)}</p><p>{words.headline(plan)}</p>")]
    assert told == []


@pytest.mark.parametrize("changed", [0, 12])
def test_a_comparison_claims_none(changed):
    rows = [{"model": "m", "item": f"i{k}", "score": float(k % 3 > 0)} for k in range(60)]
    after = [row | {"score": 0.0 if k < changed else row["score"]} for k, row in enumerate(rows)]
    found = dv.compare(pl.DataFrame(rows), pl.DataFrame(after), margin=0.05)
    assert superlatives(comparison_page(found)) == []


def test_one_that_is_there_is_seen():
    assert superlatives("<p>The cheapest is a.</p>") and not superlatives("<p>At least two are needed.</p>")


def one_context(kind, seed=0, contexts=("web",)):
    """Two models on a bench and in traffic, judged by a score or timed."""
    random = np.random.default_rng(seed)
    arms = [("evaluation", "bench", 1.0), *(("deployment", c, 0.4) for c in contexts)]
    rows = [
        {"regime": r, "model": m, "context": c, "item": f"i{k}"}
        | {kind: float(random.gamma(4, size / 4)) if kind == "latency_s" else float(random.random() < 0.5 + 0.3 * size)}
        for r, c, size in arms
        for m in ("A", "B")
        for k in range(80)
    ]
    table = {"outcome": kind} if kind != "score" else {}
    log = dv.read(pl.DataFrame(rows), configuration=dv.Configuration.from_table(table))
    return dv.fit(dv.collapse(log), seed=0)


@pytest.mark.parametrize("contexts", [("web",), ("web", "app")])
def test_the_width_of_times_is_that_of_the_gaps_of_the_page(contexts):
    """One context told of widths of 61 s where the page had .4 and .1 s: those of contexts that nobody saw."""
    posterior = one_context("latency_s", contexts=contexts)
    plan, gap = dv.plan(posterior, goal="gap"), dv.gap(posterior).where(statistic=None)
    low, high = gap.interval().T
    assert plan.unit == gap.unit == "s" and plan.over == "logged"
    assert plan.width == pytest.approx((high - low).mean(), rel=0.02)
    assert "never saw" not in words.headline(plan)


def test_a_width_over_contexts_that_nobody_saw_is_called_so():
    posterior = one_context("score")
    plan = dv.plan(posterior, goal="gap", budget=4000)
    assert plan.over == "new" and "intervals over contexts that the log never saw" in words.headline(plan)
    assert "never saw" in words.advice(plan) or not words.advice(plan)
    here = dv.plan(posterior, goal="gap", contexts="logged")
    assert here.width < plan.width and "never saw" not in words.headline(here) + words.advice(here)
    assert plan.to_dict()["contexts"] == "new"
