"""Agent trials of Harbor (the runner of Terminal-Bench 2): `JOB/TRIAL/result.json`, with the job's own `result.json`.

One row is one trial: one agent with one model at one task once. The attempts at a task are exchangeable; they are
counted in the order in which they started. The item is the task with the start of its checksum, so that an edited task
is another item. A trial has several rewards by name; the score is `reward`, or the one asked for.

An exception and a reward coexist: the verifier still judged, and Harbor says in `reward_valid` whether that judgement
counts. It does here where it does there, with the exception in `error_type`. A trial without a valid reward (its verifier
failed) is an error of the harness, not a failure of the model: it has no score, as it is not in the tool's mean.

Authority: `src/harbor/models/trial/result.py` and `src/harbor/models/job/result.py` of laude-institute/harbor, version
0.26, `schema_version` 1.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from divergence.errors import InputError
from divergence.executions.importers import convert, factors, runs
from divergence.executions.importers.foreign_files import head, read_json
from divergence.executions.importers.format import Format
from divergence.executions.importers.mapping import Draft, Field, Outcome, Place, dig
from divergence.executions.importers.runs import Run, mapping_of, text_of
from divergence.executions.schema import SERVING_FACTORS

PRIMARY = "reward"
PLACES = (
    "task",
    "trial_name",
    "trials_dir",
    "job_id",
    "source_trial",
    "model_name",
    "schema_version",
)
"""Names in a trial's configuration that say which trial it is, and not how it ran."""

FIELDS = (
    Field("execution_id", "trial.id", convert.text, "", True),
    Field("model", "trial.config.agent.model_name", convert.text, "", True, ("trial.agent_info.model_info.name",)),
    Field("item", "derived.item", convert.text, "source, task name and the start of its checksum", True),
    Field("task", "trial.source", convert.text),
    Field("trial", "derived.trial", convert.count, "attempts in the order of their start"),
    Field("score", "derived.score", float, "the reward named `reward`, or the one asked for, where Harbor calls it valid"),
    Field("scorer", "derived.scorer", convert.text),
    Field("time", "trial.agent_execution.started_at", convert.moment),
    Field("time", "trial.started_at", convert.moment, "where the agent did not start"),
    Field("latency_s", "derived.latency_s", convert.amount, "of the agent; its environment and verifier excluded"),
    Field("input_tokens", "trial.agent_result.n_input_tokens", convert.count, "cached ones included"),
    Field("cached_tokens", "trial.agent_result.n_cache_tokens", convert.count),
    Field("output_tokens", "trial.agent_result.n_output_tokens", convert.count),
    Field("cost_usd", "trial.agent_result.cost_usd", convert.amount),
    Field("retries", "derived.retries", convert.count, "earlier runs of the trial that are kept; none of them counts"),
    Field("error_type", "trial.exception_info.exception_type", convert.label),
    *(Field(factor, f"factors.{factor}", convert.label) for factor in (*SERVING_FACTORS, "context", "wave")),
)

READS = (
    *("trial.task_name", "trial.trial_name", "trial.task_checksum", "trial.config", "trial.verifier_result.rewards"),
    *("trial.agent_info.name", "trial.agent_info.version", "trial.agent_info.model_info.provider", "trial.reward_valid"),
    *("trial.agent_execution.finished_at", "trial.finished_at", "trial.exception_info.policy", "trial.schema_version"),
)
"""Fields read for `derived` and `factors`, and those that only repeat what is read."""

FORMAT = Format(
    name="harbor",
    title="Harbor (the runner of Terminal-Bench 2): `JOB/TRIAL/result.json`",
    versions="0.26 (`schema_version` 1)",
    authority="`src/harbor/models/trial/result.py` and `models/job/result.py` of laude-institute/harbor",
    unit="one trial of an agent at a task",
    fields=FIELDS,
    reads=READS,
    notes=("An exception and a reward coexist: where Harbor calls the reward valid it is the score, beside `error_type`.",),
)


@dataclasses.dataclass
class Trial:
    """One trial, loaded."""

    path: Path
    """Its result.json."""
    log: Mapping[str, Any]
    """The foreign record."""
    job: str
    """The job it belongs to."""
    retries: int | None = None
    """How often it had been run before; None where it had not, or nothing is left of that."""


def kind(start: bytes) -> str | None:
    """`trial` or `job`, by the first bytes of a result.json; None for other files."""
    if start.lstrip()[:1] != b"{":
        return None
    if b'"trial_name"' in start and b'"task_checksum"' in start:
        return "trial"
    return "job" if b'"n_total_trials"' in start and b'"stats"' in start else None


def recognises(path: Path, start: bytes) -> bool:  # noqa: ARG001
    """Is this the result of a trial or of a job, by its first bytes?"""
    return kind(start) is not None


def read(paths: list[Path], primary: str | None, draft: Draft) -> None:
    """Add the trials to the draft; `primary` names the reward of the score column.

    Raises InputError where no trial is given or beside, and where no trial has the reward asked for.
    """
    jobs = {path.parent: path for path in paths if kind(head(path)) == "job"}
    trials = [path for path in paths if path not in jobs.values()]
    if not trials:
        trials = [p for folder in jobs for p in sorted(folder.glob("*/result.json")) if kind(head(p)) == "trial"]
    for folder in dict.fromkeys(path.parent.parent for path in trials):
        beside = folder / "result.json"
        if folder not in jobs and beside.is_file() and kind(head(beside)) == "job":
            jobs[folder] = beside
    loaded = [trial for trial in (_load(path, draft) for path in trials) if trial is not None]
    if not loaded and not draft.rejected:
        raise InputError(f"{paths[0]} has no trials beside it: Harbor writes one TRIAL/result.json each.")
    loaded.sort(key=lambda trial: (str(trial.log.get("started_at")), str(trial.log.get("trial_name"))))
    loaded = _last_tries(loaded, draft)
    names = {name for trial in loaded for name in _rewards(trial.log)}
    if primary and names and primary not in names:
        raise InputError(f"No trial has a reward {primary!r}: choose from {', '.join(sorted(names))}.")
    chosen = primary or (PRIMARY if PRIMARY in names or not names else min(names))
    _add(loaded, chosen, draft)
    for path in jobs.values():
        draft.sources.append(path)
        _claim(path, draft)


def _load(path: Path, draft: Draft) -> Trial | None:
    draft.sources.append(path)
    place = Place(convert.printable(path), 1)
    try:
        log = read_json(path)
    except InputError as error:
        draft.reject(place, "record_readable", convert.printable(error))
        return None
    if not isinstance(log, dict) or not isinstance(log.get("task_name"), str):
        draft.reject(place, "record_is_trial", "The file has no task_name of a trial.")
        return None
    job = dig(log, "config.job_id")
    draft.watch("trial", log)
    return Trial(path, log, job if isinstance(job, str) else convert.printable(path.parent.parent.name))


def _last_tries(loaded: list[Trial], draft: Draft) -> list[Trial]:
    """Each trial once: one that is run again keeps its name, and forks of Harbor keep what failed (`.retry-attempts`)."""
    tries: dict[Any, list[Trial]] = {}
    for trial in loaded:
        name = text_of(trial.log.get("trial_name"))
        tries.setdefault((trial.job, name) if name else trial.path, []).append(trial)
    earlier: list[Trial] = []
    for runs_of_it in tries.values():
        last = runs_of_it[-1]
        # those of the same id are the same file again
        failed = [trial for trial in runs_of_it if trial.log.get("id") != last.log.get("id")]
        last.retries = len(failed) or None
        earlier += failed
    if earlier:
        kinds = sorted({convert.printable(dig(one.log, "exception_info.exception_type") or "no error") for one in earlier})
        draft.note(f"{len(earlier)} trials were run again (after {', '.join(kinds)}): the last run of each counts.")
    left = {id(trial) for trial in earlier}
    return [trial for trial in loaded if id(trial) not in left]


def _rewards(log: Mapping[str, Any]) -> dict[str, float]:
    """The rewards of a trial that Harbor calls valid, by name."""
    rewards = mapping_of(dig(log, "verifier_result.rewards"))
    if log.get("reward_valid") is False or dig(log, "exception_info.policy.has_valid_reward") is False:
        return {}
    finite: dict[str, float] = {}
    for name, value in rewards.items():
        number = runs.finite(value, truth=True)
        if number is not None:
            finite[convert.printable(name)] = number
    return finite


def _add(loaded: list[Trial], chosen: str, draft: Draft) -> None:
    attempts = runs.Trials(draft)
    errors: dict[str, list[tuple[Any, bool]]] = {}
    places: dict[str, dict[str, str]] = {}
    for trial in loaded:
        run = _run(trial)
        settings = places.setdefault(trial.job, {})
        key = json.dumps([run.model, run.settings], sort_keys=True)
        folder = convert.printable(trial.path.parent.parent)
        file = settings.setdefault(key, folder if not settings else f"{folder} ({len(settings) + 1})")
        draft.run_settings(file, run.settings)
        rewards = _rewards(trial.log)
        outcomes = [Outcome(name, value, None, "verifier") for name, value in rewards.items()]
        item = _item(trial.log)
        execution = mapping_of(trial.log.get("agent_execution"))
        derived = {
            "item": item,
            "trial": attempts.next(run, item),
            "score": rewards.get(chosen),
            "scorer": chosen if rewards else None,
            "retries": trial.retries,
            "latency_s": runs.elapsed(execution.get("started_at"), execution.get("finished_at")),
        }
        found = errors.setdefault(trial.job, [])
        found.append((dig(trial.log, "exception_info.exception_type"), bool(rewards)))
        draft.add({"trial": trial.log, "factors": run.factors, "derived": derived}, outcomes, Place(file, len(found)))
    for job, found in errors.items():
        judged = sum(bool(error) and valid for error, valid in found)
        counted = f"{judged} of them have a valid reward, which counts here as in the tool." if judged else ""
        runs.failures(draft, f"Job {job}", [text_of(error) for error, _ in found], len(found), counted)


def _run(trial: Trial) -> Run:
    config = mapping_of(trial.log.get("config"))
    agent = mapping_of(config.get("agent"))
    arguments = mapping_of(agent.get("kwargs"))
    name, version = dig(trial.log, "agent_info.name"), dig(trial.log, "agent_info.version")
    scaffold = " ".join(part for part in (name, version) if isinstance(part, str))
    stated = {
        **factors.serving_factors(arguments, agent),
        "scaffold": scaffold or None,
        "sampler": factors.sampler_label(arguments),
        "provider": dig(trial.log, "agent_info.model_info.provider"),
        "router": runs.host(agent.get("base_url")),
    }
    kept = {column: convert.printable(value) for column, value in stated.items() if isinstance(value, str) and value}
    model = text_of(agent.get("model_name")) or text_of(dig(trial.log, "agent_info.model_info.name"))
    settings = runs.flat(config, (*PLACES, *(f"agent.kwargs.{name}" for name in factors.SAMPLER_NAMES), "agent.name"))
    return Run(f"job {trial.job}", model, kept, settings)


def _item(log: Mapping[str, Any]) -> str | None:
    source, checksum = log.get("source"), log.get("task_checksum")
    name = f"{source}/{log['task_name']}" if isinstance(source, str) and source else log["task_name"]
    return convert.printable(f"{name}-{checksum[:8]}" if isinstance(checksum, str) and checksum else name)


def _claim(path: Path, draft: Draft) -> None:
    """State the job's own counts, means and sums."""
    job = read_json(path)
    stats, scope = mapping_of(dig(job, "stats")), {"file": convert.printable(path.parent)}
    retries = stats.get("n_retries")
    if isinstance(retries, int) and retries:
        draft.note(f"{scope['file']}: {retries} trials were run again after an error; the last of each is in the job.")
    evals = list(mapping_of(stats.get("evals")).values())
    stated = [mapping_of(metric) for one in evals for metric in runs.list_of(dig(one, "metrics"))]
    if len(evals) != 1 or len(stated) != 1:
        return  # several agents or data sets in one job: their sums and means are not those of all its rows
    draft.claim("trials", dig(job, "n_total_trials"), scope, "count")
    for reward, mean in stated[0].items():
        draft.claim(convert.printable(reward), mean, scope)
    for column, total in (
        ("input_tokens", "n_input_tokens"),
        ("output_tokens", "n_output_tokens"),
        ("cost_usd", "cost_usd"),
    ):
        draft.claim(column, stats.get(total), scope, "sum")
