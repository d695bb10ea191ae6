"""Do the intervals of answer bias hold what they say?"""

import numpy as np
import polars as pl

import divergence as dv
from divergence.estimands.answer_bias import split


def _world(rng, size, criterion, regime, context, ability=1.5, task="two"):
    """Evidence of class a is N(d'/2, 1), of b N(-d'/2, 1); the answer is a above the criterion."""
    gold = rng.choice(["a", "b"], size)
    evidence = np.where(gold == "a", ability / 2, -ability / 2) + rng.standard_normal(size)
    right = (evidence > criterion) == (gold == "a")
    return pl.DataFrame(
        {
            "regime": regime,
            "model": "m",
            "context": context,
            "task": task,
            "item": [f"i{k}" for k in range(size)],
            "gold": gold,
            "score": right.astype(float),
        }
    )


def test_coverage():
    """100 pairs of contexts: bias and competence each covered within four standard errors of 90 %."""
    from divergence.estimands.answer_bias import _rates

    rng = np.random.default_rng(3)
    places = [(pair, criterion) for pair in range(100) for criterion in (0.0, 0.5)]
    worlds = [_world(rng, 200, criterion, "evaluation", "bench", task=f"{pair} {criterion}") for pair, criterion in places]
    cells = dv.collapse(dv.read(pl.concat(worlds)))  # read once: a task is a log of its own here
    hits = np.zeros(2)
    for pair in range(100):
        draws = []
        for criterion in (0.0, 0.5):
            mine = cells.golds["task"] == cells.levels["task"].index(f"{pair} {criterion}")
            golds = cells.golds.take(mine)
            weight = rng.standard_exponential((400, len(cells.levels["block"])))
            draws.append(split(*_rates(golds, np.unique(golds["gold"]), weight)))
        for k, truth in ((0, 0.0), (1, 0.5)):
            low, high = np.quantile(draws[1][k] - draws[0][k], [0.05, 0.95])
            hits[k] += low <= truth <= high
    assert (np.abs(hits / 100 - 0.9) < 4 * np.sqrt(0.09 / 100)).all(), hits
