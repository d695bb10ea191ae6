"""What an execution spends: declared prices times tokens, and prices that cannot be meant."""

import numpy as np
import polars as pl
import pytest
from plain_logs import priced

import divergence as dv
from divergence.configuration import Configuration
from divergence.estimands.spend import rates


def _posterior(*logs):
    return dv.fit(dv.collapse(dv.read(pl.concat(logs, how="diagonal"))), seed=0)


def test_declared_prices_are_tokens_times_prices():
    rng = np.random.default_rng(4)
    log = (
        priced(rng)
        .drop("cost_usd")
        .with_columns(
            input_tokens=pl.lit(1000), output_tokens=pl.lit(100), cached_tokens=pl.lit(400), reasoning_tokens=pl.lit(0)
        )
    )
    price = {"m": {"input": 2.0, "output": 10.0, "cached": 0.5}}
    answer = dv.cost_per_success(_posterior(log), prices=price, currency="EUR")
    each = (600 * 2.0 + 400 * 0.5 + 100 * 10.0) / 1e6
    row = answer.where(context="c", statistic=None)
    assert np.median(row.draws) == pytest.approx(each / log["score"].mean(), rel=0.02)
    assert answer.to_frame().filter(pl.col("statistic").is_null())["unit"].unique().to_list() == ["eur"]
    assert sum(rates(price["m"]).values()) == pytest.approx((0.5 + 10.0) / 1e6)  # reasoning at the output's price adds 0


@pytest.mark.parametrize(
    ("prices", "words"),
    [
        ({"m": {"input": -1.0, "output": 1.0}}, "a price is a number from 0 on"),
        ({"m": {"input": 1.0}}, "lack output"),
        ({"n": {"input": 1.0, "output": 1.0}}, "does not have; it has m"),
        ({"m": {"input": float("nan"), "output": 1.0}}, "a price is a number"),
    ],
)
def test_prices_that_cannot_be_meant(prices, words):
    posterior = _posterior(priced(np.random.default_rng(10), 20))
    for question in (dv.cost_per_success, dv.cost_ledger):
        with pytest.raises(dv.InputError, match=words):
            question(posterior, prices=prices)


def test_two_currencies_are_a_sentence():
    posterior, price = _posterior(priced(np.random.default_rng(13), 20)), {"m": {"input": 1.0, "output": 1.0}}
    for question in (dv.cost_per_success, dv.cost_ledger):
        with pytest.raises(dv.InputError, match="one question has one currency"):
            question(posterior, prices=price, currency="EUR")


def test_a_negative_price_in_the_configuration_is_a_sentence():
    with pytest.raises(dv.InputError, match="prices"):
        Configuration.from_table({"prices": {"m": {"input": -1.0}}})
