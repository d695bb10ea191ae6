"""Every Eval Ever, the exchange schema: `UUID_samples.jsonl` of instances, with the aggregate `UUID.json` beside it.

One row is one sample in one epoch. A file of instances mixes the metrics of an evaluation, one line each: lines of one
sample and epoch are one row, and every metric (`evaluation_result_id`) is an outcome of it. The score is the first metric
of the aggregate for which higher is better, or the one asked for.

The item follows the tool that made the rows, so that one item keeps its name: lm-eval's `doc_hash`, and a bare number, get
the data set before them. `is_correct` is not read: it may be false for a fraction. A line with an
`error` has no score, since the schema makes converters write one. Texts of inputs and messages are not read.

Authority: `every_eval_ever/schemas/eval.schema.json` and `instance_level_eval.schema.json` of evaleval/every_eval_ever,
schema 0.3.0. `divergence export --format every-eval-ever` writes it; what it writes is read back the same.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from divergence.errors import InputError
from divergence.executions.importers import convert, factors, runs
from divergence.executions.importers.foreign_files import bare_suffix, head, parsed, read_json, read_lines, sha256
from divergence.executions.importers.format import Format
from divergence.executions.importers.lm_eval_documents import HASH_DIGITS
from divergence.executions.importers.mapping import Draft, Field, Outcome, Place, dig
from divergence.executions.importers.runs import Run, list_of, mapping_of, text_of
from divergence.executions.quoted import quoted
from divergence.executions.schema import SERVING_FACTORS

VERSIONS = ("0.3.0",)
EXCEPTION = re.compile(r"^(?:[A-Za-z_]\w*\.)*([A-Za-z_]\w*(?:Error|Exception|Timeout|Refusal))\b")
MARK = "divergence."  # before the names under which our own export keeps canonical columns in the free-form fields
TOLD = ("execution_command", "temperature", "top_p", "top_k", "max_tokens")


def milliseconds(value: Any) -> float:
    """Milliseconds as seconds."""
    return convert.amount(value) / 1e3


def seconds_written(value: Any) -> Any:
    """Seconds since 1970, written as text; or ISO 8601."""
    number = convert.finite_number(value) if isinstance(value, str) else None
    return convert.moment(value if number is None else number)


def dollars_written(value: Any) -> float:
    """Dollars, written as text."""
    return convert.amount(convert.finite_number(value) if isinstance(value, str) else value)


LEVELS = (*SERVING_FACTORS, "context", "wave")
"""Columns of how an execution was served, of the run or of its own."""

FIELDS = (
    Field("execution_id", "derived.execution_id", convert.text, "hash of the file, with sample and epoch", True),
    Field("regime", "sample.metadata.divergence.regime", convert.text, "of our own export"),
    Field("model", "sample.model_id", convert.text, "", True),
    Field("item", "derived.item", convert.text, "as the tool that made the rows names it", True),
    Field("task", "derived.task", convert.text, "the data set, else the name of the evaluation"),
    Field("trial", "derived.trial", convert.count, "metadata.epoch, else counted in the order read"),
    Field("score", "derived.score", float, "first metric for which higher is better, or the one asked for"),
    Field("scorer", "derived.scorer", convert.text, "evaluation_result_id"),
    Field("answer", "derived.answer", convert.label, "the attributed answer, else the output"),
    Field("gold", "sample.input.reference", convert.only_label, "empty where several are right"),
    Field("session", "sample.metadata.divergence.session", convert.text, "of our own export"),
    Field("cost_usd", "sample.metadata.divergence.cost_usd", dollars_written, "of our own export"),
    Field("time", "sample.metadata.divergence.time", convert.moment, "of our own export"),
    Field("time", "run.evaluation_timestamp", seconds_written, "start of the evaluation"),
    Field("input_tokens", "sample.token_usage.input_tokens", convert.count),
    Field("output_tokens", "sample.token_usage.output_tokens", convert.count),
    Field("cached_tokens", "sample.token_usage.input_tokens_cache_read", convert.count),
    Field("reasoning_tokens", "sample.token_usage.reasoning_tokens", convert.count),
    Field("tool_calls", "sample.evaluation.tool_calls_count", convert.count),
    Field("latency_s", "sample.performance.latency_ms", milliseconds, "rounded by some converters", unit="ms"),
    Field("ttft_s", "sample.performance.time_to_first_token_ms", milliseconds, unit="ms"),
    Field("error_type", "derived.error_type", convert.label, "class of the exception, else error"),
    Field("finish_reason", "sample.metadata.stop_reason", convert.label),
    *(Field(factor, f"factors.{factor}", convert.label) for factor in LEVELS),
)

READS = (
    *(f"sample.{name}" for name in ("schema_version", "evaluation_id", "evaluation_name", "evaluation_result_id")),
    *("sample.sample_id", "sample.sample_hash", "sample.interaction_type", "sample.answer_attribution", "sample.error"),
    *("sample.output.raw", "sample.evaluation.score", "sample.evaluation.is_correct", "sample.metadata.epoch"),
    *("sample.metadata.doc_hash", "sample.metadata.divergence", "sample.token_usage.total_tokens"),
    *("run.schema_version", "run.evaluation_id", "run.retrieved_timestamp", "run.model_info", "run.eval_library"),
    *("run.evaluation_results", "run.detailed_evaluation_results"),
)
"""Fields read for `derived` and `factors`, and those that only repeat what is read."""

FORMAT = Format(
    name="every-eval-ever",
    title="Every Eval Ever: instances (`*_samples.jsonl`) with their aggregate; also written by `divergence export`",
    versions="schema 0.3.0",
    authority="`every_eval_ever/schemas/*.schema.json` of evaleval/every_eval_ever",
    unit="one sample in one epoch",
    fields=FIELDS,
    reads=READS,
    rank=40,
)


@dataclasses.dataclass
class SampleLines:
    """The lines of one sample in one epoch."""

    row: int
    """Line of the first."""
    record: dict[str, Any]
    """The first line."""
    outcomes: dict[str, Outcome]
    """Metric -> its judgement."""
    error: bool
    """Does a line name an error?"""
    own: Mapping[str, str]
    """What our own export kept in the metadata of the first line; empty in files of others."""


def kind(start: bytes) -> str | None:
    """`instances` or `aggregate`, by the first bytes; None for files of other tools."""
    own = b'"schema_version"' in start and b'"evaluation_id"' in start and b'"$schema"' not in start[:200]
    if start.lstrip()[:1] != b"{" or not own:
        return None
    if b'"sample_id"' in start and b'"interaction_type"' in start:
        return "instances"
    return "aggregate" if b'"source_metadata"' in start and b'"retrieved_timestamp"' in start else None


def recognises(path: Path, start: bytes) -> bool:  # noqa: ARG001
    """Is this a file of instances or an aggregate, by its first bytes?"""
    return kind(start) is not None


def read(paths: list[Path], primary: str | None, draft: Draft) -> None:
    """Add the samples of every evaluation; `primary` names the metric of the score column.

    Raises InputError where only aggregates are given, and where no evaluation has the metric asked for.
    """
    kinds = {path: kind(head(path)) for path in paths}
    given = [path for path, name in kinds.items() if name == "aggregate"]
    instances = [path for path in paths if path not in given]
    for path in given:
        beside = [p for p in sorted(path.parent.glob(f"{path.stem.split('.')[0]}_samples.jsonl*")) if p not in instances]
        instances += beside
    if not instances:
        raise InputError(
            f"{paths[0]} holds averages only: Every Eval Ever keeps the single samples in UUID_samples.jsonl beside it."
        )
    seen: set[str] = set()
    trials = runs.Trials(draft)
    used: set[Path] = set()
    for path in instances:
        draft.sources.append(path)
        beside = _aggregate(path, given)
        if beside is not None:
            used.add(beside)
            draft.sources.append(beside)
        log = read_json(beside) if beside is not None else None
        seen |= _read_instances(path, log if isinstance(log, dict) else {}, primary, trials, draft)
    alone = len([path for path in given if path not in used])
    if alone:
        draft.note(f"{alone} evaluations are averages only, without their samples: no rows come from them.")
    if primary and seen and primary not in seen:
        raise InputError(f"No evaluation has a metric {primary!r}: choose from {', '.join(sorted(seen))}.")


def _aggregate(instances: Path, given: list[Path]) -> Path | None:
    """The aggregate of a file of instances: the same name without its end."""
    stem = instances.name.split("_samples.jsonl")[0]
    same = [path for path in given if path.parent == instances.parent and path.name.split(".json")[0] == stem]
    beside = [instances.parent / f"{stem}.json{end}" for end in ("", ".gz", ".zst")]
    return next(iter(same), next((path for path in beside if path.is_file() and path != instances), None))


def _read_instances(path: Path, log: dict[str, Any], asked: str | None, trials: runs.Trials, draft: Draft) -> set[str]:
    samples = _samples(path, draft)
    results = [mapping_of(result) for result in list_of(log.get("evaluation_results"))]
    named = {_metric(result): result for result in results}
    lower = {name for name, result in named.items() if dig(result, "metric_config.lower_is_better") is True}
    found = list(dict.fromkeys(metric for sample in samples for metric in sample.outcomes))
    order = [name for name in named if name in found] + [name for name in found if name not in named]
    primary = asked if asked in found else next((name for name in order if name not in lower), None)
    if asked and found and asked not in found:
        draft.note(f"{path.name} has no metric {asked}: its score is {primary}.")
    if lower & set(found):
        draft.note(f"{path.name}: lower is better for {', '.join(sorted(lower & set(found)))}, kept in the outcomes only.")
    run = _run(path, log, named.get(primary or "", results[0] if results else {}), draft)
    prefix = runs.file_identity(path)
    errors, file = [], convert.printable(path)
    shared = draft.shared({"run": log, "factors": run.factors})
    for sample in samples:
        derived = _derived(sample, primary if primary not in lower else None, prefix, named)
        epoch = _epoch(sample.record)
        derived["trial"] = trials.next(run, derived["item"]) if epoch is None else epoch
        errors.append(derived["error_type"])
        outcomes = [] if sample.error else list(sample.outcomes.values())
        own = sample.own
        levels = {**run.factors, **{name: own[name] for name in LEVELS if name in own}} if own else run.factors
        record = {"sample": _with_own(sample.record, own), "run": log, "factors": levels, "derived": derived}
        draft.add(record, outcomes, Place(file, sample.row), None if own else shared)
    runs.failures(draft, path.name, errors, len(samples), "A score beside an error is the schema's, and is not read.")
    for name, result in named.items():
        draft.claim(convert.printable(name), dig(result, "score_details.score"), {"file": convert.printable(path)})
    _check(path, log, draft)
    return set(found)


def _samples(path: Path, draft: Draft) -> list[SampleLines]:
    samples: dict[Any, SampleLines] = {}
    again: dict[Any, int] = {}
    lines, file = 0, convert.printable(path)
    for number, line in read_lines(path):
        lines += 1
        place = Place(file, number)
        try:
            record = parsed(line)
        except ValueError as error:
            draft.reject(place, "record_readable", f"The line {convert.printable(error)}.")
            continue
        if not isinstance(record, dict) or not isinstance(record.get("sample_id"), str):
            draft.reject(place, "record_is_instance", "The line has no sample_id.")
            continue
        score = runs.finite(mapping_of(record.get("evaluation")).get("score"))
        if score is None:
            seen = quoted(dig(record, "evaluation.score"))
            draft.reject(place, "score_finite", f"evaluation.score is not a finite number: {seen}.")
            continue
        own = _own(record)
        draft.watch("sample", _with_own(record, own))
        metric = convert.printable(record.get("evaluation_result_id") or record.get("evaluation_name"))
        base = (
            repr(record.get("evaluation_id")),
            record["sample_id"],
            repr(mapping_of(record.get("metadata")).get("epoch")),
        )
        times = again[(*base, metric)] = again.get((*base, metric), 0) + 1  # without an epoch a repetition is a line again
        sample = samples.setdefault((*base, times), SampleLines(number, record, {}, False, own))
        sample.outcomes[metric] = Outcome(metric, score, None, None)
        sample.error |= (
            bool(record.get("error")) and own.get("judged") != "true"
        )  # our export says so of a score that counts
    if not lines:
        raise InputError(f"{path} is empty: Every Eval Ever writes one line for each sample and metric.")
    return list(samples.values())


def _metric(result: Mapping[str, Any]) -> str:
    return convert.printable(result.get("evaluation_result_id") or result.get("evaluation_name"))


def _run(path: Path, log: dict[str, Any], result: Mapping[str, Any], draft: Draft) -> Run:
    if not log:
        draft.note(f"{path.name} comes without its aggregate: engine, platform and settings are not known.")
    info = mapping_of(log.get("model_info"))
    generation = mapping_of(dig(result, "generation_config.generation_args"))
    further = mapping_of(dig(result, "generation_config.additional_details"))
    details = mapping_of(info.get("additional_details"))
    stated = {
        **factors.serving_factors(further, details),
        "engine": dig(info, "inference_engine.name"),
        "engine_version": dig(info, "inference_engine.version"),
        "provider": info.get("inference_platform"),
        "sampler": factors.sampler_label(further, generation),
    }
    unknown = (None, "", "unknown")
    kept = {column: convert.printable(value) for column, value in stated.items() if value not in unknown}
    settings = runs.flat(generation, (*TOLD, "sandbox")) | runs.flat(further, factors.SAMPLER_NAMES, "generation.")
    settings |= runs.flat(details, prefix="model.")
    library = mapping_of(log.get("eval_library"))
    settings |= {f"library.{name}": str(library[name]) for name in ("name", "version") if text_of(library.get(name))}
    draft.run_settings(convert.printable(path), {n: v for n, v in settings.items() if not n.startswith(f"model.{MARK}")})
    draft.watch("run", log)
    return Run(path.name, text_of(info.get("id")), kept, settings)


def _derived(
    sample: SampleLines, primary: str | None, prefix: str, named: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    record, own = sample.record, sample.own
    result = named.get(next(iter(sample.outcomes), ""), {})
    dataset = mapping_of(result.get("source_data")).get("dataset_name")
    task = own.get("task") or text_of(dataset) or text_of(record.get("evaluation_name"))
    score = sample.outcomes.get(primary or "") if not sample.error else None
    epoch = mapping_of(record.get("metadata")).get("epoch")
    identity = f"{prefix}-{sample.row}-{record['sample_id']}" + (f"-{epoch}" if isinstance(epoch, str) else "")
    return {
        "execution_id": own.get("execution_id") or convert.printable(identity),
        "item": convert.printable(_item(record, task)),
        "task": convert.printable(task) if task else None,
        "score": score.value if score else None,
        "scorer": (own.get("scorer") or primary) if score else None,
        "answer": _answer(record),
        "error_type": _error(record["error"], own) if record.get("error") else None,
    }


def _item(record: Mapping[str, Any], task: str | None) -> str:
    identity, digest = record["sample_id"], text_of(mapping_of(record.get("metadata")).get("doc_hash"))
    if not task or not (digest or identity.isdecimal()):
        return identity
    return f"{task}/{digest[:HASH_DIGITS] if digest else identity}"


def _epoch(record: Mapping[str, Any]) -> int | None:
    epoch = mapping_of(record.get("metadata")).get("epoch")
    return int(epoch) if isinstance(epoch, str) and epoch.isdecimal() and len(epoch) < 10 else None


def _answer(record: Mapping[str, Any]) -> Any:
    given = list_of(record.get("answer_attribution"))
    attributed = [a for a in given if isinstance(a, dict) and a.get("is_terminal") is True]
    outputs = () if attributed else list_of(mapping_of(record.get("output")).get("raw"))
    value = attributed[-1].get("extracted_value") if attributed else outputs[0] if len(outputs) == 1 else None
    return value if isinstance(value, str) else None


def _error(error: Any, own: Mapping[str, str]) -> str:
    if own and isinstance(error, str):
        return error  # of our own export: a short name already
    named = EXCEPTION.match(error.strip()) if isinstance(error, str) else None
    return named[1] if named else "error"


def _own(record: Mapping[str, Any]) -> dict[str, str]:
    """Canonical columns that our own export kept in the free-form metadata."""
    metadata = mapping_of(record.get("metadata"))
    marked = [name for name in metadata if name.startswith(MARK)]
    return {name.removeprefix(MARK): metadata[name] for name in marked if text_of(metadata[name])}


def _with_own(record: dict[str, Any], own: Mapping[str, str]) -> dict[str, Any]:
    if not own:
        return record
    metadata = {name: value for name, value in record["metadata"].items() if not name.startswith(MARK)}
    return {**record, "metadata": {**metadata, "divergence": dict(own)}}


def _check(path: Path, log: Mapping[str, Any], draft: Draft) -> None:
    """Does the aggregate speak of this very file, and in a version that is known here?"""
    if not log:
        return
    version = log.get("schema_version")
    if version not in VERSIONS:
        draft.note(f"{path.name} has schema {convert.named(version)}; {', '.join(VERSIONS)} is known here.")
    details = mapping_of(log.get("detailed_evaluation_results"))
    checksum = details.get("checksum")
    plain = bare_suffix(path) == path.suffix
    if plain and details.get("hash_algorithm") == "sha256" and isinstance(checksum, str) and checksum != sha256(path):
        draft.note(f"{path.name} is not the file that its aggregate names: the checksum differs.")
