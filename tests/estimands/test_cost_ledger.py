"""The cost ledger: its parts sum to the whole, turn round with it, and hide nothing that was not logged."""

import numpy as np
import polars as pl
import pytest
from plain_logs import priced

import divergence as dv
from divergence.estimands.cost_ledger import PARTS, lmdi
from divergence.report.figures import ledger as ledger_figure

GOLDEN = [
    {"attempts": 1.0, "calls": 6.0, "tokens": 3000.0, "mix": 1.0, "price": 2.5e-6},
    {"attempts": 1.35, "calls": 11.0, "tokens": 8200.0, "mix": 0.8, "price": 2.5e-6},
]


def _posterior(*logs):
    return dv.fit(dv.collapse(dv.read(pl.concat(logs, how="diagonal"))), seed=0)


def known_parts(ledger):
    """The parts that are identified, in their order."""
    known = set(ledger.to_frame().filter("identified")["factor"].drop_nulls())
    return [part for part in PARTS if part in known]


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
    parts = sum(ledger.where(factor=part).draws[:, 0] for part in known_parts(ledger))
    assert known_parts(ledger) == ["price", "tokens", "calls", "failure"], "attempts and cached tokens are not logged"
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
    gone = {"input_tokens": {"price", "tokens"}, "calls": {"calls"}, "attempts": {"attempts"}}[lacking] | {"cache mix"}
    dear = "spend" if lacking == "input_tokens" else "price"
    left = known_parts(ledger)
    assert gone.isdisjoint(left) and {dear, "failure"} <= set(left)
    for part in left:
        draws = ledger.where(factor=part).draws
        if part in (dear, "failure"):
            assert np.median(draws) > 0
        else:
            assert np.abs(draws).max() < 1e-12
    whole = sum(ledger.where(factor=part).draws[:, 0] for part in left)
    assert np.abs(whole - ledger.where(factor=None).draws[:, 0]).max() < 1e-12


@pytest.mark.parametrize("held", [{}, {"calls": 3}, {"attempts": 2}, {"calls": 6, "attempts": 2}])
def test_a_log_without_tokens_names_no_price_of_a_token(held):
    rng = np.random.default_rng(5)
    bench = priced(rng, success=0.8, regime="evaluation", context="bench", **held)
    ledger = dv.cost_ledger(_posterior(bench, priced(rng, success=0.6, cost=0.06, **held)))
    left = known_parts(ledger)
    assert left == ["spend", *held, "failure"]
    told = ledger.to_frame().filter(~pl.col("identified"))
    assert {"price", "tokens", "cache mix"} <= set(told["factor"]) and "not logged in both regimes" in told["reason"][0]
    sentence = ledger_figure.sentence(ledger)
    assert "spend a call" in sentence and "price of a token" not in sentence
    whole = sum(ledger.where(factor=part).draws[:, 0] for part in left)
    assert np.abs(whole - ledger.where(factor=None).draws[:, 0]).max() < 1e-12


def refunded(rng, back, **place):
    """Costs of .01, two an item; those of every second item are paid back in this part."""
    log = priced(rng, size=40, success=0.5, **place)
    return log.with_columns(cost_usd=pl.Series([0.01, 0.01, -0.01 * back, -0.01 * back] * 10))


@pytest.mark.parametrize("back", [0.9, 0.999, 0.5])
@pytest.mark.parametrize("regime", ["evaluation", "deployment"])
def test_refunds_that_leave_a_cost_in_doubt_leave_no_parts_and_check_says_so(back, regime):
    rng = np.random.default_rng(3)
    sides = [{"regime": "evaluation", "context": "bench"}, {"regime": "deployment", "context": "c"}]
    log = dv.read(pl.concat([refunded(rng, back if s["regime"] == regime else 0.0, **s) for s in sides]))
    posterior = dv.fit(dv.collapse(log), seed=0)
    check = {a.question: a for a in log.answers()}["cost_ledger"]
    ledger = dv.cost_ledger(posterior)
    assert check.identified == ledger.identified
    if not check.identified:
        assert "with its refunds, may be 0 or less" in check.reason and ledger.reasons == (check.reason,)
    assert not (back > 0.5 and check.identified)


def test_a_small_refund_leaves_the_parts():
    rng = np.random.default_rng(3)
    bench = refunded(rng, 0.0, regime="evaluation", context="bench")
    live = priced(rng, size=200).with_columns(cost_usd=pl.when(pl.int_range(pl.len()) == 7).then(-0.01).otherwise(0.02))
    posterior = _posterior(bench, live)
    assert dv.cost_ledger(posterior).identified
    share = dv.cost_per_success(posterior).where(statistic="failed_share", context="c")
    assert share.identified and share.draws.min() >= 0 and share.draws.max() <= 1


@pytest.mark.parametrize("back", [0.9, 0.7])
def test_a_share_of_spend_that_refunds_put_outside_0_to_1_is_refused(back):
    rng = np.random.default_rng(8)
    log = priced(rng, size=60, success=0.4)
    log = log.with_columns(cost_usd=pl.when(pl.col("score") == 0).then(0.01).otherwise(-0.01 * back))
    rows = dv.cost_per_success(_posterior(log)).to_frame().filter(statistic="failed_share")
    assert not rows["identified"].any() and "costs below 0 (refunds)" in rows["reason"][0]
