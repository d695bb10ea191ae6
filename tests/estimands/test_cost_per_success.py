"""The cost of a success against loops, simulation and logs that lack something."""

import itertools

import numpy as np
import polars as pl
import pytest
from plain_logs import priced

import divergence as dv


def _posterior(*logs):
    return dv.fit(dv.collapse(dv.read(pl.concat(logs, how="diagonal"))), seed=0)


def test_cost_of_a_success_against_loops():
    rng = np.random.default_rng(2)
    log = priced(rng)
    answer = dv.cost_per_success(_posterior(log)).where(context="c", statistic=None)
    rows = log.to_dicts()
    loop = (sum(r["cost_usd"] for r in rows) / len(rows)) / (sum(r["score"] for r in rows) / len(rows))
    assert np.median(answer.draws) == pytest.approx(loop, rel=0.02)
    share = dv.cost_per_success(_posterior(log)).where(context="c", statistic="failed_share")
    lost = sum(r["cost_usd"] for r in rows if not r["score"]) / sum(r["cost_usd"] for r in rows)
    assert np.median(share.draws) == pytest.approx(lost, rel=0.03)


def test_over_contexts_it_is_the_ratio_of_means():
    rng = np.random.default_rng(3)
    cheap, dear = priced(rng, 300, 0.9, 0.01, context="a"), priced(rng, 100, 0.2, 0.05, context="b")
    answer = dv.cost_per_success(_posterior(cheap, dear)).where(context=None, statistic=None, regime="deployment")
    both = pl.concat([cheap, dear])
    assert np.median(answer.draws) == pytest.approx(both["cost_usd"].mean() / both["score"].mean(), rel=0.05)


def test_free_is_not_missing_and_missing_is_not_free():
    rng = np.random.default_rng(5)
    nought = priced(rng).with_columns(cost_usd=pl.lit(0.0))
    declared = dv.read(nought, configuration=dv.Configuration(zero_cost="free"))
    free = dv.cost_per_success(dv.fit(dv.collapse(declared), seed=0))
    assert not dv.cost_per_success(_posterior(nought)).where(context="c", statistic=None).identified, "not declared"
    assert free.where(context="c", statistic=None).draws.max() == 0.0
    half = priced(rng, 400)
    known = half.with_columns(cost_usd=pl.when(pl.int_range(pl.len()) % 2 == 0).then("cost_usd"))
    answer = dv.cost_per_success(_posterior(known)).where(context="c", statistic=None)
    assert np.median(answer.draws) == pytest.approx(known["cost_usd"].mean() / known["score"].mean(), rel=0.03)
    nothing = dv.cost_per_success(_posterior(priced(rng, 1).drop("cost_usd")))
    assert not nothing.identified and "no row has `cost_usd`, nor tokens that declared [prices]" in nothing.reasons[0]


def test_calls_and_tokens_do_not_hide_that_money_is_not_known():
    log = priced(np.random.default_rng(5), 60, input_tokens=100, output_tokens=10, calls=3).drop("cost_usd")
    answer = dv.cost_per_success(_posterior(log))
    assert answer.where(statistic="tokens").identified and answer.where(statistic="calls").identified
    money = answer.where(statistic=None)
    assert not money.identified and "log `cost_usd`, or declare [prices]" in money.reasons[0]


def test_no_success_has_no_cost():
    answer = dv.cost_per_success(_posterior(priced(np.random.default_rng(6), success=0.0)))
    row = answer.where(context="c", statistic=None)
    assert not row.identified and "none of 200 trials succeeded" in row.reason[0]


def test_no_success_still_says_how_surely_a_budget_is_passed():
    """100 tasks failed twice at about .023 USD: above .1 USD means p < .23, nearly sure; above 200 USD p < .0001."""
    posterior = _posterior(priced(np.random.default_rng(6), success=0.0))
    near, far = (dv.cost_per_success(posterior, budget=b).where(statistic="over_budget").draws.mean() for b in (0.1, 200.0))
    assert near > 0.99 and far < 0.3
    row = dv.cost_per_success(posterior).where(context="c", statistic=None)
    limit = float(row.reason[0].split("above ")[1].split()[0])
    over = dv.cost_per_success(posterior, budget=limit).where(statistic="over_budget")
    assert over.draws.mean() == pytest.approx(0.95, abs=0.03)


def test_a_budget_against_the_draws_of_the_cost():
    posterior = _posterior(priced(np.random.default_rng(6), 60))
    cost = dv.cost_per_success(posterior).where(context="c", statistic=None).draws[:, 0]
    budget = float(np.quantile(cost, 0.3))
    over = dv.cost_per_success(posterior, budget=budget).where(context="c", statistic="over_budget").draws
    assert over.mean() == pytest.approx((cost > budget).mean())
    for wrong in (0, -1.0, float("nan"), "much"):
        with pytest.raises(dv.InputError, match="budget is what one success may cost"):
            dv.cost_per_success(posterior, budget=wrong)


def test_the_prompt_that_is_sent_again():
    """Calls 1 and 5: sent 1 + 15, once 1 + 5 in units of one call's part: 16 / 6, not the (3 + 1) / 2 of the mean."""
    log = pl.concat(
        [priced(np.random.default_rng(7), 400, calls=n).with_columns(item=pl.col("item") + f"-{n}") for n in (1, 5)]
    )
    factor = dv.cost_per_success(_posterior(log)).where(statistic="replay_factor").draws
    assert factor.mean() == pytest.approx(16 / 6, rel=0.03)


def test_what_stands_beside_the_numbers():
    rng = np.random.default_rng(8)
    bench = priced(rng, 60, regime="evaluation", context="bench")
    live = priced(rng, 60).with_columns(item=pl.col("item") + "-live")
    apart = _posterior(bench, live)
    assert "share no item" in dv.cost_per_success(apart).text and "share no item" in dv.cost_ledger(apart).text
    same = _posterior(bench, priced(rng, 60))
    assert "share no item" not in dv.cost_per_success(same).text
    prices = {"m": {"input": 1.0, "output": 2.0}}
    assert "declared" not in dv.cost_per_success(same, prices=prices).text, "all spend is metered"
    tokens = dict(input_tokens=100, output_tokens=10)
    counted = _posterior(
        *(priced(rng, 60, regime=r, context=r, **tokens).drop("cost_usd") for r in ("evaluation", "deployment"))
    )
    assert "declared prices of 2026-03-01" in dv.cost_per_success(counted, prices=prices, date="2026-03-01").text
    assert "declared prices without a date" in dv.cost_ledger(counted, prices=prices).text
    once = dv.cost_per_success(_posterior(priced(rng, 60).filter(trial=0))).where(statistic="expected_attempts")
    assert not once.identified and "0 items have two trials" in once.reasons[0]
    frame = dv.cost_per_success(same).where(statistic=None).to_frame()
    assert frame["mean"].null_count() == frame.height and frame["median"].null_count() == 0


def test_expected_attempts_against_simulation():
    """Tasks Beta(.8, 1.2): E[min(tries, 5)] by Monte Carlo within the interval."""
    rng = np.random.default_rng(7)
    p = np.repeat(rng.beta(0.8, 1.2, 300), 2)
    answer = dv.cost_per_success(_posterior(priced(rng, 600, success=p))).where(statistic="expected_attempts")
    q = rng.beta(0.8, 1.2, 200_000)
    truth = np.minimum(rng.geometric(np.maximum(q, 1e-12)), 5).mean()
    low, high = answer.interval(0.99)[0]
    assert low < truth < high and high - low < 0.8


@pytest.mark.parametrize("cap", [0, 1.5, True])
def test_a_cap_that_is_none(cap):
    with pytest.raises(dv.InputError, match="largest number of tries"):
        dv.cost_per_success(_posterior(priced(np.random.default_rng(11), 20)), cap=cap)


def test_models_and_contexts_are_kept_apart():
    rng = np.random.default_rng(12)
    logs = [
        priced(rng, 100, 0.5, 0.01 * (1 + m) * (1 + c), model=f"m{m}", context=f"c{c}")
        for m, c in itertools.product(range(2), range(2))
    ]
    answer = dv.cost_per_success(_posterior(*logs))
    for m, c in itertools.product(range(2), range(2)):
        row = logs[2 * m + c]
        mine = answer.where(model=f"m{m}", context=f"c{c}", statistic=None)
        assert np.median(mine.draws) == pytest.approx(row["cost_usd"].mean() / row["score"].mean(), rel=0.04)


def test_token_counts_that_rows_lack_are_not_nothing():
    rng = np.random.default_rng(20)
    log = priced(rng).drop("cost_usd").with_columns(input_tokens=pl.lit(1000), output_tokens=pl.lit(100))
    price = {"m": {"input": 2.0, "output": 10.0}}
    row = pl.int_range(pl.len())
    some = log.with_columns(input_tokens=pl.when(row % 4 > 1).then("input_tokens"))
    whole, half = (
        np.median(dv.cost_per_success(_posterior(part), prices=price).where(context="c", statistic=None).draws)
        for part in (log, some)
    )
    assert half == pytest.approx(whole, rel=0.02)
    for lacking in ("input_tokens", "output_tokens"):
        answer = dv.cost_per_success(_posterior(log.drop(lacking)), prices=price).where(statistic=None)
        assert not np.isfinite(answer.draws).any() and "no row has a cost" in answer.reasons[0]


@pytest.mark.parametrize("rates", [{"m": 0.9, "n": 0.2}, {"m": 0.5, "n": 0.5, "o": 0.7}])
def test_share_of_spend_on_failures_over_all_models_is_that_of_the_rows(rates):
    rng = np.random.default_rng(12)
    logs = [priced(rng, 300, success=p, cost=0.01 * (k + 1), model=m) for k, (m, p) in enumerate(rates.items())]
    answer = dv.cost_per_success(_posterior(*logs)).where(statistic="failed_share", model=None)
    rows = pl.concat(logs)
    plain = rows.filter(score=0)["cost_usd"].sum() / rows["cost_usd"].sum()
    assert answer.rows["regime"].to_list() == ["deployment"] and answer.identified
    low, high = answer.interval()[0]
    assert answer.draws.mean() == pytest.approx(plain, abs=(high - low) / 10) and low < plain < high
    alone = dv.cost_per_success(_posterior(logs[0])).where(statistic="failed_share", model=None)
    assert alone.rows.height == 0, "one model says it in its own rows"


@pytest.mark.parametrize("column", ["calls", None])
def test_calls_of_a_success_are_promised_only_where_calls_are_logged(column):
    rng = np.random.default_rng(2)
    frame = pl.DataFrame(
        [
            {
                "regime": r,
                "model": "A",
                "item": f"q{s}{t}",
                "context": "c",
                "session": f"{r}{s}",
                "turn": t,
                "score": float(rng.random() < 0.6),
            }
            | ({column: 2} if column else {})
            for r in ("evaluation", "deployment")
            for s in range(15)
            for t in range(3)
        ]
    )
    log = dv.read(frame)
    check = {a.question: a for a in log.answers()}["cost_per_success"]
    assert check.identified is bool(column) and ("only calls" in check.reason) is bool(column)
    assert dv.cost_per_success(dv.fit(dv.collapse(log), seed=0)).identified is bool(column)
