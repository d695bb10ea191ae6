"""What the header of an Inspect log says about all its samples: model, factors, settings, averages.

Settings that no column holds (arguments of the model and the task, limits, solvers) are context where they differ
between runs; what changes no answer (epochs, retries, versions of the harness) is only told. Averages that the log
states are compared with its samples, but for a log of which a later try took samples over.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from divergence.errors import InputError
from divergence.executions.importers import convert, factors
from divergence.executions.importers.mapping import Draft, dig

VERSIONS = (1, 2)  # log versions whose fields are known here
MEANS = ("accuracy", "mean")  # metrics of Inspect that are the mean of a score over samples
LIMITS = ("message_limit", "token_limit", "time_limit", "working_limit", "cost_limit", "turn_limit")
CONNECTION = ("max_connections", "max_retries", "timeout", "attempt_timeout", "batch", "cache")
"""Settings of the client, which change no answer (`max_connections` is the factor `concurrency`)."""


def declared(path: Path, header: Mapping[str, Any], draft: Draft) -> dict[str, Any]:
    """The parts of a record that all samples of a log share. Raises InputError where the log names no model."""
    specification = header["eval"]
    if not specification.get("model") and "model" not in draft.constants:
        raise InputError(f"{path} names no model: give it with --set model=NAME.")
    config, model_config = dig(header, "plan.config"), specification.get("model_generate_config")
    found = factors.serving_factors(
        header.get("metadata"),
        specification.get("metadata"),
        factors.tagged(header.get("tags") or specification.get("tags")),
        specification.get("model_args"),
        specification.get("task_args"),
        {"max_connections": dig(config, "max_connections") or dig(model_config, "max_connections")},
        {"scaffold": specification.get("solver"), "sampler": factors.sampler_label(model_config, config)},
        {"router": factors.host(specification.get("model_base_url"))},
    )
    draft.run_settings(convert.printable(path), _settings(header), _told(header))
    log = {name: header.get(name) for name in ("version", "status", "tags", "metadata", "results", "error")}
    return {"eval": specification, "plan": header.get("plan"), "log": log, "factors": found}


def _settings(header: Mapping[str, Any]) -> dict[str, Any]:
    """What can change answers and is in no column."""
    specification, mapped = header["eval"], {factor.name for factor in factors.FACTOR_NAMES}
    known = {*mapped, *factors.SAMPLER_NAMES, *CONNECTION}
    settings: dict[str, Any] = {}
    for part in ("model_args", "task_args", "solver_args", "model_generate_config"):
        given = specification.get(part)
        settings |= {name: value for name, value in (given if isinstance(given, dict) else {}).items() if name not in known}
    limits = dig(specification, "config")
    settings |= {name: value for name in LIMITS if (value := dig(limits, name)) is not None}
    settings["task_version"] = specification.get("task_version")
    steps = dig(header, "plan.steps")
    settings["solvers"] = convert.digest(json.dumps(steps, sort_keys=True, default=repr)) if steps else None
    return settings


def _told(header: Mapping[str, Any]) -> dict[str, Any]:
    """What should change no answer, and is named where it differs."""
    specification = header["eval"]
    said = {name: dig(specification, f"config.{name}") for name in ("epochs", "limit", "fail_on_error")}
    return {
        **said,
        "inspect_ai": dig(specification, "packages.inspect_ai"),
        "revision": dig(specification, "revision.commit"),
    }


def claim(path: Path, header: Mapping[str, Any], draft: Draft) -> None:
    """The averages and the number of samples that the log states."""
    scope = {"file": convert.printable(path)}
    scores = dig(header, "results.scores")
    for score in scores if isinstance(scores, list) else []:
        name, scorer, reducer = (dig(score, key) for key in ("name", "scorer", "reducer"))
        if reducer not in (None, "mean") or not isinstance(name, str):
            continue
        metric = name if scorer in (None, name) else f"{scorer}.{name}"
        for mean in MEANS:
            value = dig(score, ("metrics", mean, "value"))
            if value is not None:
                draft.claim(metric, value, scope)
                break
    draft.claim("samples", dig(header, "results.total_samples"), scope, "count")


def report(path: Path, header: Mapping[str, Any], draft: Draft, rows: int, summaries: int) -> None:
    """Say how the run ended, and what of its samples is not in the log."""
    status, version = header.get("status") or "started", header.get("version")
    if not rows:
        draft.note(f"{path.name} holds a header and no samples, as under --no-log-samples: no rows come from it.")
    elif status != "success":
        expected = dig(header, "results.total_samples")
        of = f" of {expected}" if isinstance(expected, int) else ""
        draft.note(f"{path.name} is of a run whose status is {convert.named(status)}: {rows}{of} samples are in it.")
    if summaries:
        draft.note(f"{path.name} holds {summaries} samples as summaries only: their messages and events are not in it.")
    if version not in VERSIONS:
        draft.note(f"{path.name} has log version {convert.named(version)}; versions 1 and 2 are known here.")
