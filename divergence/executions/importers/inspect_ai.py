"""Logs of Inspect (`inspect_ai`): `.eval` archives and `.json` files, log versions 1 and 2.

One row is one sample in one epoch; a sample that a retry of its task took over counts once. `FIELDS` is the mapping;
what it takes from `derived` is worked out in `inspect_samples`, and `READS` names the foreign fields behind that.
`inspect_log` opens the files, and `inspect_run` reads what a log says about all its samples.

Authority: `src/inspect_ai/log/_log.py` and `src/inspect_ai/scorer/_metric.py` of UKGovernmentBEIS/inspect_ai, log
version 2. Tokens, cost and calls are those of the model under test: what a scorer's judge spent is taken out. The
model's name is kept as Inspect writes it, with the provider in front.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from divergence.errors import InputError
from divergence.executions.importers import convert, factors, inspect_log, inspect_run, inspect_samples
from divergence.executions.importers.format import Format
from divergence.executions.importers.groups import Group, cut
from divergence.executions.importers.mapping import Draft, Field, Outcome, Place, dig
from divergence.executions.importers.privacy import Privacy
from divergence.executions.importers.prompt_texts import prompt_text
from divergence.executions.schema import SERVING_FACTORS

FIRST_KEY = re.compile(rb'\s*\{\s*"(version|status|eval|plan|invalidated|tags|metadata|log_updates)"\s*:')
"""What a log begins with; the `logs.json` of an eval set begins with the name of a log."""
ATTACHMENT = "attachment://"  # how a log refers to a long text that it keeps once
WATCHED = 50  # samples of a log whose names are looked at one by one; later ones only where they have other names

FIELDS = (
    Field("execution_id", "derived.execution_id", convert.text, "the uuid, else a hash of run and sample", True),
    Field("model", "eval.model", convert.text, "with the provider in front, as Inspect names it", True),
    Field("item", "derived.item", convert.text, "the sample's id; a bare number gets the task's name before it", True),
    Field("task", "eval.task", convert.text),
    Field("trial", "sample.epoch", convert.count),
    Field("score", "derived.score", float, "C, I, P, N are 1, 0, 0.5, 0; NaN and other words are not judged"),
    Field("scorer", "derived.scorer", convert.text, "the first scorer, or the one asked for"),
    Field("answer", "derived.answer", convert.verbatim, "of the primary scorer"),
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
    *("plan.config.max_connections", "eval.model_generate_config.max_connections", "eval.task_version"),
    *(f"eval.{name}" for name in ("eval_id", "eval_set_id")),
    *(f"eval.config.{name}" for name in (*inspect_run.LIMITS, "limit", "fail_on_error")),
    *("eval.packages", "eval.revision", "sample.token_limit", "sample.token_limit_type", "sample.events_data"),
)
"""Fields read for `derived` and `factors`, and those that only repeat what is read."""


def by_task(files: Sequence[Path], _privacy: Privacy) -> list[Group]:
    """The tries of a task are a group, since they share samples."""
    return cut(files, lambda file: inspect_log.tries(file).task_id or str(file))


FORMAT = Format(
    name="inspect",
    title="Inspect (`inspect_ai`): `.eval` archives and `.json` logs",
    versions="log versions 1 and 2",
    authority="`src/inspect_ai/log/_log.py` and `scorer/_metric.py` of UKGovernmentBEIS/inspect_ai",
    unit="one sample in one epoch",
    fields=FIELDS,
    reads=READS,
    notes=(
        "Tries of one task (`task_id`) share samples: the newest try has them, and each counts once.",
        "C, I, P and N are Inspect's own grades; where a scorer gives other letters too, its letters are labels, no scores.",
    ),
    apart=by_task,
)

KEPT = tuple(field.path.removeprefix("sample.") for field in FIELDS if field.path.startswith("sample."))
"""The fields of a sample that stay in memory until its whole log is read."""


def recognises(path: Path, start: bytes) -> bool:
    """Is this a log of Inspect, by its name and its first bytes? (The list of logs of an eval set is none.)"""
    if path.suffix == ".eval":
        return True
    if start[:2] == b"PK":
        return b"_journal/" in start or b"header.json" in start
    return FIRST_KEY.match(start) is not None and re.search(rb'"eval"\s*:\s*\{', start) is not None and b'"status"' in start


def read(paths: list[Path], primary: str | None, draft: Draft) -> None:
    """Add the samples of every log to the draft; `primary` names the scorer or metric of the score column.

    Tries of one task are read from the newest to the oldest, and a sample counts once. Raises InputError where a file
    is no log of Inspect, or where no log has the primary scorer asked for.
    """
    seen: dict[str, None] = {}
    known = {path: inspect_log.tries(path) for path in paths}
    newest = sorted(paths, key=lambda path: known[path].created, reverse=True)
    tasks = dict.fromkeys(known[path].task_id or str(path) for path in paths)
    groups = {task: [path for path in newest if (known[path].task_id or str(path)) == task] for task in tasks}
    for group in groups.values():
        taken: set[tuple[Any, ...]] = set()
        for path in group:
            draft.sources.append(path)
            _read_log(path, primary, draft, seen, taken if len(group) > 1 else None)
    if primary and seen and primary not in seen:
        raise InputError(f"No scorer of these logs is named {primary!r}: choose from {', '.join(seen)}.")


def _read_log(
    path: Path, asked: str | None, draft: Draft, seen: dict[str, None], taken: set[tuple[Any, ...]] | None
) -> None:
    log = inspect_log.opened(path)
    header = next(log)
    run = inspect_run.declared(path, header, draft)
    shared = draft.shared(run)
    read: list[tuple[Place, dict[str, Any], list[Outcome]]] = []
    rows, summaries, again, watched = 0, 0, 0, set()
    for loaded in log:
        rows += 1
        summaries += loaded.summary
        place = Place(convert.printable(path), loaded.row)
        sample = loaded.sample
        if sample is None:
            draft.reject(place, "record_readable", loaded.problem)
            continue
        if rows <= WATCHED or tuple(sample) not in watched:
            watched.add(tuple(sample))
            draft.watch("sample", sample)
        if sample.get("invalidation"):
            draft.reject(place, "sample_valid", "The sample was marked as invalid in Inspect.")
            continue
        if taken is not None:
            identity = (run["eval"].get("model"), repr(sample.get("id")), repr(sample.get("epoch")))
            again += identity in taken
            if identity in taken:
                continue
            taken.add(identity)
        outcomes = inspect_samples.outcomes(sample, header, draft)
        kept = {name: sample.get(name) for name in KEPT}
        derived = inspect_samples.derived(sample, header, loaded.summary)
        if draft.privacy.wants_texts and not loaded.summary:
            derived["item"] = _with_texts(sample, derived, draft)
        read.append((place, {**run, "sample": kept, "derived": derived}, outcomes))
    if again:
        draft.note(f"{path.name} is an earlier try: {again} of its {rows} samples are in a later one too, and count once.")
    else:
        inspect_run.claim(path, header, draft)
    inspect_samples.without_grades([outcomes for *_, outcomes in read], path.name, draft)
    primary = inspect_samples.primary_metric([outcomes for *_, outcomes in read], header, asked)
    for place, record, outcomes in read:
        record["derived"].update(inspect_samples.judgement(outcomes, record["derived"]["answers"], primary))
        if record["derived"]["infinite"]:
            draft.reject(place, "score_finite", "The primary score is infinite.")
        else:
            draft.add(record, outcomes, place, shared)
    names = {name: None for *_, outcomes in read for o in outcomes for name in (o.scorer, o.metric) if name}
    seen.update(names)
    if asked and names and asked not in names:
        draft.note(f"{path.name} has no scorer {asked}: its score is that of {primary}.")
    if again < rows or not rows:
        inspect_run.report(path, header, draft, rows, summaries)
    for part in ("eval", "plan", "log"):
        draft.watch(part, run[part])


def _with_texts(sample: Mapping[str, Any], derived: Mapping[str, Any], draft: Draft) -> Any:
    """Keep prompt and completion of a sample where texts are asked for; gives the item, by its prompt where asked for."""
    prompt = prompt_text(sample.get("input"))
    attached = sample.get("attachments")
    if prompt is not None and prompt.startswith(ATTACHMENT) and isinstance(attached, dict):
        prompt = prompt_text(attached.get(prompt.removeprefix(ATTACHMENT)))
    draft.keep_text(derived["execution_id"], "prompt", prompt)
    draft.keep_text(derived["execution_id"], "response", dig(sample, "output.completion"))
    return draft.privacy.prompt_item(prompt) if prompt and draft.privacy.item_by_prompt else derived["item"]
