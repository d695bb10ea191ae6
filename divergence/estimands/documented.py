"""The docstring of a question, whole: what `help(dv.kappa)` must say without another page beside it.

A question's file says what is asked, the formula, what identifies it and the unit; its function says which rows it gives.
Parameters are alike over the questions and stand here once; the example is the same few lines on a simulated log.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable

from divergence.identification.question import Question

PARAMETERS = {
    "posterior": "the joint posterior of a log, `dv.fit(dv.collapse(dv.read(...)))`, or `dv.load(folder)`",
    "law": "how deployment contexts count: `logged` (shares of all traffic), `own` (each model's), `uniform`, or a mapping "
    "{context: probability}; None = what the log's configuration declares, else `logged`",
    "contexts": "`logged` (the contexts of the log), or `new` (contexts that it never saw)",
    "items": "`new` (items like those of the log) or `observed` (these very items); None = what the configuration declares",
    "outcome": "name of the outcome asked about, one that the posterior was fitted to; None = the primary one",
    "acceptance": "what is required, {bound: number}, as `[acceptance]` of the configuration: `quality_min` and "
    "`bench_gap_max` on the outcome's scale, `latency_p95_max_s` in seconds, `cost_per_success_max_usd` in US dollars, "
    "`excess_flips_max` 0..1",
    "prices": "declared prices where the log meters no cost: {model: {`input`, `output`, `cached`, `reasoning`: price of a "
    "million tokens}}",
    "currency": "currency of the prices, and of the answer",
    "date": "when the prices held, as a text",
    "what_if": "other context laws to answer under, {name: law}",
    "cap": "attempts after which somebody gives up, a whole number",
    "budget": "cost of one success that is bearable, in US dollars; None = not asked",
    "eps": "half width of the band in which a level counts as the same, on the outcome's scale; None = 0.05",
    "quality_required": "level that must be reached, on the outcome's scale; None = not asked",
    "k": "how many contexts in a row, a whole number from 2",
    "powers": "the k of k successes in a row, whole numbers from 1",
    "incumbent": "the model that runs now, or several; None = the one that the log's configuration declares, if any",
    "requests": "sizes of a first deployment whose lesson is told, whole numbers",
    "top": "places asked about in P(top k), a whole number; None = as the table above says",
    "tops": "sizes of the top whose spread is told, whole numbers from 2",
    "pairs": "pairs of serving factors to contrast, [(factor, factor)]; None = all that the design crosses",
}
"""Parameter -> what it is, with its shape and unit."""
RETURNS = """\
Returns an `Estimate`: it prints as a table, `.to_frame()` is that table with mean, median, sd and the 90 % equal-tailed
interval of each row in the row's `unit`, `.draws` the draws, shape (D, R), `.plot()` the figure. A number that the log
does not identify is null, with `.reason`; nothing is guessed. Raises InputError for an outcome, a law or an argument
that cannot be meant."""
LOGS = {
    "agents": ("AgentWorld, simulate_agents", "simulate_agents(AgentWorld(), 0)[0]"),
    "candidate": (
        "simulate, with_a_candidate, world",
        'with_a_candidate(simulate(world("baseline"), 0)[0])',
    ),
    "tasks": ("AgentWorld, simulate_agents", "simulate_agents(AgentWorld(n_families=6), 0)[0]"),
}
"""Logs of examples that are no kind of `world`: what is imported, and what makes the log."""


def documented(question: Question, function: Callable, told: str | None) -> str:
    """The docstring of a question's function; `told` is that of its file.

    >>> from divergence.estimands import QUESTIONS, kappa
    >>> [part in kappa.__doc__ for part in ("kappa_m =", "`law`: how deployment contexts count", "Returns", ">>>")]
    [True, True, True, True]
    """
    names = [name for name in inspect.signature(function).parameters if name in PARAMETERS]
    own = inspect.cleandoc(function.__doc__ or "")
    lines = [f"- `{name}`: {PARAMETERS[name]}." for name in names if f"`{name}`:" not in own]
    return "\n\n".join([inspect.cleandoc(told or question.text), own, "\n".join(lines), RETURNS, example(question)]) + "\n"


def example(question: Question) -> str:
    """Lines that run anywhere, on a simulated log."""
    name, call = "world, simulate", f'simulate(world("{question.example_log}"), 0)[0]'
    name, call = LOGS.get(question.example_log, (name, call))
    more = f", {question.example_call}" if question.example_call else ""
    return "\n".join(
        (
            ">>> import divergence as dv",
            f">>> from divergence.simulate import {name}",
            f">>> posterior = dv.fit(dv.collapse(dv.read({call})), seed=0)",
            f">>> dv.{question.name}(posterior{more}).identified",
            "True",
        )
    )
