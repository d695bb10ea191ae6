"""The plan, its page and a comparison's page claim no superlative: they say widths, losses and verdicts."""

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
