"""Agent trials of Terminal-Bench 1 (`tb run`): `results.json` of a run, with `run_metadata.json` beside it.

One row is one trial: one agent with one model at one task once; attempts are counted in the order of the file. A null
`is_resolved` is a trial that the harness did not get to judge (the tests timed out, their output could not be parsed, the
agent could not be installed): an error, not a failure of the model. The tool's own `accuracy` counts it as unresolved;
that number is compared with the same rule, and the note says how many it concerns.

Task instructions and parser results are not carried over. Authority: `terminal_bench/harness/models.py` of
laude-institute/terminal-bench, version 0.2.18.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from divergence.errors import InputError
from divergence.executions.importers import convert, factors, runs
from divergence.executions.importers.foreign_files import head, read_json
from divergence.executions.importers.format import Format
from divergence.executions.importers.mapping import Draft, Field, Place, dig
from divergence.executions.importers.runs import Run, mapping_of, text_of
from divergence.executions.schema import SERVING_FACTORS

NO_FAILURE = ("none", "unset")  # failure modes that say that nothing failed
PLACES = ("run_id", "uuid", "output_path", "dataset_path", "username", "s3_bucket", "start_time", "end_time", "resumed_at")
RESULTS = ("accuracy", "pass_at_k", "model_name", "agent_name", "log_level", "cleanup", "no_rebuild")
SIZES = ("n_tasks", "dataset_size", "task_ids", "exclude_task_ids", "n_attempts")
"""Names in the run's metadata: which run it is, what came out, and how much was run."""

FIELDS = (
    Field("execution_id", "trial.id", convert.text, "", True),
    Field("model", "run.model_name", convert.text, "of run_metadata.json beside the results", True),
    Field("item", "derived.item", convert.text, "data set and task_id", True),
    Field("task", "derived.task", convert.text, "name and version of the data set"),
    Field("trial", "derived.trial", convert.count, "attempts in the order of the file"),
    Field("score", "derived.score", float, "is_resolved; null where the harness failed"),
    Field("scorer", "derived.scorer", convert.text),
    Field("time", "trial.agent_started_at", convert.moment),
    Field("time", "trial.trial_started_at", convert.moment, "where the agent did not start"),
    Field("latency_s", "derived.latency_s", convert.amount, "of the agent; its container and tests excluded"),
    Field("input_tokens", "trial.total_input_tokens", convert.count),
    Field("output_tokens", "trial.total_output_tokens", convert.count),
    Field("error_type", "derived.error_type", convert.label, "failure_mode, where it says that something failed"),
    *(Field(factor, f"factors.{factor}", convert.label) for factor in (*SERVING_FACTORS, "context", "wave")),
)

READS = (
    *(f"trial.{name}" for name in ("trial_name", "task_id", "is_resolved", "failure_mode", "agent_ended_at")),
    *(f"run.{name}" for name in (*PLACES, *RESULTS, *SIZES, "agent_kwargs", "n_concurrent_trials")),
    *("run.dataset_name", "run.dataset_version", "run.commit_hash"),
)
"""Fields read for `derived` and `factors`, and those that only repeat what is read."""

FORMAT = Format(
    name="terminal-bench",
    title="Terminal-Bench 1 (`tb run`): `results.json` with `run_metadata.json`",
    versions="0.1 to 0.2.18",
    authority="`terminal_bench/harness/models.py` of laude-institute/terminal-bench",
    unit="one trial of an agent at a task",
    fields=FIELDS,
    reads=READS,
    genuine=False,
    notes=("A null `is_resolved` is an error of the harness: no score. The tool's `accuracy` counts it as unresolved.",),
)


def kind(start: bytes) -> str | None:
    """`results`, `trial` or `metadata`, by the first bytes; None for files of other tools."""
    if start.lstrip()[:1] != b"{":
        return None
    if b'"is_resolved"' in start and b'"trial_name"' in start:
        return "results" if b'"results"' in start else "trial"
    return "metadata" if b'"run_id"' in start and b'"agent_name"' in start and b'"dataset_' in start else None


def recognises(path: Path, start: bytes) -> bool:  # noqa: ARG001
    """Is this a results or a metadata file of Terminal-Bench, by its first bytes?"""
    return kind(start) is not None


def read(paths: list[Path], primary: str | None, draft: Draft) -> None:  # noqa: ARG001
    """Add the trials of every run to the draft. A run's own file stands for those of its trials.

    Raises InputError where no results are given, or where the model is not known.
    """
    kinds = {path: kind(head(path)) for path in paths}
    whole = [path for path, name in kinds.items() if name == "results"]
    covered = {path.parent for path in whole}
    alone = [p for p, name in kinds.items() if name == "trial" and not covered & set(p.parents)]
    if not whole and not alone:
        raise InputError(f"{paths[0]} has no results.json beside it: Terminal-Bench writes the trials there.")
    loaded = []
    for path in (*whole, *alone):
        draft.sources.append(path)
        log = read_json(path)
        metadata = _metadata(path, draft)
        loaded.append((path, log, metadata, _run(path, metadata, draft)))
    attempts = runs.Trials(draft)
    for path, log, metadata, run in loaded:
        _read_run(path, log, metadata, run, attempts, draft)


def _metadata(path: Path, draft: Draft) -> Mapping[str, Any]:
    for folder in (path.parent, *path.parents[1:3]):
        beside = folder / "run_metadata.json"
        if beside.is_file():
            if beside not in draft.sources:
                draft.sources.append(beside)
            return mapping_of(read_json(beside))
    return {}


def _run(path: Path, metadata: Mapping[str, Any], draft: Draft) -> Run:
    model = text_of(metadata.get("model_name"))
    if model is None and "model" not in draft.constants:
        raise InputError(f"{path} has no run_metadata.json beside it that names the model: give it with --set model=NAME.")
    arguments = mapping_of(metadata.get("agent_kwargs"))
    stated = {
        **factors.serving_factors(arguments),
        "scaffold": metadata.get("agent_name"),
        "sampler": factors.sampler_label(arguments),
    }
    kept = {column: convert.printable(value) for column, value in stated.items() if isinstance(value, str) and value}
    skipped = (*PLACES, *RESULTS, *SIZES, *(f"agent_kwargs.{name}" for name in factors.SAMPLER_NAMES), "n_concurrent_trials")
    settings = runs.flat(metadata, skipped)
    draft.run_settings(convert.printable(path), settings)
    return Run(convert.printable(path), model, kept, settings)


def _read_run(path: Path, log: Any, metadata: Mapping[str, Any], run: Run, attempts: runs.Trials, draft: Draft) -> None:
    trials = dig(log, "results") if isinstance(dig(log, "results"), list) else [log]
    named = [part for part in (metadata.get("dataset_name"), metadata.get("dataset_version")) if isinstance(part, str)]
    task = convert.printable("==".join(named)) or None
    scores: list[float | None] = []
    errors = []
    for number, trial in enumerate(trials, start=1):
        place = Place(convert.printable(path), number)
        if not isinstance(trial, dict) or not isinstance(trial.get("task_id"), str):
            draft.reject(place, "record_is_trial", "The record has no task_id of a trial.")
            continue
        draft.watch("trial", trial)
        resolved = trial.get("is_resolved")
        score = float(resolved) if isinstance(resolved, bool) else None
        mode = trial.get("failure_mode")
        failed = mode if isinstance(mode, str) and mode not in NO_FAILURE else None
        error = failed or ("harness_error" if score is None else None)
        item = convert.printable(f"{task}/{trial['task_id']}" if task else trial["task_id"])
        derived = {
            "item": item,
            "task": task,
            "trial": attempts.next(run, item),
            "score": score,
            "scorer": "is_resolved" if score is not None else None,
            "latency_s": runs.elapsed(trial.get("agent_started_at"), trial.get("agent_ended_at")),
            "error_type": error,
        }
        scores.append(score)
        errors.append(error)
        draft.add({"trial": trial, "run": metadata, "factors": run.factors, "derived": derived}, [], place)
    draft.watch("run", metadata)
    null = sum(score is None for score in scores)
    counted = f"{null} have no verdict: unresolved in the tool's accuracy, without a score here." if null else ""
    runs.failures(draft, path.name, errors, len(scores), counted)
    scope = {"file": convert.printable(path)}
    draft.claim("score", dig(log, "accuracy"), scope)
    draft.claim("score", dig(log, "n_resolved"), scope, "sum")
