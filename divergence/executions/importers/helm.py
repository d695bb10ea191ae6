"""Runs of HELM: `per_instance_stats.json`, with `run_spec.json`, `scenario_state.json` and `stats.json` beside it.

One row is one instance in one train trial under one perturbation. Every statistic of it that judges the answer is an
outcome; the score is the first metric that the run spec names, or the one asked for. A perturbed instance is an item of its
own, named after the perturbation. An answer from HELM's cache has no latency, since its `request_time` is of the first
time. HELM leaves out keys whose value would be null or NaN.

Authority: `src/helm/benchmark/metrics/metric.py` (`PerInstanceStats`), `metrics/statistic.py` (`Stat`) and
`adaptation/request_state.py` of stanford-crfm/helm, version 0.5.16.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from divergence.errors import InputError
from divergence.executions.importers import convert, factors, runs
from divergence.executions.importers.foreign_files import bare_suffix, read_json
from divergence.executions.importers.format import Format
from divergence.executions.importers.groups import by_folder
from divergence.executions.importers.mapping import Draft, Field, Outcome, Place, dig
from divergence.executions.importers.runs import Run, list_of, mapping_of, text_of
from divergence.executions.schema import SERVING_FACTORS

BOOKKEEPING = re.compile(
    r"num_.*|inference_.*|finish_reason_.*|training_.*|batch_size|prompt_truncated|max_prob|logprob.*|estimated_.*|.*runtime"
)
"""Statistics that describe a request, and do not judge its answer."""
ADAPTER_SKIPPED = (
    "model",
    "model_deployment",
    "max_eval_instances",
    "max_train_instances",
    "num_trials",
    "num_train_trials",
)
FILES = ("run_spec", "scenario_state", "stats")

FIELDS = (
    Field(
        "execution_id", "derived.execution_id", convert.text, "hash of the file, with instance, trial, perturbation", True
    ),
    Field("model", "spec.adapter_spec.model", convert.text, "", True),
    Field("item", "derived.item", convert.text, "scenario, instance_id and perturbation", True),
    Field("task", "derived.task", convert.text, "the run's name without its model"),
    Field("trial", "derived.trial", convert.count, "counts the runs of one item in one context; train trials among them"),
    Field("score", "derived.score", float, "first metric of the run spec, or the one asked for"),
    Field("scorer", "derived.scorer", convert.text, "the metric"),
    Field("answer", "derived.answer", convert.label, "the choice, or the completion"),
    Field("gold", "derived.gold", convert.label, "empty where several are right"),
    Field("time", "state.result.request_datetime", convert.moment),
    Field("input_tokens", "derived.input_tokens", convert.count, "num_prompt_tokens"),
    Field(
        "output_tokens", "derived.output_tokens", convert.count, "num_output_tokens", aliases=("derived.completion_tokens",)
    ),
    Field("latency_s", "derived.latency_s", convert.amount, "inference_runtime; empty for an answer from the cache"),
    Field("error_type", "derived.error_type", convert.label),
    Field("finish_reason", "derived.finish_reason", convert.label),
    *(Field(factor, f"factors.{factor}", convert.label) for factor in (*SERVING_FACTORS, "context", "wave")),
)

READS = (
    *(
        "spec.name",
        "spec.adapter_spec",
        "spec.metric_specs",
        "spec.data_augmenter_spec",
        "spec.groups",
        "spec.scenario_spec",
    ),
    *("state.instance", "state.train_trial_index", "state.output_mapping", "state.request", "state.result.success"),
    *("state.result.completions", "state.result.cached", "state.result.request_time"),
)
"""Fields read for `derived` and `factors`, and those that only repeat what is read."""

FORMAT = Format(
    name="helm",
    title="HELM: `per_instance_stats.json` with the other files of a run",
    versions="0.5",
    authority="`src/helm/benchmark/metrics/metric.py` and `adaptation/request_state.py` of stanford-crfm/helm",
    unit="one instance in one train trial",
    fields=FIELDS,
    reads=READS,
    apart=by_folder,
)

Key = tuple[Any, Any, Any]


def kind(start: bytes) -> str | None:
    """`instances` or the stem of another file of a run, by the first bytes; None for files of other tools."""
    first = start.lstrip()[:1]
    if first == b"[" and b'"instance_id"' in start[:2000] and b'"train_trial_index"' in start[:2000]:
        return "instances"
    if first == b"{" and b'"adapter_spec"' in start:
        return "run_spec" if b'"scenario_spec"' in start else "scenario_state" if b'"request_states"' in start else None
    return None


def recognises(path: Path, start: bytes) -> bool:  # noqa: ARG001
    """Is this a file of a run of HELM, by its first bytes?"""
    return kind(start) is not None


def read(paths: list[Path], primary: str | None, draft: Draft) -> None:
    """Add the instances of every run; `primary` names the metric of the score column.

    Raises InputError where a folder has no statistics of instances, and where no run has the metric asked for.
    """
    seen: set[str] = set()
    trials = runs.Trials(draft)
    for folder in dict.fromkeys(path.parent for path in paths):
        own = [path for path in paths if path.parent == folder and path.name.startswith("per_instance_stats")]
        found = own or [p for p in sorted(folder.glob("per_instance_stats.json*")) if bare_suffix(p) == ".json"]
        given = next(iter(found), None) or next(path for path in paths if path.parent == folder)
        if not found and kind(_start(given)) != "instances":
            raise InputError(f"{folder} has no per_instance_stats.json: HELM writes the single instances into it.")
        seen |= _read_run(given, primary, trials, draft)
    if primary and seen and primary not in seen:
        raise InputError(f"No run has a metric {primary!r}: choose from {', '.join(sorted(seen))}.")


def _start(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(4096)


def _beside(path: Path, name: str, draft: Draft) -> Any:
    for end in ("", ".gz", ".zst"):
        beside = path.parent / f"{name}.json{end}"
        if beside.is_file():
            draft.sources.append(beside)
            return read_json(beside)
    return None


def _read_run(path: Path, asked: str | None, trials: runs.Trials, draft: Draft) -> set[str]:
    draft.sources.append(path)
    instances = read_json(path)
    if not isinstance(instances, list):
        raise InputError(f"{path} holds no list of instances.")
    spec, state, stats = (_beside(path, name, draft) for name in FILES)
    spec = mapping_of(spec)
    run = _run(path, spec, draft)
    task = _task(text_of(spec.get("name")))
    states = _states(state)
    cells = _cells(path, instances, draft)
    judged = {key: _outcomes(parts) for key, (_, parts) in cells.items()}
    found = list(dict.fromkeys(o.metric for outcomes in judged.values() for o in outcomes))
    named = [n for metric in list_of(spec.get("metric_specs")) for n in list_of(dig(metric, "args.names"))]
    order = [name for name in named if name in found] + found
    primary = asked if asked in found else next(iter(order), None)
    if asked and found and asked not in found:
        draft.note(f"{path.parent.name} has no metric {asked}: its score is {primary}.")
    prefix = runs.file_identity(path)
    errors = []
    for key, (number, parts) in cells.items():
        own = states.get(key, [])
        derived = _derived(parts, judged[key], own, primary) | {"task": task}
        derived["execution_id"] = convert.printable("-".join([prefix, *(str(part) for part in key if part is not None)]))
        derived["item"] = convert.printable("/".join(str(part) for part in (task, key[0], key[2]) if part is not None))
        derived["trial"] = trials.next(run, derived["item"])
        errors.append(derived["error_type"])
        record = {"spec": spec, "state": own[0] if len(own) == 1 else {}, "factors": run.factors, "derived": derived}
        draft.watch("state", record["state"])
        draft.add(record, [] if derived["error_type"] else judged[key], Place(convert.printable(path), number))
    runs.failures(draft, path.parent.name, errors, len(errors))
    draft.watch("spec", spec)
    _claim(path, cells, stats, found, draft)
    return set(found)


def _run(path: Path, spec: Mapping[str, Any], draft: Draft) -> Run:
    adapter = mapping_of(spec.get("adapter_spec"))
    model, deployment = text_of(adapter.get("model")), text_of(adapter.get("model_deployment"))
    if model is None and "model" not in draft.constants:
        raise InputError(f"{path} has no run_spec.json beside it that names the model: give it with --set model=NAME.")
    shots = adapter.get("max_train_instances")
    stated = {
        **factors.serving_factors(adapter),
        "provider": deployment if deployment != model else None,
        "prompt_version": f"shots={shots}" if isinstance(shots, int) and not isinstance(shots, bool) else None,
        "sampler": factors.sampler_label(adapter),
    }
    kept = {column: convert.printable(value) for column, value in stated.items() if isinstance(value, str) and value}
    settings = runs.flat(adapter, (*ADAPTER_SKIPPED, *factors.SAMPLER_NAMES))
    settings |= runs.flat(spec.get("data_augmenter_spec"), prefix="augmenter.")
    draft.run_settings(convert.printable(path), settings)
    return Run(convert.printable(path), model, kept, settings)


def _task(name: str | None) -> str | None:
    """The run's name without the model: `mmlu:subject=anatomy,model=x` -> `mmlu:subject=anatomy`."""
    if name is None:
        return None
    scenario, _, arguments = name.partition(":")
    kept = [part for part in arguments.split(",") if part and not part.startswith(("model=", "model_deployment="))]
    return convert.printable(f"{scenario}:{','.join(kept)}" if kept else scenario)


def _cells(path: Path, instances: list[Any], draft: Draft) -> dict[Key, tuple[int, dict[str, float]]]:
    """Instance, train trial, perturbation -> position and statistics; statistics without a value are left out."""
    cells: dict[Key, tuple[int, dict[str, float]]] = {}
    for number, instance in enumerate(instances, start=1):
        identity, trial = dig(instance, "instance_id"), dig(instance, "train_trial_index")
        if not isinstance(identity, str) or not isinstance(dig(instance, "stats"), list):
            draft.reject(
                Place(convert.printable(path), number), "record_is_instance", "The record has no instance_id with stats."
            )
            continue
        own = text_of(dig(instance, "perturbation.name"))
        for stat in instance["stats"]:
            name, mean = dig(stat, "name.name"), runs.finite(dig(stat, "mean"))
            perturbation = text_of(dig(stat, "name.perturbation.name")) or own
            trial = trial if isinstance(trial, int) else None
            _, parts = cells.setdefault((identity, trial, perturbation), (number, {}))
            if isinstance(name, str) and mean is not None:
                parts[convert.printable(name)] = mean
    return cells


def _states(log: Any) -> dict[Key, list[Mapping[str, Any]]]:
    """Instance, train trial, perturbation -> its requests; several where every choice was asked by itself."""
    states: dict[Key, list[Mapping[str, Any]]] = {}
    for state in list_of(dig(log, "request_states")):
        identity, trial = dig(state, "instance.id"), dig(state, "train_trial_index")
        if isinstance(identity, str):
            perturbation = text_of(dig(state, "instance.perturbation.name"))
            states.setdefault((identity, trial if isinstance(trial, int) else None, perturbation), []).append(state)
    return states


def _outcomes(parts: Mapping[str, float]) -> list[Outcome]:
    return [Outcome(name, value, None, None) for name, value in parts.items() if not BOOKKEEPING.fullmatch(name)]


def _derived(
    parts: Mapping[str, float], outcomes: list[Outcome], states: list[Mapping[str, Any]], primary: str | None
) -> dict[str, Any]:
    failed = any(dig(state, "result.success") is False for state in states)
    cached = any(dig(state, "result.cached") is True for state in states)
    score = next((o for o in outcomes if o.metric == primary), None)
    reasons = [
        name.removeprefix("finish_reason_") for name, value in parts.items() if value and name.startswith("finish_reason_")
    ]
    return {
        "score": score.value if score and not failed else None,
        "scorer": primary if score and not failed else None,
        "input_tokens": parts.get("num_prompt_tokens"),
        "output_tokens": parts.get("num_output_tokens"),
        "completion_tokens": parts.get("num_completion_tokens"),
        "latency_s": None if cached else parts.get("inference_runtime"),
        "error_type": "error" if failed else None,
        "finish_reason": reasons[0] if len(reasons) == 1 and reasons[0] != "unknown" else None,
        **(_answered(states[0]) if len(states) == 1 else {}),
    }


def _answered(state: Mapping[str, Any]) -> dict[str, str | None]:
    completions = list_of(dig(state, "result.completions"))
    text = dig(completions[0], "text") if completions else None
    written = text.strip() if isinstance(text, str) else None
    choice = mapping_of(state.get("output_mapping")).get(written) if written else None
    right = [
        dig(reference, "output.text")
        for reference in list_of(dig(state, "instance.references"))
        if "correct" in list_of(dig(reference, "tags"))
    ]
    gold = right[0] if len(right) == 1 and isinstance(right[0], str) else None
    return {"answer": choice if isinstance(choice, str) else written, "gold": gold}


def _claim(
    path: Path, cells: Mapping[Key, tuple[int, dict[str, float]]], stats: Any, found: list[str], draft: Draft
) -> None:
    """State the means of the run, where they are over all its rows: one split, no perturbation, one train trial."""
    names = [mapping_of(dig(stat, "name")) for stat in list_of(stats)]
    splits = {name.get("split") for name in names if isinstance(name.get("split"), str)}
    if len(splits) > 1 or any(key[2] is not None for key in cells) or len({key[1] for key in cells}) > 1:
        return
    for name, stat in zip(names, list_of(stats), strict=True):
        if name.get("name") in found and "perturbation" not in name:
            draft.claim(convert.printable(name["name"]), dig(stat, "mean"), {"file": convert.printable(path)})
