"""What would a plan ask, of whom, how often, and what could its contexts not tell apart? Nothing is sent to find out.

    executions = sum over contexts of (items or own workload) x systems x waves x trials
    calls      = the same with the turns of a conversation and at most `max_calls` of an episode; retries come on top

A main effect that two contexts change together, or that lies in the span of others, is said in a sentence (`factorial`).
Without a second wave or trial nothing was measured twice, and flips of answers have no noise floor.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path

from divergence.probe import allocation, arrivals, factorial, scoring
from divergence.probe.item_files import read_items
from divergence.probe.plan import Context, Endpoint, Plan
from divergence.probe.reading import read_plan


@dataclasses.dataclass(frozen=True)
class DryRun:
    """A plan before it is run."""

    plan: Plan
    """The plan, its factorial crossed out into contexts."""
    items: int
    """Items of the plan."""
    executions: int
    """Rows that a whole run leaves."""
    calls: int
    """Requests at most, retries apart."""
    confounded: tuple[str, ...]
    """Sentences on effects that the contexts cannot tell apart."""
    allotted: tuple[tuple[str, str, int], ...] = ()
    """Model, context and executions of what is allotted; empty where everyone is asked everything."""

    def to_dict(self) -> dict:
        """For machines."""
        return {
            "plan": self.plan.name,
            "items": self.items,
            "systems": [s.model for s in self.plan.system],
            "contexts": [c.label for c in self.plan.context],
            "waves": self.plan.waves,
            "trials": self.plan.trials,
            "executions": self.executions,
            "calls": self.calls,
            "confounded": list(self.confounded),
        }

    def __str__(self) -> str:
        plan = self.plan
        lines = [
            f"{plan.name}: {_count(self.items, 'item')}, {_count(len(plan.system), 'system')}, "
            f"{_count(len(plan.context), 'context')}, {_count(plan.waves, 'wave')} of {_count(plan.trials, 'trial')}: "
            f"{_count(self.executions, 'execution')}, {_count(self.calls, 'request')} before retries"
        ]
        lines += [
            f"  system {s.model}: {_place(plan.endpoint[s.endpoint]) if s.endpoint else f'weights {s.weights}, here'}"
            for s in plan.system
        ]
        fixed = {f: v for f, v in plan.context[0].factors.items() if all(c.factors[f] == v for c in plan.context)}
        lines += [
            f"  endpoint {name}: {_place(plan.endpoint[name])}"
            for name in dict.fromkeys(c.endpoint for c in plan.context if c.endpoint)
        ]
        lines += [f"  context {c.label}: {_context(c, fixed)}" for c in plan.context]
        lines += [f"  in every context: {_levels(fixed)}"] if fixed else []
        lines += [f"  aliased: {sentence}" for sentence in self.confounded] or [f"  aliased: {_clean(plan)}"]
        lines += [
            f"  allotted: {model} in {context}, {_count(number, 'execution')}" for model, context, number in self.allotted
        ]
        lines.append(f"  repeats: {_repeats(plan)}")
        limits = [f"{value:g} {name}" for name, value in dataclasses.asdict(plan.budget).items() if value]
        return "\n".join([*lines, f"  budget of a run: {', '.join(limits) or 'none'}", "nothing was sent"])


def dry_run(plan_path: str | Path) -> DryRun:
    """Read and check the plan and its items. Raises `InputError` as a run would, but for keys that are not set yet."""
    plan = read_plan(plan_path)
    items = workloads(plan, scoring.functions(plan.folder / plan.scorers if plan.scorers else None))
    read_traces(plan)
    asked = [item for context in plan.context for item in items[context.workload]]
    repeats = len(plan.system) * plan.waves * plan.trials
    cells = allocation.allotted(plan, items[""], allocation.read_asked(plan))
    if plan.allocation:
        asked = [item for chosen in cells.values() for item, trials in chosen for _ in range(trials)]
        repeats = plan.waves
    rows = sum(len(item.get("turns") or [item]) for item in asked)
    calls = sum(item["agent"]["max_calls"] if "agent" in item else len(item.get("turns") or [item]) for item in asked)
    allotted = tuple((m, c, plan.waves * sum(trials for _, trials in chosen)) for (m, c), chosen in cells.items())
    return DryRun(plan, len(items[""]), rows * repeats, calls * repeats, tuple(confounded(plan)), allotted)


def workloads(plan: Plan, scorers: Mapping[str, scoring.Function]) -> dict[str, list[dict]]:
    """The plan's items (""), and those of contexts with a workload of their own, by its name."""
    return {name: read_items(plan, name, scorers) for name in ("", *dict.fromkeys(c.workload for c in plan.context))}


def read_traces(plan: Plan) -> None:
    """Raises `InputError` where the recorded arrivals of a context cannot be read."""
    for trace in dict.fromkeys(context.arrivals.trace for context in plan.context if context.arrivals.trace):
        arrivals.read_gaps(plan.folder / trace)


def confounded(plan: Plan) -> list[str]:
    """Sentences on the factor effects that the plan's contexts cannot tell apart; said before anything is sent."""
    pairs = plan.factorial.pairs if plan.factorial else ()
    return factorial.aliases([context.factors for context in plan.context], pairs)


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _place(endpoint: Endpoint) -> str:
    """The address, and which variables are set; one that is not may be a pasted key, so its field is said instead."""
    told = [
        f"{variable} is set" if os.environ.get(variable, "").strip() else f"the variable of {field} is NOT set"
        for field, variable in endpoint.variables().items()
    ]
    return f"{endpoint.base_url} ({', '.join(told) or 'no key'})"


def _levels(factors: Mapping[str, str]) -> str:
    return ", ".join(f"{factor} {level}" for factor, level in factors.items())


def _context(context: Context, fixed: Mapping[str, str]) -> str:
    """Regime, the levels that are not the same everywhere, and what the requests say."""
    levels = _levels({f: v for f, v in context.factors.items() if f not in fixed}) or "no factor of its own"
    sent = ", ".join(f"{name} {value}" for name, value in context.sampler.items()) or "no sampling field"
    law = context.arrivals
    pace = _count(context.concurrency, "client") if law.kind == "closed" else f"{law.kind} at {law.rate_per_s:g}/s"
    return f"{context.regime}; {levels}; {sent}; {pace}" + (f"; at {context.endpoint}" if context.endpoint else "")


def _repeats(plan: Plan) -> str:
    """What is asked more than once: the noise floor of flips."""
    if plan.waves * plan.trials > 1 and not plan.allocation:
        return "every context is measured against itself, the noise floor of flips"
    if plan.waves > 1 or any(one.again or one.trials > 1 for one in plan.allocation):
        return "some of what is allotted is asked more than once, the noise floor of flips"
    return "none; without a noise floor flips of answers stay bounds (waves = 2 measures one)"


def _clean(plan: Plan) -> str:
    varying = [f for f in plan.context[0].factors if len({c.factors[f] for c in plan.context}) > 1]
    return f"nothing, main effects of {', '.join(varying)}" if varying else "nothing, no factor varies"
