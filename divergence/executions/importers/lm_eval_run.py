"""What the results file of an lm-eval run says about all its documents: model, engine, prompt, settings, averages.

Settings of the run that a column holds fill that column. What else can change answers (model arguments, generation
settings, the prompt of the task) is context where it differs between runs; what should not (seeds, versions of the
harness, devices) is only told.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from divergence.errors import InputError
from divergence.executions.importers import convert, factors
from divergence.executions.importers.mapping import Draft, dig

MODEL_ARGUMENTS = ("peft", "delta", "pretrained", "model", "path", "engine")  # where the harness finds a model's name
CLIENT_ARGUMENTS = ("base_url", "max_retries", "tokenized_requests", "timeout", "verify_certificate", "trust_remote_code")
"""Model arguments of the client, which change no answer; of `base_url` the host is kept, as `router`."""
PROMPT = ("doc_to_text", "doc_to_choice", "description", "fewshot_delimiter", "target_delimiter", "fewshot_split")
"""What of a task's configuration makes the prompt, beside the number of examples."""
SEEDS = ("random_seed", "numpy_seed", "torch_seed")
READ = (
    *("model_name", "model_name_sanitized", "model_source", "chat_template", "chat_template_sha", "system_instruction"),
    *("n-shot", "system_instruction_sha", "fewshot_as_multiturn", "transformers_version", "results", "higher_is_better"),
    *("versions", "configs", "n-samples", "lm_eval_version", "git_hash", "task_hashes"),
)
"""Names of the results file that are read."""
READ_OF_CONFIG = (
    *("model", "gen_kwargs", "batch_size", "model_dtype", "model_revision", "model_sha", "device", "limit"),
    *(*SEEDS, "fewshot_seed"),
)


@dataclasses.dataclass(frozen=True)
class TaskRun:
    """One task of one run."""

    task: str | None
    """Name of the task."""
    record: Mapping[str, Any]
    """What all documents share, as the mapping reads it."""
    requested: Mapping[str, Any]
    """The generation settings that the run asked for."""
    identity: tuple[Any, ...]
    """What makes two runs the same run again: model, factors and settings."""

    def sampler(self, settings: Mapping[str, Any] | None) -> str | None:
        """The sampler's label of a document with these settings; None where the run declares another one."""
        if settings is None or "sampler" in self.record["factors"]:
            return None
        return factors.sampler_label(self.requested, settings)


def declared(path: Path, task: str | None, results: Any, draft: Draft) -> TaskRun:
    """What the results say about one samples file. Raises InputError where no model is known."""
    if not isinstance(results, dict):
        if "model" not in draft.constants:
            raise InputError(
                f"{path.name} does not say which model answered, and its results_*.json is not beside it:"
                " add that file, or name the model with --set model=NAME."
            )
        draft.note(f"{path.name} comes without its results_*.json: engine, prompt and time are not known.")
        results = {}
    arguments = factors.parsed_arguments(dig(results, "config.model_args"))
    model = _model(path, results, arguments, draft)
    own = {name: value for name, value in arguments.items() if name not in MODEL_ARGUMENTS}
    router = factors.host(arguments.get("base_url"))
    found = {**stated(results, task), **({"router": router} if router else {}), **factors.serving_factors(own)}
    requested = factors.parsed_arguments(dig(results, "config.gen_kwargs"))
    file = convert.printable(path)
    settings = _settings(results, task, own, requested)
    draft.run_settings(file, settings, _told(results, task))
    _claim(results, task, file, draft)
    config = {**dict(_mapping(results.get("config"))), "model_args": arguments}
    return TaskRun(
        task=task,
        record={
            "file": {"task": task},
            "results": {**results, "config": config},
            "factors": found,
            "derived": {"model": model},
        },
        requested=requested,
        identity=(repr(model), *sorted(found.items()), json.dumps(settings, sort_keys=True, default=repr)),
    )


def _model(path: Path, results: Mapping[str, Any], arguments: Mapping[str, Any], draft: Draft) -> Any:
    named = next((arguments[name] for name in MODEL_ARGUMENTS if arguments.get(name)), None)
    model = results.get("model_name") or named
    if not model and "model" not in draft.constants:
        raise InputError(f"The results of {path.name} name no model: give it with --set model=NAME.")
    if model and not arguments and "model" not in draft.constants:
        draft.note(
            f"lm-eval had no model_args, and makes the model's name up then: {convert.named(model)}"
            " may mean nothing. Name it with --set model=NAME."
        )
    return model


def stated(results: Mapping[str, Any], task: str | None) -> dict[str, str]:
    """Serving factors that the harness states itself."""
    engine = results.get("model_source") or dig(results, "config.model")
    shots, system = _mapping(results.get("n-shot")).get(task or ""), results.get("system_instruction_sha")
    batch = dig(results, "config.batch_size")
    prompt = {
        "shots": shots,
        "system": system[:12] if isinstance(system, str) else None,
        "multiturn": results.get("fewshot_as_multiturn") or None,
    }
    template = results.get("chat_template_sha")
    said = {
        "engine": engine,
        "engine_version": results.get("transformers_version") if engine in ("hf", "huggingface") else None,
        "quantization": str(dig(results, "config.model_dtype") or "").removeprefix("torch."),
        "batch_policy": None if batch in (None, "") else f"batch_size={batch}",
        "prompt_version": ",".join(f"{name}={value}" for name, value in prompt.items() if value is not None),
        "chat_template": f"sha256:{template[:12]}" if isinstance(template, str) else None,
    }
    return {name: convert.printable(value) for name, value in said.items() if isinstance(value, str) and value}


def _settings(
    results: Mapping[str, Any], task: str | None, own: Mapping[str, Any], requested: Mapping[str, Any]
) -> dict[str, Any]:
    """What can change answers and is in no column."""
    mapped = {factor.name for factor in factors.FACTOR_NAMES}
    settings = {name: value for name, value in own.items() if name not in (*mapped, *CLIENT_ARGUMENTS)}
    settings |= {f"gen_kwargs.{name}": value for name, value in requested.items() if name not in factors.SAMPLER_NAMES}
    settings["model_revision"] = dig(results, "config.model_sha") or dig(results, "config.model_revision")
    settings["fewshot_seed"] = dig(results, "config.fewshot_seed")
    settings["task_version"] = _mapping(results.get("versions")).get(task or "")
    prompt = {name: value for name in PROMPT if (value := dig(_configuration(results, task), name)) is not None}
    settings["prompt"] = convert.digest(json.dumps(prompt, sort_keys=True, default=repr)) if prompt else None
    return {name: value for name, value in settings.items() if value is not None}


def _told(results: Mapping[str, Any], task: str | None) -> dict[str, Any]:
    """What should change no answer, and is named where it differs."""
    said = {name: dig(results, f"config.{name}") for name in (*SEEDS, "device", "limit")}
    said |= {name: results.get(name) for name in ("lm_eval_version", "git_hash", "transformers_version")}
    return {**said, "task_hash": _mapping(results.get("task_hashes")).get(task or "")}


def _claim(results: Mapping[str, Any], task: str | None, file: str, draft: Draft) -> None:
    """The averages and the number of documents that the harness states."""
    listed = dig(_configuration(results, task), "metric_list")
    rules = {dig(rule, "metric"): dig(rule, "aggregation") for rule in (listed if isinstance(listed, list) else [])}
    for name, value in _mapping(_mapping(results.get("results")).get(task or "")).items():
        metric, _, filter_name = str(name).partition(",")
        if metric.endswith("_stderr") or metric in ("alias", "name", "sample_len", "samples"):
            continue
        if rules.get(metric, "mean") == "mean":
            outcome = metric if filter_name in ("", "none") else f"{metric},{filter_name}"
            draft.claim(outcome, value, {"file": file})
    documents = dig(_mapping(results.get("n-samples")).get(task or ""), "effective")
    draft.claim("documents", documents, {"file": file}, "count")


def lower_is_better(results: Any, task: str | None, metrics: Iterable[str]) -> set[str]:
    """The metrics of a task of which the smaller value is the better one."""
    better = _mapping(_mapping(results).get("higher_is_better")).get(task or "")
    return {metric for metric in metrics if dig(better, (metric.split(",")[0],)) is False}


def _configuration(results: Mapping[str, Any], task: str | None) -> Mapping[str, Any]:
    return _mapping(_mapping(results.get("configs")).get(task or ""))


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
