"""Logs of Inspect (`inspect_ai`): `.eval` archives and `.json` files, log versions 1 and 2.

One row is one sample in one epoch. `FIELDS` is the mapping; what it takes from `derived` is worked out in
`inspect_samples`, and `READS` names the foreign fields behind that. Samples are read one at a time from archives; those
that an interrupted archive holds only as summaries are read from the summaries.

Authority: `src/inspect_ai/log/_log.py` and `src/inspect_ai/scorer/_metric.py` of UKGovernmentBEIS/inspect_ai, log
version 2. Tokens, cost and calls are those of the model under test: what a scorer's judge spent is taken out. The
model's name is kept as Inspect writes it, with the provider in front.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from divergence.errors import InputError
from divergence.executions.importers import convert, factors, inspect_samples
from divergence.executions.importers.foreign_files import Archive, read_json
from divergence.executions.importers.format import Format
from divergence.executions.importers.mapping import Draft, Field, Outcome, Place, dig
from divergence.executions.schema import SERVING_FACTORS

VERSIONS = (1, 2)  # log versions whose fields are known here
SAMPLE_MEMBER = re.compile(r"samples/.+_epoch_\d+(/sample)?\.json")
SUMMARY_MEMBER = re.compile(r"summaries\.json|_journal/summaries/\d+\.json")
HEADER_MEMBERS = ("header.json", "_journal/start.json")  # the second is all that an interrupted run has

FIELDS = (
    Field("execution_id", "derived.execution_id", convert.text, "the uuid, else a hash of run and sample", True),
    Field("model", "eval.model", convert.text, "with the provider in front, as Inspect names it", True),
    Field("item", "derived.item", convert.text, "the sample's id; a bare number gets the task's name before it", True),
    Field("task", "eval.task", convert.text),
    Field("trial", "sample.epoch", convert.count),
    Field("score", "derived.score", float, "C, I, P, N are 1, 0, 0.5, 0; NaN and other words are not judged"),
    Field("scorer", "derived.scorer", convert.text, "the first scorer, or the one asked for"),
    Field("answer", "derived.answer", convert.label, "of the primary scorer; over 200 characters its hash"),
    Field("gold", "sample.target", convert.only_label, "empty where several answers are right"),
    Field("time", "sample.started_at", convert.moment),
    Field("time", "derived.first_event", convert.moment, "logs before 2025-10 have no started_at"),
    Field("time", "sample.completed_at", convert.moment),
    Field("time", "eval.created", convert.moment, "the run's start, where the sample has no time of its own"),
    Field("input_tokens", "derived.usage.input_tokens", convert.count, "cached ones included, judges excluded"),
    Field("output_tokens", "derived.usage.output_tokens", convert.count),
    Field("cached_tokens", "derived.usage.input_tokens_cache_read", convert.count),
    Field("reasoning_tokens", "derived.usage.reasoning_tokens", convert.count),
    Field("cost_usd", "derived.usage.total_cost", convert.amount),
    Field("retries", "derived.retries", convert.count, "of model calls"),
    Field("attempts", "derived.attempts", convert.count, "at the sample, its retries after errors included"),
    Field("calls", "derived.calls", convert.count, "to models, judges excluded"),
    Field("tool_calls", "derived.tool_calls", convert.count),
    Field("latency_s", "sample.total_time", convert.amount, "of the whole sample: tools, waiting and scoring included"),
    Field("error_type", "derived.error_type", convert.label, "class of the exception, or limit:kind"),
    Field("finish_reason", "derived.finish_reason", convert.label),
    *(Field(factor, f"factors.{factor}", convert.label) for factor in (*SERVING_FACTORS, "context", "wave")),
)

READS = (
    *("log.version", "log.status", "eval.run_id", "eval.task_id", "eval.scorers", "eval.solver"),
    *("eval.model_base_url", "eval.tags", "log.tags", "log.results", "eval.config.epochs", "eval.dataset.sample_ids"),
    *(f"sample.{name}" for name in ("id", "uuid", "events", "messages", "model_usage", "role_usage", "error", "limit")),
    *(f"sample.{name}" for name in ("error_retries", "retries", "invalidation", "completed")),
    *(f"sample.scores.*.{name}" for name in ("value", "answer")),
    *("sample.score.value", "sample.score.answer", "sample.output.usage", "sample.output.choices"),
    *factors.factor_paths("eval.metadata", "log.metadata", "eval.model_args", "eval.task_args"),
    *(f"{config}.{name}" for config in ("plan.config", "eval.model_generate_config") for name in factors.SAMPLER_NAMES),
    *("plan.config.max_connections", "eval.model_generate_config.max_connections"),
)
"""Fields read for `derived` and `factors`, and those that only repeat what is read."""

FORMAT = Format(
    name="inspect",
    title="Inspect (`inspect_ai`): `.eval` archives and `.json` logs",
    versions="log versions 1 and 2",
    authority="`src/inspect_ai/log/_log.py` and `scorer/_metric.py` of UKGovernmentBEIS/inspect_ai",
    unit="one sample in one epoch",
    fields=FIELDS,
    reads=READS,
)

KEPT = tuple(field.path.removeprefix("sample.") for field in FIELDS if field.path.startswith("sample."))
"""The fields of a sample that stay in memory until its whole log is read."""


@dataclasses.dataclass(frozen=True)
class Loaded:
    """One sample of a log."""

    row: int
    """Position in the log, from 1."""
    sample: Mapping[str, Any] | None
    """The foreign record; None where it is damaged."""
    problem: str = ""
    """What is wrong with a damaged one, as a sentence."""
    summary: bool = False
    """Is it a summary, with long texts cut?"""


def recognises(path: Path, start: bytes) -> bool:
    """Is this a log of Inspect, by its name and its first bytes?"""
    if path.suffix == ".eval":
        return True
    if start[:2] == b"PK":
        return b"_journal/" in start or b"header.json" in start
    return start.lstrip()[:1] == b"{" and re.search(rb'"eval"\s*:\s*\{', start) is not None and b'"status"' in start


def read(paths: list[Path], primary: str | None, draft: Draft) -> None:
    """Add the samples of every log to the draft; `primary` names the scorer or metric of the score column.

    Raises InputError where a file is no log of Inspect, or where no log has the primary scorer asked for.
    """
    seen: dict[str, None] = {}
    for path in paths:
        draft.sources.append(path)
        with path.open("rb") as file:
            archive = path.suffix == ".eval" or file.read(2) == b"PK"
        _read_log(path, _archive(path) if archive else _json(path), primary, draft, seen)
    if primary and seen and primary not in seen:
        raise InputError(f"No scorer of these logs is named {primary!r}: choose from {', '.join(seen)}.")


def _read_log(path: Path, log: Iterator[Any], asked: str | None, draft: Draft, seen: dict[str, None]) -> None:
    header = next(log)
    run = _run(path, header, draft)
    read: list[tuple[Place, dict[str, Any], list[Outcome]]] = []
    rows, summaries = 0, 0
    for loaded in log:
        rows += 1
        summaries += loaded.summary
        place = Place(convert.printable(path), loaded.row)
        if loaded.sample is None:
            draft.reject(place, "record_readable", loaded.problem)
            continue
        draft.watch("sample", loaded.sample)
        if loaded.sample.get("invalidation"):
            draft.reject(place, "sample_valid", "The sample was marked as invalid in Inspect.")
            continue
        outcomes = inspect_samples.outcomes(loaded.sample, header, draft)
        kept = {name: loaded.sample.get(name) for name in KEPT}
        derived = inspect_samples.derived(loaded.sample, header, loaded.summary)
        read.append((place, {**run, "sample": kept, "derived": derived}, outcomes))
    primary = inspect_samples.primary_metric([outcomes for *_, outcomes in read], header, asked)
    for place, record, outcomes in read:
        record["derived"].update(inspect_samples.judgement(outcomes, record["derived"]["answers"], primary))
        if record["derived"]["infinite"]:
            draft.reject(place, "score_finite", "The primary score is infinite.")
        else:
            draft.add(record, outcomes, place)
    names = {name: None for *_, outcomes in read for o in outcomes for name in (o.scorer, o.metric) if name}
    seen.update(names)
    if asked and names and asked not in names:
        draft.note(f"{path.name} has no scorer {asked}: its score is that of {primary}.")
    _report(path, header, draft, rows, summaries)
    for part in ("eval", "plan", "log"):
        draft.watch(part, run[part])


def _run(path: Path, header: Mapping[str, Any], draft: Draft) -> dict[str, Any]:
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
    log = {name: header.get(name) for name in ("version", "status", "tags", "metadata", "results", "error")}
    return {"eval": specification, "plan": header.get("plan"), "log": log, "factors": found}


def _report(path: Path, header: Mapping[str, Any], draft: Draft, rows: int, summaries: int) -> None:
    status, version = header.get("status") or "started", header.get("version")
    if not rows:
        draft.note(f"{path.name} holds a header and no samples, as under --no-log-samples: no rows come from it.")
    elif status != "success":
        expected = dig(header, "results.total_samples")
        of = f" of {expected}" if isinstance(expected, int) else ""
        draft.note(f"{path.name} is of a run whose status is {convert.shown(status)}: {rows}{of} samples are in it.")
    if summaries:
        draft.note(f"{path.name} holds {summaries} samples as summaries only: their messages and events are not in it.")
    if version not in VERSIONS:
        draft.note(f"{path.name} has log version {convert.shown(version)}; versions 1 and 2 are known here.")


def _header(path: Path, header: Any) -> Mapping[str, Any]:
    if not isinstance(header, dict) or not isinstance(header.get("eval"), dict):
        raise InputError(f"{path} is not a log of Inspect: it has no `eval` section with the model and the task.")
    return header


def _json(path: Path) -> Iterator[Any]:
    log = _header(path, read_json(path))
    yield log
    samples = log.get("samples")
    if samples is not None and not isinstance(samples, list):
        raise InputError(f"{path} is not a log of Inspect: `samples` is not a list.")
    for row, sample in enumerate(samples or [], start=1):
        whole = isinstance(sample, dict)
        yield Loaded(row, sample if whole else None, "" if whole else f"Sample {row} is not an object.")


def _archive(path: Path) -> Iterator[Any]:
    archive = Archive(path)
    try:
        present = [name for name in HEADER_MEMBERS if name in archive.names]
        if not present:
            raise InputError(f"{path} is a ZIP archive, but no log of Inspect: it has no {HEADER_MEMBERS[0]}.")
        try:
            yield _header(path, archive.member(present[0]))
        except ValueError as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"{present[0]} in {path} {error}.") from error
        known = set()
        for row, name in enumerate(filter(SAMPLE_MEMBER.fullmatch, archive.names), start=1):
            loaded = _member(archive, row, name)
            known.add(_member_name(loaded.sample) if loaded.sample else re.sub(r"(/sample)?\.json$", "", name))
            yield loaded
        yield from _summaries(archive, known)
    finally:
        archive.close()


def _member(archive: Archive, row: int, name: str) -> Loaded:
    try:
        sample = archive.member(name)
    except ValueError as error:
        return Loaded(row, None, f"{convert.printable(name)} {convert.printable(error)}.")
    whole = isinstance(sample, dict)
    return Loaded(row, sample if whole else None, "" if whole else f"{convert.printable(name)} is not an object.")


def _summaries(archive: Archive, known: set[str]) -> Iterator[Loaded]:
    """Samples that stand in the summaries only, as where a run was cut off before it wrote them out."""
    row = len(known)
    for name in sorted((n for n in archive.names if SUMMARY_MEMBER.fullmatch(n)), reverse=True):
        try:
            summaries = archive.member(name)
        except ValueError:
            continue  # summaries repeat what the samples say; those that are missing are counted in the notes
        for summary in summaries if isinstance(summaries, list) else []:
            if isinstance(summary, dict) and _member_name(summary) not in known:
                known.add(_member_name(summary))
                row += 1
                yield Loaded(row, summary, summary=True)


def _member_name(sample: Mapping[str, Any]) -> str:
    return f"samples/{sample.get('id')}_epoch_{sample.get('epoch')}"
