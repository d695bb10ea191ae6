"""Simulations of tau2-bench: `results.json` with its simulations inside, or with `simulations/ID.json` beside it.

One row is one simulation: an agent serving a simulated user at one task in one trial. The score is the reward, a product
over `reward_basis`; without `reward_info` the simulation was not judged, which is no failure. Cost and tokens are those of
the agent; the user simulator's are left out. Its model and settings are the harness, and so run settings. Times have no
zone and are not carried over. Messages are not read, beyond what they count.

Authority: `src/tau2/data_model/simulation.py` of sierra-research/tau2-bench.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from divergence.errors import InputError
from divergence.executions.importers import convert, factors, runs
from divergence.executions.importers.foreign_files import head, read_json
from divergence.executions.importers.format import Format
from divergence.executions.importers.mapping import Draft, Field, Outcome, Place, dig
from divergence.executions.importers.runs import Run, list_of, mapping_of, text_of
from divergence.executions.schema import SERVING_FACTORS

HARNESS = ("infrastructure_error", "user_error", "unexpected_error")
"""Reasons of termination that are the harness's; a reward beside them judges nothing."""
SKIPPED = ("num_trials", "llm", "seed")

FIELDS = (
    Field("execution_id", "simulation.id", convert.text, "", True),
    Field("model", "info.agent_info.llm", convert.text, "", True),
    Field("item", "derived.item", convert.text, "domain and task_id", True),
    Field("task", "info.environment_info.domain_name", convert.text),
    Field("trial", "simulation.trial", convert.count, "from 0"),
    Field("score", "derived.score", float, "reward; null where the simulation was not judged"),
    Field("scorer", "derived.scorer", convert.text),
    Field("latency_s", "simulation.duration", convert.amount, "of the whole simulation, the simulated user included"),
    Field("cost_usd", "simulation.agent_cost", convert.amount, "of the agent alone"),
    Field("input_tokens", "derived.input_tokens", convert.count, "over the agent's calls"),
    Field("output_tokens", "derived.output_tokens", convert.count, "over the agent's calls"),
    Field("calls", "derived.calls", convert.count, "of the agent"),
    Field("tool_calls", "derived.tool_calls", convert.count, "of the agent"),
    Field("error_type", "derived.error_type", convert.label, "termination_reason, where it is the harness's"),
    Field("finish_reason", "simulation.termination_reason", convert.label),
    *(Field(factor, f"factors.{factor}", convert.label) for factor in (*SERVING_FACTORS, "context", "wave")),
)

READS = (
    *("simulation.task_id", "simulation.reward_info.reward", "simulation.reward_info.reward_breakdown", "info.seed"),
    *("simulation.messages", "simulation.ticks", "info.agent_info", "info.user_info", "info.environment_info"),
    *("info.num_trials", "info.max_steps", "info.max_errors", "info.git_commit", "simulation.reward_info.reward_basis"),
)
"""Fields read for `derived` and `factors`, and those that only repeat what is read."""

FORMAT = Format(
    name="tau2-bench",
    title="tau2-bench: `results.json`, and its `simulations/`",
    versions="2025-10 to 2026-06",
    authority="`src/tau2/data_model/simulation.py` of sierra-research/tau2-bench",
    unit="one simulation",
    fields=FIELDS,
    reads=READS,
)


def kind(start: bytes) -> str | None:
    """`results` or `simulation`, by the first bytes; None for files of other tools."""
    if start.lstrip()[:1] != b"{":
        return None
    if b'"num_trials"' in start and b'"user_info"' in start and b'"info"' in start:
        return "results"
    return "simulation" if b'"termination_reason"' in start[:2000] and b'"task_id"' in start[:2000] else None


def recognises(path: Path, start: bytes) -> bool:  # noqa: ARG001
    """Is this a results file or a simulation, by its first bytes?"""
    return kind(start) is not None


def read(paths: list[Path], primary: str | None, draft: Draft) -> None:  # noqa: ARG001
    """Add the simulations of every results file; those in files of their own need the results beside them.

    Raises InputError where there are no results, which alone name the model.
    """
    kinds = {path: kind(head(path)) for path in paths}
    results = dict.fromkeys(path for path, name in kinds.items() if name == "results")
    alone = [path for path, name in kinds.items() if name == "simulation"]
    for path in alone:
        beside = path.parent.parent / "results.json"
        if beside.is_file() and kind(head(beside)) == "results":
            results.setdefault(beside)
    if not results:
        raise InputError(f"{paths[0]} does not name the model: give the results.json of its experiment.")
    for path in results:
        draft.sources.append(path)
        _read_results(path, draft)


def _read_results(path: Path, draft: Draft) -> None:
    log = read_json(path)
    info = mapping_of(dig(log, "info"))
    if not text_of(dig(info, "agent_info.llm")) and "model" not in draft.constants:
        raise InputError(f"{path} names no model of the agent: give it with --set model=NAME.")
    file = convert.printable(path)
    run = _run(path, info, draft)
    domain = text_of(dig(info, "environment_info.domain_name"))
    errors, unjudged = [], 0
    for number, simulation in _simulations(path, log, draft):
        draft.watch("simulation", simulation)
        reward = runs.finite(dig(simulation, "reward_info.reward"))
        reason = simulation.get("termination_reason")
        error = reason if isinstance(reason, str) and reason in HARNESS else None
        task = simulation.get("task_id")
        named = isinstance(task, str | int) and not isinstance(task, bool)
        derived = {
            "item": convert.printable(f"{domain}/{task}" if domain else task) if named else None,
            "score": reward if not error else None,
            "scorer": "reward" if reward is not None and not error else None,
            "error_type": error,
            **_agent(list_of(simulation.get("messages"))),
        }
        outcomes = [] if error else list(_outcomes(simulation))
        errors.append(error)
        unjudged += derived["score"] is None and not error
        record = {"simulation": simulation, "info": info, "factors": run.factors, "derived": derived}
        draft.add(record, outcomes, Place(file, number))
    if unjudged:
        draft.note(f"{path.name}: {unjudged} of {len(errors)} simulations were not judged, and have no score.")
    runs.failures(draft, path.name, errors, len(errors))
    draft.watch("info", info)


def _simulations(path: Path, log: Any, draft: Draft) -> Iterator[tuple[int, dict[str, Any]]]:
    """The simulations of a results file: those inside it, else those in files of their own."""
    inside = list_of(dig(log, "simulations"))
    beside = [] if inside else sorted((path.parent / "simulations").glob("*.json*"))
    for number, simulation in enumerate(inside, start=1):
        if isinstance(simulation, dict):
            yield number, simulation
        else:
            draft.reject(Place(convert.printable(path), number), "record_is_simulation", "The record is not an object.")
    for number, file in enumerate(beside, start=1):
        draft.sources.append(file)
        try:
            simulation = read_json(file)
        except InputError as error:
            draft.reject(Place(convert.printable(file), 1), "record_readable", convert.printable(error))
            continue
        if isinstance(simulation, dict):
            yield number, simulation


def _run(path: Path, info: Mapping[str, Any], draft: Draft) -> Run:
    agent = mapping_of(info.get("agent_info"))
    arguments = mapping_of(agent.get("llm_args"))
    stated = {
        **factors.serving_factors(arguments),
        "scaffold": agent.get("implementation"),
        "sampler": factors.sampler_label(arguments),
        "router": runs.host(arguments.get("api_base")) or runs.host(arguments.get("base_url")),
    }
    kept = {column: convert.printable(value) for column, value in stated.items() if isinstance(value, str) and value}
    settings = runs.flat({name: part for name, part in info.items() if name != "agent_info"}, ("num_trials",))
    settings |= runs.flat(arguments, (*factors.SAMPLER_NAMES, "api_base", "base_url"), "agent.")
    draft.run_settings(convert.printable(path), settings)
    return Run(path.name, text_of(agent.get("llm")), kept, settings)


def _outcomes(simulation: Mapping[str, Any]) -> Iterator[Outcome]:
    parts = {"reward": dig(simulation, "reward_info.reward"), **mapping_of(dig(simulation, "reward_info.reward_breakdown"))}
    for name, value in parts.items():
        number = runs.finite(value)
        if number is not None:
            yield Outcome(convert.printable(name), number, None, None)


def _agent(messages: list[Any]) -> dict[str, int | None]:
    """What the agent's messages count: calls with their tokens, and tools called. Nothing where there are none."""
    own = [message for message in messages if dig(message, "role") == "assistant"]
    usages = [usage for message in own if isinstance(usage := dig(message, "usage"), dict)]
    return {
        "input_tokens": _sum(usages, "prompt_tokens"),
        "output_tokens": _sum(usages, "completion_tokens"),
        "calls": len(usages) if own else None,
        "tool_calls": sum(len(list_of(dig(message, "tool_calls"))) for message in own) if own else None,
    }


def _sum(usages: list[dict[str, Any]], name: str) -> int | None:
    values = [usage.get(name) for usage in usages]
    counts = [value for value in values if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53]
    return sum(counts) if counts and len(counts) == len(values) else None
