"""Joint draws of spend and success by block: what every question about cost stands on.

Spend is the log's own `cost_usd`, or tokens at declared prices where the log does not meter:

    cost = price_in (input - cached) + price_cached cached + price_out (output - reasoning) + price_reasoning reasoning

per million tokens; a kind without a price of its own takes that of `input` (cached) or `output` (reasoning). Cached tokens
are counted among the input tokens, tokens of hidden reasoning among the output tokens. Both are
sums over rows, so they come from `Cells.measures`. Rows whose spend is not known are left out of the mean spend and
counted: missing is not 0, and 0 is not missing. A count of input or output tokens that only some rows have is scaled up to
all of them; where no row of a combination has it, its spend is not known.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from divergence.calling import nearest
from divergence.cells.random_blocks import BlockSums, block_sums, block_weights
from divergence.errors import InputError
from divergence.joint.posterior import Fit

Prices = Mapping[str, Mapping[str, float]]
"""Model -> kind of token -> price of a million."""


@dataclasses.dataclass(frozen=True)
class Spend:
    """Sums by block, each of shape (blocks, models, contexts), of one regime."""

    cost: np.ndarray
    """Spend, in the currency."""
    metered: np.ndarray
    """Rows whose spend is known."""
    lost: np.ndarray
    """Spend on failures."""
    success: np.ndarray
    """Successes."""
    judged: np.ndarray
    """Judged trials."""
    known: np.ndarray
    """Models whose spend is known at all, shape (models,)."""


def spend(fit: Fit, regime: str, prices: Prices | None = None, currency: str = "USD") -> Spend:
    """Spend and success of one regime. Raises InputError for prices that cannot be meant, and for a mix of currencies."""
    check_prices(fit, prices)
    check_currency(fit, prices, currency)
    score = block_sums(fit.cells, "score", regime)
    metered = block_sums(fit.cells, "cost_usd", regime)
    cost, rows, lost = (part.astype(float) for part in (metered.y, metered.n, metered.lost))
    known = rows.sum((0, 2)) > 0
    tokens = {kind: block_sums(fit.cells, f"{kind}_tokens", regime) for kind in ("input", "cached", "output", "reasoning")}
    for m, model in enumerate(fit.cells.levels["model"]):
        if known[m] or not prices or model not in prices:
            continue
        counted = np.maximum(tokens["input"].n, tokens["output"].n)[:, m]
        for kind, rate in rates(prices[model]).items():
            whole = np.ones(counted.shape[1])
            if kind in ("input", "output") and rate:  # rows without the count spend like those with it, not nothing
                with np.errstate(divide="ignore", invalid="ignore"):
                    whole = counted.sum(0) / tokens[kind].n[:, m].sum(0)
                counted = np.where(np.isfinite(whole), counted, 0.0)
                whole = np.where(np.isfinite(whole), whole, 0.0)
            cost[:, m] += rate * tokens[kind].y[:, m] * whole
            lost[:, m] += rate * tokens[kind].lost[:, m] * whole
        rows[:, m] = counted
        known[m] = rows[:, m].sum() > 0
    return Spend(cost, rows, lost, score.y, score.n, known)


def check_currency(fit: Fit, prices: Prices | None, currency: str) -> None:
    """Raises InputError where the log's own costs and the declared prices have two currencies."""
    if prices and currency.upper() != "USD" and "cost_usd" in fit.cells.levels["measure"]:
        raise InputError(
            f"the log meters cost_usd and [prices] are in {currency}: one question has one currency; declare "
            "the prices in USD, or leave cost_usd out"
        )


def rates(price: Mapping[str, float]) -> dict[str, float]:
    """Price of one token of each column: cached tokens are part of the input tokens and take the discount back."""
    inward, outward = price.get("input", 0.0), price.get("output", 0.0)
    cached, reasoning = price.get("cached", inward), price.get("reasoning", outward)
    each = {"input": inward, "cached": cached - inward, "output": outward, "reasoning": reasoning - outward}
    return {kind: price_of / 1e6 for kind, price_of in each.items()}


def check_prices(fit: Fit, prices: Prices | None) -> None:
    """Raises InputError for prices that cannot be meant."""
    for model, price in (prices or {}).items():
        if model not in fit.cells.levels["model"]:
            names = fit.cells.levels["model"]
            raise InputError(
                f"[prices] names the model {model!r}, which the log does not have{nearest(model, names)}; it has "
                f"{', '.join(names)}"
            )
        for kind, value in price.items():
            if not value >= 0:
                raise InputError(f"the price of {kind} tokens of {model} is {value!r}; a price is a number from 0 on")
        if not {"input", "output"} <= set(price):
            lacks = "input" if "input" not in price else "output"
            raise InputError(f"the prices of {model} lack {lacks}: missing is not 0; declare 0 where tokens are really free")


def checked_prices(fit: Fit, arguments: Mapping) -> None:
    """Raises InputError where the `prices` among the arguments of a question cannot be meant."""
    prices, currency = arguments.get("prices"), arguments.get("currency", "USD")
    check_prices(fit, prices)
    check_currency(fit, prices, currency)


def weights(fit: Fit) -> np.ndarray:
    """Bootstrap weights of the blocks, shape (draws, blocks), shared by all questions so that their answers are joint."""
    return block_weights(len(fit.effects), fit.seed)


def mean_spend(sums: Spend, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Draws of spend an execution and of success a trial, each (draws, models, contexts); NaN where there are no rows."""
    with np.errstate(invalid="ignore", divide="ignore"):
        cost = np.tensordot(weight, sums.cost, 1) / np.tensordot(weight, sums.metered, 1)
        success = np.tensordot(weight, sums.success, 1) / np.tensordot(weight, sums.judged, 1)
    return cost, success


def total(sums: BlockSums, weight: np.ndarray) -> np.ndarray:
    """Draws of a measure's sum, (draws, models, contexts)."""
    return np.tensordot(weight, sums.y, 1)
