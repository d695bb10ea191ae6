"""Logs of the LM evaluation harness (`lm_eval`): `samples_<task>_<time>.jsonl`, with `results_<time>.json` beside them.

The file has one line for each document and filter; one row here is one document, and every filter's metrics are
outcomes of it. The score column takes one of them: the first metric of the first filter, or the one asked for. An
outcome is named `metric`, or `metric,filter` where the filter has a name, as in the harness's own results.

The model, the engine and the prompt stand only in the results file, which is looked for beside the samples. The harness
logs no latency and no tokens for single documents, and one time for a whole run.

Authority: `lm_eval/result_schema.py` and `lm_eval/loggers/evaluation_tracker.py` of EleutherAI/lm-evaluation-harness,
version 0.4.13.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from divergence.errors import InputError
from divergence.executions.importers import convert, factors, lm_eval_documents
from divergence.executions.importers.foreign_files import parsed, read_json, read_lines
from divergence.executions.importers.format import Format
from divergence.executions.importers.lm_eval_documents import Document
from divergence.executions.importers.mapping import Draft, Field, Place, dig
from divergence.executions.schema import SERVING_FACTORS

STAMP = r"\d{4}-\d{2}-\d{2}T\d{2}-\d{2}-\d{2}(?:\.\d+)?"
SAMPLES_NAME = re.compile(rf"samples_(?P<task>.+?)(?:_(?P<stamp>{STAMP}))?\.jsonl(?:\.gz)?")
RESULTS_NAME = re.compile(rf".*?_?(?P<stamp>{STAMP})\.json")
MODEL_ARGUMENTS = ("peft", "delta", "pretrained", "model", "path", "engine")  # where the harness finds a model's name

FIELDS = (
    Field("execution_id", "derived.execution_id", convert.text, "hash of the samples file, with the document", True),
    Field("model", "derived.model", convert.text, "model_name, else the name among model_args", True),
    Field("item", "derived.item", convert.text, "task, doc_id and the start of doc_hash", True),
    Field("task", "file.task", convert.text, "from the file's name"),
    Field("trial", "derived.trial", convert.count, "counts the runs of one item in one context, in the order read"),
    Field("score", "derived.score", float, "null where lower is better or values leave 0 to 1"),
    Field("scorer", "derived.scorer", convert.text, "metric, or metric,filter"),
    Field("answer", "derived.answer", convert.label, "likeliest choice or filtered text; over 200 characters its hash"),
    Field("gold", "derived.gold", convert.label, "the right choice, or the target text; empty where several are right"),
    Field("time", "results.date", convert.moment, "start of the run"),
    *(Field(factor, f"factors.{factor}", convert.label) for factor in (*SERVING_FACTORS, "context", "wave")),
)

READS = (
    *(f"sample.{name}" for name in ("doc_id", "doc_hash", "filter", "metrics", "filtered_resps", "target")),
    *("sample.arguments",),
    *("results.model_name", "results.model_name_sanitized", "results.model_source", "results.config.model"),
    *("results.chat_template", "results.chat_template_sha", "results.system_instruction", "results.n-shot"),
    *("results.system_instruction_sha", "results.fewshot_as_multiturn", "results.transformers_version"),
    *("results.config.gen_kwargs", "results.config.batch_size", "results.config.model_dtype", "results.results"),
    "results.higher_is_better",
    *(f"results.config.model_args.{name}" for name in MODEL_ARGUMENTS),
    *factors.factor_paths("results.config.model_args"),
)
"""Fields read for `derived` and `factors`, and those that only repeat what is read."""

FORMAT = Format(
    name="lm-eval",
    title="LM evaluation harness (`lm_eval`): `samples_*.jsonl` with `results_*.json`",
    versions="0.3 to 0.4.13",
    authority="`lm_eval/result_schema.py` and `lm_eval/loggers/evaluation_tracker.py` of EleutherAI/lm-evaluation-harness",
    unit="one document",
    fields=FIELDS,
    reads=READS,
    rank=60,
)


def recognises(path: Path, start: bytes) -> bool:
    """Is this a samples or a results file of the harness, by its name and its first bytes?"""
    if SAMPLES_NAME.fullmatch(path.name):
        return True
    if path.suffix == ".json":
        return re.match(rb'\s*\{\s*"results"\s*:\s*\{', start) is not None
    return b'"doc_id"' in start and b'"filtered_resps"' in start


def read(paths: list[Path], primary: str | None, draft: Draft) -> None:
    """Add the documents of every samples file to the draft; `primary` names the metric of the score column.

    Raises InputError where no samples file is given, where one is empty, where the model is not known, and where no
    task has the primary metric asked for.
    """
    samples = [path for path in paths if ".jsonl" in path.name]
    given = [path for path in paths if path not in samples]
    if not samples:
        raise InputError(
            f"{paths[0]} holds averages only: give the samples_*.jsonl files, which lm-eval writes with --log_samples."
        )
    seen: dict[str, None] = {}
    runs: dict[tuple[Any, ...], int] = {}
    results: dict[Path, Any] = {}
    for path in samples:
        draft.sources.append(path)
        beside = _results_path(path, given)
        if beside is not None and beside not in results:
            results[beside] = read_json(beside)
            draft.sources.append(beside)
        _read_samples(path, results.get(beside) if beside else None, primary, draft, seen, runs)
    if primary and primary not in seen:
        raise InputError(f"No task of these logs has a metric {primary!r}: choose from {', '.join(seen)}.")


def _results_path(samples: Path, given: list[Path]) -> Path | None:
    """The results of the run that wrote these samples: the same time in the name, else the only file that there is."""
    stamp = _group(SAMPLES_NAME, samples, "stamp")
    candidates = dict.fromkeys([*given, *sorted(samples.parent.glob("*.json"))])
    same = [path for path in candidates if stamp and _group(RESULTS_NAME, path, "stamp") == stamp]
    named = [path for path in candidates if path.name.startswith("results")]
    alone = given if len(given) == 1 else named if len(named) == 1 and not stamp else []
    return next(iter(same or alone), None)


def _group(pattern: re.Pattern[str], path: Path, name: str) -> str | None:
    match = pattern.fullmatch(path.name)
    return match[name] if match else None


def _read_samples(
    path: Path, results: Any, asked: str | None, draft: Draft, seen: dict[str, None], runs: dict[tuple[Any, ...], int]
) -> None:
    task = _group(SAMPLES_NAME, path, "task")
    documents = _documents(path, draft)
    metrics = list(dict.fromkeys(o.metric for document in documents for o in document.outcomes))
    seen.update(dict.fromkeys(metrics))
    better = dig(results, "higher_is_better")
    lower = {m for m in metrics if isinstance(better, dict) and dig(better.get(task), m.split(",")[0]) is False}
    primary = asked if asked in metrics else next((m for m in metrics if m not in lower), None)
    if asked and asked not in metrics and metrics:
        draft.note(f"{path.name} has no metric {asked}: its score is {primary}.")
    if lower:
        draft.note(f"{path.name}: lower is better for {', '.join(sorted(lower))}, kept in the outcomes only.")
    run = _run(path, task, results, draft)
    prefix = lm_eval_documents.file_identity(path)
    for document in documents:
        place = Place(convert.printable(path), document.row)
        derived = lm_eval_documents.derived(document, primary if primary not in lower else None, task, prefix)
        levels = {**run["factors"], **_sampler(document, run["factors"], results)}
        if derived["problem"]:
            draft.reject(place, "score_finite", derived["problem"])
            continue
        key = (repr(run["derived"]["model"]), derived["item"], *sorted(levels.items()))
        derived["trial"] = runs[key] = runs.get(key, 0) + 1
        draft.add({**run, "factors": levels, "derived": {**run["derived"], **derived}}, document.outcomes, place)
    draft.watch("results", run["results"])


def _documents(path: Path, draft: Draft) -> list[Document]:
    documents: dict[Any, Document] = {}
    lines = 0
    for number, line in read_lines(path):
        lines += 1
        place = Place(convert.printable(path), number)
        try:
            sample = parsed(line)
        except ValueError as error:
            draft.reject(place, "record_readable", f"The line {convert.printable(error)}.")
            continue
        problem = lm_eval_documents.problem(sample)
        if problem:
            draft.reject(place, "record_is_sample", problem)
            continue
        names = set(lm_eval_documents.metric_names(sample))
        draft.watch("sample", {name: value for name, value in sample.items() if name not in names})
        key = (sample["doc_id"], sample.get("doc_hash"))
        document = documents.setdefault(key, Document(number, sample))
        if not document.take(sample):
            name = convert.shown(sample.get("filter"))
            draft.reject(place, "filter_unique", f"doc_id {convert.shown(key[0])} was already seen with filter {name}.")
    if not lines:
        raise InputError(f"{path} is empty: lm-eval writes one line for each document with --log_samples.")
    return list(documents.values())


def _run(path: Path, task: str | None, results: Any, draft: Draft) -> dict[str, Any]:
    if not isinstance(results, dict):
        if "model" not in draft.constants:
            raise InputError(
                f"{path.name} does not say which model answered, and its results_*.json is not beside it:"
                " add that file, or name the model with --set model=NAME."
            )
        draft.note(f"{path.name} comes without its results_*.json: engine, prompt and time are not known.")
        results = {}
    arguments = factors.parsed_arguments(dig(results, "config.model_args"))
    named = next((arguments[name] for name in MODEL_ARGUMENTS if arguments.get(name)), None)
    model = results.get("model_name") or named
    if not model and "model" not in draft.constants:
        raise InputError(f"The results of {path.name} name no model: give it with --set model=NAME.")
    if model and not arguments and "model" not in draft.constants:
        draft.note(
            f"lm-eval had no model_args, and makes the model's name up then: {convert.shown(model)}"
            " may mean nothing. Name it with --set model=NAME."
        )
    own = {name: value for name, value in arguments.items() if name not in MODEL_ARGUMENTS}
    config = {**dict(_mapping(results.get("config"))), "model_args": arguments}
    return {
        "file": {"task": task},
        "results": {**results, "config": config},
        "factors": {**_declared(results, task), **factors.serving_factors(own)},
        "derived": {"model": model},
    }


def _declared(results: Mapping[str, Any], task: str | None) -> dict[str, str]:
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
    stated = {
        "engine": engine,
        "engine_version": results.get("transformers_version") if engine in ("hf", "huggingface") else None,
        "quantization": str(dig(results, "config.model_dtype") or "").removeprefix("torch."),
        "batch_policy": None if batch in (None, "") else f"batch_size={batch}",
        "prompt_version": ",".join(f"{name}={value}" for name, value in prompt.items() if value is not None),
        "chat_template": f"sha256:{template[:12]}" if isinstance(template, str) else None,
    }
    return {name: convert.printable(value) for name, value in stated.items() if isinstance(value, str) and value}


def _sampler(document: Document, declared: Mapping[str, str], results: Any) -> dict[str, str]:
    requested = dig(results, "config.gen_kwargs")
    label = factors.sampler_label(factors.parsed_arguments(requested), document.sampler)
    return {} if label is None or document.sampler is None or "sampler" in declared else {"sampler": label}


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
