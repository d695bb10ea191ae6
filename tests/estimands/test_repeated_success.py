"""Success several times in a row, within and across contexts, against loops over tuples."""

import itertools

import numpy as np
import polars as pl
import pytest

import divergence as dv
from divergence.estimands.repeated_success import repeated_success
from divergence.simulate import simulate, world


def _posterior(log):
    return dv.fit(dv.collapse(dv.read(log)), seed=0)


def test_success_in_a_row_against_loops_over_tuples():
    log, _ = simulate(world("baseline", n_models=1, n_contexts=3, n_items=25, n_trials=3), 5)
    fit = _posterior(log).fits[0]
    law = np.array([0.5, 0.3, 0.2])
    rows = log.filter(regime="deployment")
    for k in (2, 3):
        within, across = repeated_success(fit, 0, np.arange(1, 4), law, k, np.random.default_rng(1))
        exact = np.zeros(2)
        for item in rows["item"].unique():
            y = [rows.filter(item=item, context=f"context-{c}")["score"].to_list() for c in (1, 2, 3)]
            exact[0] += (
                sum(w * np.mean([np.prod(t) for t in itertools.permutations(v, k)]) for w, v in zip(law, y, strict=True))
                / 25
            )
            for deal in itertools.product(range(3), repeat=k):  # the context of each try
                tuples = [list(itertools.permutations(y[c], deal.count(c))) for c in sorted(set(deal))]
                share = np.mean([np.prod([np.prod(t) for t in pick]) for pick in itertools.product(*tuples)])
                exact[1] += np.prod(law[list(deal)]) * share / 25
        for draws, value in zip((within, across), exact, strict=True):
            assert draws.mean() == pytest.approx(value, abs=4 * draws.std() / np.sqrt(len(draws)))


def test_movement_is_what_the_world_has():
    """Items that move with the context: E_c E_i p^2 - E_i (E_c p)^2 is the mean variance of p over contexts, here known."""
    moving, still = (
        simulate(world("silent", n_models=1, n_contexts=4, n_items=400, item_context=size, cell=0.0), 6)[0]
        for size in (1.0, 0.0)
    )
    parts = [dv.stability(_posterior(log)).where(statistic="pass^2_movement").interval()[0] for log in (moving, still)]
    assert parts[0][0] > 0.005 and parts[1][0] < 0.003
    assert parts[1][0] <= 0 <= parts[1][1] or parts[1][0] < 0.003


@pytest.mark.parametrize("more", [("z",), ("z", "w")])
def test_each_model_counts_on_the_contexts_that_it_has(more):
    """One model with contexts of its own takes nothing from the others' rows: they are the plain pair counts."""
    random = np.random.default_rng(8)
    rows = [
        {
            "regime": "deployment",
            "model": m,
            "context": c,
            "item": f"i{i}",
            "trial": t,
            "score": float(random.random() < p),
        }
        for m, p in (("A", 0.7), ("B", 0.5))
        for c in (("x", "y", *more) if m == "A" else ("x", "y"))
        for i in range(80)
        for t in range(2)
    ]
    answer = dv.stability(dv.fit(dv.collapse(dv.read(pl.DataFrame(rows))), seed=0))
    for model in "AB":
        one = answer.where(statistic="pass^2_within", model=model)
        assert one.identified, one.reasons
        mine = pl.DataFrame(rows).filter(model=model)
        both = mine.group_by("context", "item").agg(pl.col("score").product())
        rates = both.group_by("context").agg(pl.col("score").mean())
        share = pl.DataFrame(rows).group_by("context").len()  # the law: contexts by their rows, common to all models
        known = rates.join(share, on="context")
        plain = (known["score"] * known["len"]).sum() / known["len"].sum()
        low, high = one.interval()[0]
        assert low < plain < high and one.draws.mean() == pytest.approx(plain, abs=(high - low) / 10)
