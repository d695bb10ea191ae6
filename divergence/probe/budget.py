"""What may a run cost at most? Requests, tokens, money, time; the first that is used up ends the run in good order.

Requests in flight when a budget is used up are finished and written, so it is exceeded by what was in flight at most.
Rows of earlier runs of the same plan are not counted: a budget is for one run.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping

from divergence.errors import InputError


@dataclasses.dataclass(frozen=True)
class Price:
    """Declared price of one model's tokens."""

    input_usd_per_million: float = 0.0
    """US dollars a million prompt tokens."""
    output_usd_per_million: float = 0.0
    """US dollars a million answer tokens."""


@dataclasses.dataclass(frozen=True)
class Budget:
    """Limits of one run; 0 = no limit."""

    requests: int = 0
    """Requests sent, retries included."""
    tokens: int = 0
    """Prompt and answer tokens together."""
    usd: float = 0.0
    """US dollars at the declared prices."""
    minutes: float = 0.0
    """Minutes from the start of the run."""


def check(budget: Budget, price: Mapping[str, Price], models: list[str]) -> None:
    """Raises `InputError` for a negative limit, or a limit in money without the prices that it needs."""
    for field in dataclasses.fields(Budget):
        if not getattr(budget, field.name) >= 0:
            raise InputError(f"The budget's {field.name} is {getattr(budget, field.name)}; it must not be negative.")
    for model, prices in price.items():
        if not all(price >= 0 for price in dataclasses.astuple(prices)):
            raise InputError(f"A price of {model!r} is negative.")
    missing = [m for m in models if m not in price]
    if budget.usd and missing:
        raise InputError(f"A budget in USD needs the prices of every model; [price.{missing[0]!r}] is missing.")


class Spending:
    """What one run has used so far."""

    def __init__(self, budget: Budget, price: Mapping[str, Price]) -> None:
        self.budget, self.price = budget, price
        self.requests = self.tokens = 0
        self.usd = 0.0
        self.begun = time.monotonic()

    def add(self, model: str, reply) -> None:
        """Count one execution's requests and tokens."""
        read, written = reply.input_tokens or 0, reply.output_tokens or 0
        self.requests += 1 + reply.retries
        self.tokens += read + written
        prices = self.price.get(model, Price())
        self.usd += (read * prices.input_usd_per_million + written * prices.output_usd_per_million) / 1e6

    def cost(self, model: str, reply) -> float | None:
        """Cost of one execution in US dollars; None where no price was declared or no tokens were counted."""
        if model not in self.price or reply.input_tokens is None or reply.output_tokens is None:
            return None
        prices = self.price[model]
        return (
            reply.input_tokens * prices.input_usd_per_million + reply.output_tokens * prices.output_usd_per_million
        ) / 1e6

    def used_up(self) -> str | None:
        """The limit that is reached, as a phrase; None while there is room."""
        limits = self.budget
        minutes = (time.monotonic() - self.begun) / 60
        for limit, used, words in (
            (limits.requests, self.requests, f"{limits.requests} requests"),
            (limits.tokens, self.tokens, f"{limits.tokens} tokens"),
            (limits.usd, self.usd, f"{limits.usd:g} USD"),
            (limits.minutes, minutes, f"{limits.minutes:g} minutes"),
        ):
            if limit and used >= limit:
                return f"the budget of {words} is used up"
        return None
