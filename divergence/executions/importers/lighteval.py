"""Details of lighteval: `details_<task>_<time>.parquet`, with `results_<time>.json` of the same run.

One row is one document; every metric of it is an outcome. Rows are shuffled and `doc.id` is the document's place in its
data set, written as text: the item is the task with that place. The score is the first metric for which higher is
better, or the one asked for; several samples of one document make one row, with their number in `score_n`.

The model, its settings and the means stand only in the results file, which repeats every task under `all`. lighteval
caches answers by model configuration, so that a second run of one configuration may be no second measurement. It logs
neither latency nor errors of single documents. Queries and prompts are not read.

Authority: `src/lighteval/logging/info_loggers.py` and `evaluation_tracker.py` of huggingface/lighteval, version 0.13.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from divergence.errors import InputError
from divergence.executions.importers import convert, factors, runs
from divergence.executions.importers.foreign_files import bare_suffix, read_json
from divergence.executions.importers.format import Format
from divergence.executions.importers.mapping import Draft, Field, Outcome, Place, dig
from divergence.executions.importers.runs import Run, list_of, mapping_of, text_of
from divergence.executions.schema import SERVING_FACTORS

STAMP = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}-\d{2}-\d{2}(?:\.\d+)?")
BATCH = 1024  # rows in memory at a time: a row holds whole prompts and answers
DAMAGED = (pa.ArrowException, OSError, ValueError, KeyError)  # what the reader raises on damaged files
DOCUMENT = ("id", "task_name", "choices", "gold_index")
RESPONSE = ("text", "text_post_processed", "input_tokens", "output_tokens", "logprobs")
SKIPPED = ("model_name", "cache_dir", "base_url", "provider", "api_key", "concurrent_requests", "generation_parameters")
TASK_SETTINGS = ("version", "hf_revision", "hf_filter", "generation_size", "stop_sequence", "evaluation_splits", "suite")

FIELDS = (
    Field("execution_id", "derived.execution_id", convert.text, "hash of the details file, with the document's id", True),
    Field("model", "run.model", convert.text, "model_name of the results file", True),
    Field("item", "derived.item", convert.text, "task and doc.id", True),
    Field("task", "doc.task_name", convert.text),
    Field("trial", "derived.trial", convert.count, "counts the runs of one item in one context, in the order read"),
    Field("score", "derived.score", float, "first metric for which higher is better, or the one asked for"),
    Field("score_n", "derived.score_n", convert.count, "samples of the document, where there are several"),
    Field("scorer", "derived.scorer", convert.text, "the metric"),
    Field("answer", "derived.answer", convert.label, "the text, or the likeliest choice"),
    Field("gold", "derived.gold", convert.label, "the right choice; empty where several are right"),
    Field("input_tokens", "derived.input_tokens", convert.count, "where the backend gives token ids"),
    Field("output_tokens", "derived.output_tokens", convert.count, "where the backend gives token ids"),
    *(Field(factor, f"factors.{factor}", convert.label) for factor in (*SERVING_FACTORS, "context", "wave")),
)

READS = (
    *(f"doc.{name}" for name in DOCUMENT),
    *(f"model_response.{name}" for name in RESPONSE),
    *("metric", "results.config_general", "results.config_tasks", "results.results", "results.versions"),
    *("results.summary_tasks", "results.summary_general"),
)
"""Fields read for `derived` and `factors`, and those that only repeat what is read."""

FORMAT = Format(
    name="lighteval",
    title="lighteval: `details_*.parquet` with `results_*.json`",
    versions="0.10 to 0.13",
    authority="`src/lighteval/logging/info_loggers.py` and `evaluation_tracker.py` of huggingface/lighteval",
    unit="one document",
    fields=FIELDS,
    reads=READS,
)


def recognises(path: Path, start: bytes) -> bool:
    """Is this a details or a results file, by its columns or its first bytes?"""
    if start[:4] == b"PAR1":
        try:
            return {"doc", "metric", "model_response"} <= set(pq.read_schema(path).names)
        except DAMAGED:
            return path.name.startswith("details_")
    return start.lstrip()[:1] == b"{" and b'"config_general"' in start[:200] and b'"lighteval_sha"' in start


def read(paths: list[Path], primary: str | None, draft: Draft) -> None:
    """Add the documents of every details file; `primary` names the metric of the score column.

    Raises InputError where no details file is given or beside, where the model is not known, and where no file has the
    metric asked for.
    """
    results = [path for path in paths if bare_suffix(path) == ".json"]
    details = [path for path in paths if path not in results] or [d for path in results for d in _details(path)]
    if not details:
        raise InputError(f"{paths[0]} holds averages only: lighteval writes details_*.parquet with --save-details.")
    seen: set[str] = set()
    trials = runs.Trials(draft)
    loaded: dict[Path, Any] = {}
    for path in details:
        draft.sources.append(path)
        beside = _results(path, results)
        if beside is not None and beside not in loaded:
            loaded[beside] = read_json(beside)
            draft.sources.append(beside)
        seen |= _read_details(path, loaded.get(beside) if beside else None, primary, trials, draft)
    if primary and seen and primary not in seen:
        raise InputError(f"No task of these logs has a metric {primary!r}: choose from {', '.join(sorted(seen))}.")


def _details(results: Path) -> list[Path]:
    """The details that the run of these results wrote: beside them, or in the tool's own folder `details`."""
    stamp = STAMP.search(results.name)
    folders = [results.parent, *(parent / "details" for parent in results.parents[1:3])]
    found = [p for folder in folders if folder.is_dir() for p in sorted(folder.rglob("details_*.parquet"))]
    return [path for path in dict.fromkeys(found) if stamp is None or stamp[0] in path.name]


def _results(details: Path, given: list[Path]) -> Path | None:
    """The results of the run that wrote these details: the same time in the name, else the only file there is."""
    stamp = STAMP.search(details.name)
    folders = [details.parent, *(parent / "results" for parent in details.parents[1:4])]
    beside = [p for folder in folders if folder.is_dir() for p in sorted(folder.glob("**/results_*.json"))]
    candidates = list(dict.fromkeys([*given, *beside]))
    same = [path for path in candidates if stamp and stamp[0] in path.name]
    return next(iter(same), candidates[0] if len(candidates) == 1 and not stamp else None)


def _run(path: Path, results: Any, task: str | None, draft: Draft) -> Run:
    general = mapping_of(dig(results, "config_general"))
    config = mapping_of(general.get("model_config"))
    model = text_of(config.get("model_name")) or text_of(general.get("model_name"))
    if model is None and "model" not in draft.constants:
        what = "does not name the model" if results else "comes without its results_*.json, which names the model"
        raise InputError(f"{path} {what}: add that file, or give --set model=NAME.")
    if not results:
        draft.note(f"{path.name} comes without its results_*.json: settings and means are not known.")
    of_task = mapping_of(mapping_of(dig(results, "config_tasks")).get(task or ""))
    shots = of_task.get("num_fewshots")
    parallel = config.get("concurrent_requests")
    stated = {
        **factors.serving_factors(config),
        "provider": config.get("provider"),
        "router": runs.host(config.get("base_url")),
        "sampler": factors.sampler_label(config.get("generation_parameters")),
        "prompt_version": f"shots={shots}" if isinstance(shots, int) else None,
        "concurrency": str(parallel) if isinstance(parallel, int) else None,
    }
    kept = {column: convert.printable(value) for column, value in stated.items() if isinstance(value, str) and value}
    settings = runs.flat(config, SKIPPED)
    others = mapping_of(config.get("generation_parameters"))
    settings |= runs.flat(others, factors.SAMPLER_NAMES, "generation_parameters.")
    settings |= {f"task.{k}": v for k, v in runs.flat({n: of_task.get(n) for n in TASK_SETTINGS}).items()}
    draft.run_settings(convert.printable(path), settings)
    return Run(convert.printable(path.name), model, kept, settings)


def _read_details(path: Path, results: Any, asked: str | None, trials: runs.Trials, draft: Draft) -> set[str]:
    rows = list(_rows(path, draft))
    tasks = {text_of(dig(row, "doc.task_name")) for _, row in rows}
    task = next(iter(tasks)) if len(tasks) == 1 else None
    run = _run(path, results, task, draft)
    metrics = list(dict.fromkeys(name for _, row in rows for name in mapping_of(row.get("metric"))))
    lower = _lower(mapping_of(mapping_of(dig(results, "config_tasks")).get(task or "")))
    primary = asked if asked in metrics else next((name for name in metrics if name not in lower), None)
    if asked and metrics and asked not in metrics:
        draft.note(f"{path.name} has no metric {asked}: its score is {primary}.")
    if lower:
        draft.note(f"{path.name}: lower is better for {', '.join(sorted(lower))}, kept in the outcomes only.")
    prefix = runs.file_identity(path)
    for number, row in rows:
        outcomes = [o for name, value in mapping_of(row.get("metric")).items() if (o := _outcome(name, value, draft))]
        derived = _derived(row, prefix, primary if primary not in lower else None, outcomes)
        derived["trial"] = trials.next(run, derived["item"])
        record = {"doc": row.get("doc"), "run": {"model": run.model}, "factors": run.factors, "derived": derived}
        draft.add(record, outcomes, Place(convert.printable(path), number))
    means = mapping_of(mapping_of(dig(results, "results")).get(task or ""))
    for name in metrics:
        draft.claim(convert.printable(name), means.get(name), {"file": convert.printable(path)})
    draft.watch("results", results)
    return set(metrics)


def _rows(path: Path, draft: Draft) -> Iterator[tuple[int, dict[str, Any]]]:
    """The rows of a details file, only the columns that are read."""
    number = 0
    try:
        with pq.ParquetFile(path) as file:
            schema = file.schema_arrow
            wanted = ["metric"]
            for part, names in (("doc", DOCUMENT), ("model_response", RESPONSE)):
                kind = schema.field(part).type
                if not pa.types.is_struct(kind):
                    raise InputError(f"{path} is no details file of lighteval: its column {part} holds no records.")
                own = [kind.field(place) for place in range(kind.num_fields)]
                wanted += [f"{part}.{field.name}" for field in own if field.name in names]
                unread = [field.name for field in own if field.name not in names and not pa.types.is_null(field.type)]
                draft.unmapped |= {f"{part}.{convert.printable(name)}" for name in unread}
            for batch in file.iter_batches(BATCH, columns=wanted):
                for row in batch.to_pylist():
                    number += 1
                    yield number, row
    except InputError:
        raise
    except DAMAGED as error:
        raise InputError(f"{path} cannot be read to its end: {' '.join(str(error).split())}.") from error


def _lower(of_task: Mapping[str, Any]) -> set[str]:
    """Metrics of a task for which lower is better."""
    return {
        name
        for metric in list_of(of_task.get("metrics"))
        if dig(metric, "higher_is_better") is False and isinstance(name := dig(metric, "metric_name"), str)
    }


def _outcome(name: str, value: Any, draft: Draft) -> Outcome | None:
    named = convert.printable(name)
    number = runs.finite(value, truth=True)
    if number is not None:
        return Outcome(named, number, None, None)
    if value is not None:
        draft.count(f"{named} gave a value that is no finite number, and is not carried over")
    return None


def _derived(row: dict[str, Any], prefix: str, primary: str | None, outcomes: list[Outcome]) -> dict[str, Any]:
    document, response = mapping_of(row.get("doc")), mapping_of(row.get("model_response"))
    identity, task = document.get("id"), text_of(document.get("task_name"))
    choices = list_of(document.get("choices"))
    texts = list_of(response.get("text_post_processed")) or list_of(response.get("text"))
    score = next((o for o in outcomes if o.metric == primary), None)
    return {
        "execution_id": f"{prefix}-{identity}" if identity is not None else None,
        "item": f"{task}/{identity}" if task and identity is not None else identity,
        "score": score.value if score else None,
        "score_n": len(texts) if len(texts) > 1 else None,
        "scorer": primary if score else None,
        "answer": _answer(texts, choices, list_of(response.get("logprobs"))),
        "gold": _gold(choices, document.get("gold_index")),
        "input_tokens": len(list_of(response.get("input_tokens"))) or None,
        "output_tokens": sum(len(list_of(sample)) for sample in list_of(response.get("output_tokens"))) or None,
    }


def _answer(texts: list[Any], choices: list[Any], logprobs: list[Any]) -> Any:
    numbers = [number for value in logprobs if (number := runs.finite(value)) is not None]
    if len(texts) == 1:
        return texts[0]
    likely = not texts and len(numbers) == len(choices) == len(logprobs) > 1
    return choices[numbers.index(max(numbers))] if likely else None


def _gold(choices: list[Any], index: Any) -> Any:
    places = index if isinstance(index, list) else [index]
    single = len(places) == 1 and isinstance(places[0], int) and 0 <= places[0] < len(choices)
    return choices[places[0]] if single else None
