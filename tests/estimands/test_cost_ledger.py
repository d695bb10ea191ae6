"""The cost ledger: its parts sum to the whole, turn round with it, and hide nothing that was not logged."""

import numpy as np
import polars as pl
import pytest
from plain_logs import priced

import divergence as dv
from divergence.estimands.cost_ledger import PARTS, lmdi

GOLDEN = [
    {"attempts": 1.0, "calls": 6.0, "tokens": 3000.0, "mix": 1.0, "price": 2.5e-6},
    {"attempts": 1.35, "calls": 11.0, "tokens": 8200.0, "mix": 0.8, "price": 2.5e-6},
]


def _posterior(*logs):
    return dv.fit(dv.collapse(dv.read(pl.concat(logs, how="diagonal"))), seed=0)


def test_the_golden_ledger():
    parts = lmdi(*GOLDEN)
    assert [np.prod(list(g.values())) for g in GOLDEN] == pytest.approx([0.0450, 0.24354], abs=5e-6)
    assert [float(parts[k]) for k in ("attempts", "calls", "tokens", "mix", "price")] == pytest.approx(
        [0.03528, 0.07127, 0.11822, -0.02624, 0.0], abs=5e-6
    )


def test_parts_of_any_ledger_sum_to_the_whole_and_turn_round_with_it():
    rng = np.random.default_rng(1)
    for _ in range(200):
        before, after = ({k: np.exp(rng.normal(0, 3)) for k in "abcdef"} for _ in range(2))
        parts, back = lmdi(before, after), lmdi(after, before)
        whole = np.prod(list(after.values())) - np.prod(list(before.values()))
        scale = max(np.prod(list(after.values())), np.prod(list(before.values())))
        assert abs(sum(parts.values()) - whole) <= 1e-12 * scale
        assert all(abs(parts[k] + back[k]) <= 1e-12 * scale for k in parts)
    same = lmdi(GOLDEN[0], GOLDEN[0])
    assert all(v == 0 for v in same.values())


def test_the_ledger_of_a_log_sums_to_the_difference_of_costs():
    rng = np.random.default_rng(9)
    tokens = {"input_tokens": 800, "output_tokens": 50, "calls": 2}
    bench = priced(rng, success=0.8, regime="evaluation", context="bench", **tokens)
    live = priced(rng, success=0.5, cost=0.05, **(tokens | {"input_tokens": 2000, "calls": 4}))
    posterior = _posterior(bench, live)
    ledger, cost = dv.cost_ledger(posterior), dv.cost_per_success(posterior)
    whole = ledger.where(factor=None).draws[:, 0]
    parts = sum(ledger.where(factor=part).draws[:, 0] for part in PARTS)
    assert np.abs(whole - parts).max() < 1e-12
    k = [cost.where(context=c, statistic=None).draws[:, 0] for c in ("c", "bench")]
    assert np.abs(whole - (k[0] - k[1])).max() < 1e-12
    assert ledger.where(factor="failure").interval()[0][0] > 0 and ledger.where(factor="calls").interval()[0][0] > 0
    assert "0 judged evaluation rows" in dv.cost_ledger(_posterior(live)).reasons[0]


@pytest.mark.parametrize("lacking", ["input_tokens", "calls", "attempts"])
def test_what_only_one_regime_logs_is_no_change(lacking):
    """Tokens logged on the bench alone made their own fall and a rise of the price, of equal size, out of nothing."""
    rng = np.random.default_rng(19)
    held = {"input_tokens": 800, "calls": 2, "attempts": 3}
    bench = priced(rng, success=0.8, regime="evaluation", context="bench", **held)
    live = priced(rng, success=0.5, cost=0.05, **{k: v for k, v in held.items() if k != lacking})
    ledger = dv.cost_ledger(_posterior(bench, live))
    for part in PARTS:
        draws = ledger.where(factor=part).draws
        if part in ("price", "failure"):
            assert np.median(draws) > 0
        else:
            assert np.abs(draws).max() < 1e-12
    whole = sum(ledger.where(factor=part).draws[:, 0] for part in PARTS)
    assert np.abs(whole - ledger.where(factor=None).draws[:, 0]).max() < 1e-12
